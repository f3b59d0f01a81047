// What tasks of a user namespace may not do, although the tool may: they are nobody to the files of the namespace
// around theirs, and their capabilities do not count there. A process that stays what the tool is does it for them.
//
// By default an Outside does everything itself; with start() it asks that process where the kernel denies something.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <cstdint>
#include <memory>
#include <string>

namespace kernel {

class Outside {
public:
    Outside() = default;
    /// Starts the process, before the first task: those inherit the line to it. It lives as long as somebody holds an
    /// end: the tool, and its tasks until they have let go of what is ours. `directory`: where it opens images; stays
    /// the caller's.
    static base::Result<Outside> start(int directory);

    /// A file of the directory for reading. On failure nothing, and errno.
    base::UniqueFd open_image(const std::string &name) const;
    /// The file behind a mapping of our own, for reading and writing. On failure nothing, and errno.
    base::UniqueFd open_mapping(uint64_t start, uint64_t end) const;
    /// A copy of the mount of `path` or of a directory below it, attached nowhere, without what is mounted below: of
    /// the tool's mounts, where our own copy of them denies the way to it. On failure nothing, and errno.
    base::UniqueFd copy_mount(const std::string &path) const;
    /// Sets SO_SNDBUFFORCE or SO_RCVBUFFORCE. Returns whether that was allowed; else errno.
    bool force_buffer(int socket, int option, int size) const;

private:
    std::shared_ptr<base::UniqueFd> line_;
};

} // namespace kernel
