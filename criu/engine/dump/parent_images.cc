#include "criu/engine/dump/parent_images.hh"

#include "criu/kernel/io.hh"
#include "criu/pages/index.hh"
#include "images_pb.hh"

#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dump {
namespace {

/// A directory that moves together with the new one is found again only by a way that leads from there.
std::string relative_way(int images_dir_fd, const std::string &previous) {
    if (!previous.starts_with('/'))
        return previous;
    auto here = kernel::read_link(AT_FDCWD, fmt::format("/proc/self/fd/{}", images_dir_fd).c_str());
    std::error_code error;
    const auto way = here ? std::filesystem::relative(std::filesystem::canonical(previous, error), *here, error)
                          : std::filesystem::path();
    return way.empty() || error ? previous : way.string();
}

bool is_same(int a, int b) {
    struct stat x {
    }, y{};
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

} // namespace

Result<ParentImages> ParentImages::open(int images_dir_fd, const std::string &previous, base::Log &log) {
    ParentImages parent;
    if (previous.empty())
        return parent;
    const base::UniqueFd dir(openat(images_dir_fd, previous.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!dir)
        return base::fail(
            base::Error(base::ErrorKind::Usage, fmt::format("--prev-images-dir: {}: {}", previous, strerror(errno)))
                .hint("the directory is relative to that of the images (-D)"));
    if (is_same(dir.get(), images_dir_fd))
        return base::fail(base::ErrorKind::Usage, "--prev-images-dir is the directory of the images itself");
    const base::UniqueFd before(openat(images_dir_fd, "parent", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat there {};
    if (fstatat(images_dir_fd, "parent", &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        (!before || !is_same(before.get(), dir.get())))
        return base::fail(base::Error(base::ErrorKind::Usage,
                                      fmt::format("the images have a parent already, which is not {}", previous))
                              .hint("remove the link parent in the directory of the images, or use another directory"));
    parent.target_ = relative_way(images_dir_fd, previous);
    parent.chain_ = TRY_CTX(pages::Chain::open(dir.get()), previous);
    TRY_CTX(parent.read_inventory(log), previous);
    parent.read_pagemaps(log);
    return parent;
}

Result<void> ParentImages::read_inventory(base::Log &log) {
    auto inventory = TRY(chain_->newest().read_one<img::inventory_entry>(image::ImageKind::Inventory));
    if (!inventory) {
        log.warn("incremental dump: the earlier images have no inventory: everything is written again");
        return {};
    }
    run_id_ = inventory->dump_criu_run_id();
    if (inventory->has_dump_uptime())
        uptime_us_ = inventory->dump_uptime();
    else
        log.warn("incremental dump: the earlier images were made without --track-mem: everything is written again");
    return {};
}

void ParentImages::read_pagemaps(base::Log &log) {
    const auto there = pages::memory_images(chain_->newest());
    if (!there) {
        log.warn(fmt::format("incremental dump: {}: everything is written again", there.error().message()));
        return;
    }
    for (const auto &[kind, number] : *there) {
        if (kind != image::ImageKind::Pagemap)
            continue;
        auto index = pages::index_pages(*chain_, kind, number);
        if (!index) {
            log.warn(fmt::format("incremental dump: {}: the task is written again", index.error().message()));
            continue;
        }
        std::vector<pages::Extent> &covered = covered_[number];
        for (const pages::Run &run : index->runs)
            pages::append(covered, pages::extent_of(run.start, run.end));
    }
}

Result<void> ParentImages::link(int images_dir_fd) {
    if (!chain_)
        return {};
    if (symlinkat(target_.c_str(), images_dir_fd, "parent") == 0)
        linked_ = true;
    else if (errno != EEXIST) // the same one: see open()
        return base::fail_sys("make the link parent");
    return {};
}

void ParentImages::unlink(int images_dir_fd) const {
    if (linked_)
        unlinkat(images_dir_fd, "parent", 0);
}

const std::vector<pages::Extent> &ParentImages::covered(uint64_t vpid) const {
    static const std::vector<pages::Extent> kNothing;
    const auto found = covered_.find(vpid);
    return found == covered_.end() ? kNothing : found->second;
}

bool ParentImages::knows_of(uint64_t start_ticks) const {
    constexpr uint64_t kMicroseconds = 1'000'000;
    const auto ticks = static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
    return uptime_us_ && start_ticks < *uptime_us_ / (kMicroseconds / ticks);
}

} // namespace dump
