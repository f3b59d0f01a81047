// A restore that is planned and has not begun: the images decoded, every address space laid out. A restore goes on from
// here; a dump makes one of what it has written, so as not to end a tree that could not come back.
#pragma once

#include "criu/engine/restore/surroundings.hh"
#include "criu/plan/file_schedule.hh"
#include "criu/plan/program.hh"
#include "criu/plan/topology.hh"

#include <memory>

namespace restore {

struct Draft {
    std::unique_ptr<plan::Checkpoint> checkpoint; ///< where it stays: the surroundings refer to it
    plan::Topology topology;
    plan::FileSchedule files;
    std::vector<plan::AddressSpace> spaces; ///< by task
    plan::Surroundings around;
};

/// Creates nothing. Errors: BadImage, Unsupported, naming the image or the task.
Result<Draft> make_draft(int images_dir_fd, bool shell_job, plan::Haste haste = plan::Haste::No,
                         std::shared_ptr<image::Supplier> supplier = nullptr);

/// Whether the images that were just written can be restored on this machine, as far as can be told while the tree is
/// there: all that a restore checks but for what is the tree's still (ids, ports, names), every plan compiled. Pages
/// are not read. Errors: as a restore would have.
Result<void> verify_images(int images_dir_fd, bool shell_job);

} // namespace restore
