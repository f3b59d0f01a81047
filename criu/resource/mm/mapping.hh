// Memory mappings: from /proc/PID/smaps to the image. (Their restore, which concerns all mappings of a task at once, is
// in criu/plan/address_space.hh.)
#pragma once

#include "criu/parse/maps.hh"
#include "criu/resource/mm/mapping_kinds.hh"
#include "criu/resource/resource.hh"

namespace resource {

/// Whether the kernel has made it for probes (uprobes) in the program: it does so anew when one is hit.
bool is_of_probes(const parse::Vma &vma);

/// Errors: Unsupported, naming the mapping and why it cannot be saved.
Result<MappingClass> classify(const parse::Vma &vma);

/// The image's entry, but for `shmid` of file mappings, which is the id of the file.
img::vma_entry describe(const parse::Vma &vma, MappingClass kind);

/// The number of shared memory in the images that queues become which are mapped twice: none of the kernel's own.
uint64_t shared_id_of_queues(const parse::Vma &vma);

} // namespace resource
