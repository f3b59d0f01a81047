// What a restore finds around itself: our own mappings, the kernel's vdso, pids in use, files on disk.
#pragma once

#include "criu/plan/address_space.hh"
#include "criu/plan/topology.hh"
#include "criu/resource/task/processor_care.hh"

#include <optional>
#include <string>
#include <string_view>

namespace restore {

using base::Result;

/// Our own mappings, which tasks inherit and leave behind.
struct OwnMappings {
    std::vector<plan::Range> all;
    std::vector<plan::Range> special; ///< vvar and vdso, ascending
    plan::Range heap{};
};
Result<OwnMappings> own_mappings();

/// How the tasks' vdso gets on with this kernel's.
struct VdsoFit {
    bool in_place = true;     ///< same sizes, same functions at the same offsets; or no task has one
    std::string theirs;       ///< contents of the tasks' vdso, where it does not fit
    std::string_view ours;    ///< this kernel's
    uint64_t ours_offset = 0; ///< of this kernel's vdso behind the beginning of its data
};
/// Errors: Unsupported where they can neither be replaced in place nor by a proxy (plan/vdso.hh).
Result<VdsoFit> compare_vdso(const plan::Checkpoint &checkpoint, const std::vector<plan::Range> &special);

/// That of a 32-bit program is mapped anew: this kernel has to have the same. Errors: Unsupported, also where the
/// kernel runs no such programs.
Result<void> check_32bit_vdsos(const plan::Checkpoint &checkpoint);

/// Errors: Busy, naming the pid and the process that has it.
Result<void> check_pids(const plan::Checkpoint &checkpoint, const plan::Topology &topology);

/// Errors: Unsupported where this CPU lacks what a thread uses.
Result<void> check_cpu(const plan::Checkpoint &checkpoint);
/// A program with probes in its code does not run without those who have set them.
Result<void> check_probes(const plan::Checkpoint &checkpoint, bool allowed);
/// Compares cpuinfo.img, where a dump has written one, with the processor here.
Result<void> check_processor(const plan::Checkpoint &checkpoint, const resource::ProcessorCare &care, base::Log &log);

/// The caller's descriptors (--inherit-fd) must be there. Ours are all close-on-exec; what has come through exec is
/// not.
Result<void> check_given(const std::vector<resource::InheritFd> &inherited);

/// Errors: Unsupported, naming a capability that a task has and we cannot give it, or must not (`withhold`).
Result<void> check_capabilities(const plan::Checkpoint &checkpoint, bool withhold);

/// What tasks are to be told if CLOCK_MONOTONIC is behind what they have seen of it, as it is after a reboot: how far.
/// Nothing where it is not, and for images that do not say.
Result<bool> clock_is_behind(const plan::Checkpoint &checkpoint, bool unprivileged, base::Log &log);

/// Whether the threads can get their supplementary groups: that takes CAP_SETGID, unless they are ours.
Result<void> check_groups(const plan::Checkpoint &checkpoint);

/// Puts the decoded checkpoint into huge pages where it is large: every fork copies the page tables of it, and the
/// child takes them down again, which for a thousand tasks is a fifth of the restore. A hint; nothing depends on it.
void prepare_heap_for_forks();

} // namespace restore
