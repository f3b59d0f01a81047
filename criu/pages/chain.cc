#include "criu/pages/chain.hh"

#include "base/listing.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <set>
#include <sys/stat.h>

namespace pages {

std::string name_in_chain(size_t level, const std::string &file) {
    std::string name;
    for (size_t i = 0; i < level; i++)
        name += "parent/";
    return name + file;
}

Result<Chain> Chain::open(int dirfd, std::shared_ptr<image::Supplier> supplier) {
    Chain chain;
    std::set<std::pair<dev_t, ino_t>> seen;
    std::optional<image::ImageDir> next = TRY(image::ImageDir::open(dirfd));
    next->supply(std::move(supplier));
    while (next) {
        struct stat st {};
        if (fstat(next->fd(), &st) < 0)
            return base::fail_sys(name_in_chain(chain.depth(), "."));
        if (!seen.emplace(st.st_dev, st.st_ino).second)
            return base::bad_image(
                fmt::format("{} is a directory that builds on itself", name_in_chain(chain.depth(), ".")));
        if (chain.depth() == kMostLevels)
            return base::fail(base::Error(base::ErrorKind::BadImage,
                                          fmt::format("the images build on more than {} others", kMostLevels - 1))
                                  .hint("make a full dump now and then, without --prev-images-dir"));
        chain.levels_.push_back(std::move(*next));
        next = TRY_CTX(chain.levels_.back().parent(), name_in_chain(chain.depth() - 1, "parent"));
    }
    return chain;
}

Result<std::vector<MemoryImage>> memory_images(const image::ImageDir &images) {
    std::vector<MemoryImage> found;
    for (const std::string &name : TRY(base::list_names(images.fd())))
        for (auto [kind, form] : {std::pair(image::ImageKind::Pagemap, "pagemap-%llu.img%n"),
                                  std::pair(image::ImageKind::ShmemPagemap, "pagemap-shmem-%llu.img%n")}) {
            unsigned long long id = 0;
            int length = 0;
            if (sscanf(name.c_str(), form, &id, &length) == 1 && length && name[length] == '\0')
                found.push_back({kind, id});
        }
    return found;
}

void Chain::ask(const image::ImageDir::Fetch &fetch) {
    for (size_t i = 0; i < levels_.size(); i++)
        levels_[i].ask([fetch, i](const std::string &name) { return fetch(name_in_chain(i, name)); });
}

} // namespace pages
