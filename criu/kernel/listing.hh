// What a directory holds, by name.
#pragma once

#include "criu/kernel/io.hh"

#include <algorithm>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string>
#include <vector>

namespace kernel {

/// Names in an open directory of one type (DT_DIR, DT_REG), sorted, without those that begin with a dot. For file
/// systems that tell types here, as cgroupfs does. The directory's own offset is left alone.
inline Result<std::vector<std::string>> list_names(int directory, unsigned char type) {
    base::UniqueFd copy = TRY(open_at(directory, ".", O_RDONLY | O_DIRECTORY));
    std::unique_ptr<DIR, int (*)(DIR *)> list(fdopendir(copy.get()), closedir);
    if (!list)
        return base::fail_sys("list a directory");
    (void)copy.release();
    std::vector<std::string> names;
    while (const dirent *entry = readdir(list.get()))
        if (entry->d_type == type && entry->d_name[0] != '.')
            names.emplace_back(entry->d_name);
    std::ranges::sort(names);
    return names;
}

} // namespace kernel
