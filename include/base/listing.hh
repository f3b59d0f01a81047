// What a directory holds, by name.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <algorithm>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string>
#include <vector>

namespace base {

/// Names of those entries of an open directory that `wanted(const dirent &)` accepts, sorted, without "." and "..".
/// The directory's own offset is left alone.
template <typename Wanted> Result<std::vector<std::string>> list_names_if(int directory, Wanted &&wanted) {
    UniqueFd copy(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::unique_ptr<DIR, int (*)(DIR *)> list(copy ? fdopendir(copy.get()) : nullptr, closedir);
    if (!list)
        return fail_sys("list a directory");
    (void)copy.release();
    std::vector<std::string> names;
    while (const dirent *entry = readdir(list.get()))
        if (const std::string_view name = entry->d_name; name != "." && name != ".." && wanted(*entry))
            names.emplace_back(name);
    std::ranges::sort(names);
    return names;
}

inline Result<std::vector<std::string>> list_names(int directory) {
    return list_names_if(directory, [](const dirent &) { return true; });
}

/// Those of one type (DT_DIR, DT_REG) that do not begin with a dot. For file systems that tell types here, as cgroupfs
/// does.
inline Result<std::vector<std::string>> list_names(int directory, unsigned char type) {
    return list_names_if(directory,
                         [type](const dirent &entry) { return entry.d_type == type && entry.d_name[0] != '.'; });
}

} // namespace base
