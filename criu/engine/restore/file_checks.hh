// What can be told of the files of a checkpoint before any is opened.
#pragma once

#include "criu/plan/file_schedule.hh"

#include <climits>

namespace restore {

using base::Result;

/// Descriptor numbers that no task uses: [from, end).
struct NumberGap {
    int from = 0, end = INT_MAX;
    bool contains(int number) const { return number >= from && number < end; }
    int size() const { return end - from; }
};

/// Where descriptors are kept that cannot be at home: above all others, or in the widest gap where the limit on open
/// files leaves no room there.
NumberGap room_for_stash(const plan::Checkpoint &checkpoint, const plan::FileSchedule &files);

/// CAP_SYS_RESOURCE.
bool may_raise_limits();

/// Whether the limit on open files, raised as far as we may, holds all files of the tree at once.
/// Errors: Unsupported, with both numbers.
Result<void> check_descriptors(const plan::Checkpoint &checkpoint, const plan::FileSchedule &files);

/// Whether every file is of a kind that can be restored, and whether what has to be made again can be: deleted files
/// where they were, links of --link-remap still there. Looks at paths only; nobody who watches them sees it.
Result<void> check_files(const plan::Checkpoint &checkpoint);

} // namespace restore
