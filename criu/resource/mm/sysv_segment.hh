// System V shared memory of the host's IPC namespace. A segment is like a file: it outlives its processes unless it was
// marked for removal, so a restore finds it again by its id, or creates it anew under the same id and key.
//
// The image is what CRIU writes for an IPC namespace of its own (ipcns-shm-N, contents in pagemap-shmem-ID), with the
// attached segments only. A segment marked for removal has SHM_DEST in its mode, and the key that it once had.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/parse/maps.hh"
#include "criu/tree/namespaces.hh"
#include "ipc-shm.pb.h"

#include <functional>
#include <vector>

namespace resource {

using base::Result;

/// What the kernel tells about the segment behind a mapping. Errors: Unsupported when the segment is not of our
/// IPC namespace.
Result<img::ipc_shm_entry> describe_segment(const parse::Vma &vma);

/// Whether it is a segment of that IPC namespace, which is not ours. Errors: Unsupported.
Result<void> check_segment(const parse::Vma &vma, const tree::Namespace &home);

/// The segments of a checkpoint, found again or created; attached until the object ends.
class SegmentSet {
public:
    using Fill = std::function<Result<void>(uint64_t id, std::byte *memory, uint64_t size)>;

    SegmentSet() = default;
    SegmentSet(const SegmentSet &) = delete;
    /// Detaches.
    ~SegmentSet();

    /// Errors: Unsupported when an id or key is taken by another segment, before anything is created; System.
    /// `live`: ids of segments that others are attached to: these keep their contents.
    Result<void> restore(const std::vector<img::ipc_shm_entry> &entries, const Fill &fill, std::vector<uint32_t> &live);
    /// Removes what restore() created.
    void take_back();

private:
    Result<void> restore_one(const img::ipc_shm_entry &entry, const Fill &fill, std::vector<uint32_t> &live);
    std::vector<int> created_;
    std::vector<void *> attached_;
};

/// Attaches [offset, offset + size) of a segment at `at`. The mapping counts as an attachment of its own.
Result<void> attach_segment(int id, uint64_t offset, uint64_t size, uint64_t at, int prot, bool may_write);

/// A descriptor of the file behind a segment; `open_mapping` opens the one behind a mapping of our own.
Result<base::UniqueFd> open_segment(int id, const std::function<base::UniqueFd(uint64_t, uint64_t)> &open_mapping);

} // namespace resource
