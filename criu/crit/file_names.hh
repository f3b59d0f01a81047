// How `crit x` calls the open files of a checkpoint.
#pragma once

#include "base/result.hh"
#include "criu/image/image_dir.hh"
#include "fdinfo.pb.h"

#include <string>
#include <unordered_map>

namespace crit {

class FileNames {
public:
    static base::Result<FileNames> load(const image::ImageDir &dir);
    /// The path of a regular file; "unknown path" for anything else.
    std::string path(uint32_t id) const;
    /// A descriptor's file: a path, pipe[N], unix[N (PEER) NAME], or type and id.
    std::string describe(img::fd_types type, uint32_t id) const;

private:
    std::unordered_map<uint32_t, img::file_entry> files_;
};

} // namespace crit
