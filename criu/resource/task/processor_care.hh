// How much a restore cares for the processor of the dump (--cpu-cap).
#pragma once

#include "base/result.hh"

namespace resource {

struct ProcessorCare {
    bool model = false;        ///< cpu: the same processor
    bool state = false;        ///< fpu: it has room for the same registers
    bool instructions = false; ///< ins: it knows the same instructions
    bool asked = false;        ///< somebody has said so; else it is the default

    bool any() const { return model || state || instructions; }
};

/// `criu cpuinfo dump`: writes cpuinfo.img.
base::Result<void> dump_processor(int images_dir_fd);
/// `criu cpuinfo check`. Errors: as compare_processors() in processor.hh; BadImage without an image.
base::Result<void> require_processor(int images_dir_fd, ProcessorCare care);

} // namespace resource
