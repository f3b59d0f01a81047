#include "criu/engine/images/verify.hh"

#include "criu/engine/restore/draft.hh"
#include "criu/pages/source.hh"
#include "images_pb.hh"

#include <algorithm>
#include <fmt/format.h>

namespace images {
namespace {

/// Where pages lie in holes of their files nothing can be told: zeroes may be what was there.
Result<uint64_t> read_all(const pages::OpenMemory &memory) {
    constexpr uint64_t kAtOnce = 4u << 20;
    std::vector<std::byte> buffer(kAtOnce);
    uint64_t bytes = 0;
    for (const pages::Run &run : memory.index.runs)
        for (uint64_t at = run.start; at < run.end && !run.remote;) {
            const auto piece = std::span(buffer).first(std::min(kAtOnce, run.end - at));
            TRY(memory.read(at, piece));
            at += piece.size(), bytes += piece.size();
        }
    return bytes;
}

} // namespace

Result<std::string> verify(int images_dir_fd, bool shell_job) {
    const auto chain = TRY_CTX(pages::Chain::open(images_dir_fd), "verify");
    const auto inventory =
        TRY_CTX(chain.newest().read_one<img::inventory_entry>(image::ImageKind::Inventory), "verify");
    if (!inventory)
        return base::fail(image::no_inventory(chain.newest()).ctx("verify"));
    const bool whole_tree = !inventory->has_pre_dump_mode();
    if (whole_tree)
        TRY_CTX(restore::verify_images(images_dir_fd, shell_job), "verify");
    uint64_t bytes = 0;
    for (const auto &[kind, id] : TRY(pages::memory_images(chain.newest()))) {
        const auto context = [&, kind = kind, id = id] { return "verify: " + image::image_file_name(kind, id); };
        const auto memory = TRY_CTX(pages::OpenMemory::open(chain, kind, id), "verify");
        bytes += TRY_CTX(read_all(memory), context());
    }
    const size_t tasks = TRY(chain.newest().read<img::pstree_entry>(image::ImageKind::Pstree)).size();
    const std::string what = whole_tree ? fmt::format("{} processes", tasks) : std::string("a pre-dump");
    return fmt::format("{}, {} MiB of memory in {} director{}: whole\n", what, bytes >> 20, chain.depth(),
                       chain.depth() == 1 ? "y" : "ies");
}

} // namespace images
