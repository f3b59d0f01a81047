#include "criu/engine/images/merge.hh"

#include "base/listing.hh"
#include "criu/image/image_writer.hh"
#include "criu/kernel/io.hh"
#include "criu/pages/compressing_sink.hh"
#include "criu/pages/source.hh"
#include "images_pb.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace images {
namespace {

using image::ImageKind;

constexpr size_t kPiece = 1u << 20;

/// Images that are the same in the new directory: all but what tells where pages are, and the inventory.
bool stays_as_it_is(const std::string &name) {
    return name.ends_with(".img") && !name.starts_with("pagemap-") && !name.starts_with("pages-") &&
           name != "inventory.img";
}

Result<void> copy_file(int from_dir, int to_dir, const std::string &name) {
    const base::UniqueFd from(openat(from_dir, name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    struct stat st {};
    if (!from || fstat(from.get(), &st) < 0)
        return base::fail_sys(name);
    if (!S_ISREG(st.st_mode))
        return base::bad_image(name + ": not a regular file");
    const base::UniqueFd to(openat(to_dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 0777));
    if (!to)
        return base::fail_sys(name);
    std::vector<std::byte> buffer(kPiece);
    for (uint64_t at = 0; at < static_cast<uint64_t>(st.st_size);) {
        const ssize_t n = pread(from.get(), buffer.data(), buffer.size(), static_cast<off_t>(at));
        if (n <= 0)
            return base::fail_sys(n < 0 ? errno : EIO, name);
        TRY_CTX(kernel::write_at(to.get(), std::span(buffer).first(static_cast<size_t>(n)), at), name);
        at += static_cast<uint64_t>(n);
    }
    return {};
}

/// Links of other file systems, or of owners that may not, are copies.
Result<void> link_or_copy(int from_dir, int to_dir, const std::string &name) {
    if (linkat(from_dir, name.c_str(), to_dir, name.c_str(), 0) == 0)
        return {};
    return copy_file(from_dir, to_dir, name);
}

img::pagemap_entry entry_of(const pages::Run &run) {
    auto entry = image::present_run(run.start, (run.end - run.start) / base::kPageSize);
    entry.set_flags(run.remote ? image::kPeLazy : image::kPePresent | (run.lazy ? image::kPeLazy : 0));
    return entry;
}

Result<void> write_run(const pages::OpenMemory &memory, const pages::Run &run, pages::MemoryOutput &output,
                       uint64_t &offset) {
    std::vector<std::byte> buffer(kPiece);
    for (uint64_t at = run.start; at < run.end;) {
        const auto piece = std::span(buffer).first(std::min<uint64_t>(kPiece, run.end - at));
        TRY(memory.read(at, piece));
        TRY(output.write(piece, offset));
        at += piece.size(), offset += piece.size();
    }
    return {};
}

Result<uint64_t> merge_memory(const pages::Chain &chain, pages::MemoryImage which, pages::PageSink &sink) {
    const auto memory = TRY(pages::OpenMemory::open(chain, which.kind, which.id));
    const auto output = TRY(sink.open(which.kind, which.id, memory.index.told_size));
    uint64_t offset = 0;
    for (const pages::Run &run : memory.index.runs) {
        TRY(output->add(entry_of(run)));
        if (!run.remote)
            TRY(write_run(memory, run, *output, offset));
    }
    TRY(output->close());
    return offset;
}

Result<base::UniqueFd> make_directory(int images_dir_fd, const std::string &path) {
    if (mkdirat(images_dir_fd, path.c_str(), 0700) < 0 && errno != EEXIST)
        return base::fail_sys(path);
    base::UniqueFd dir(openat(images_dir_fd, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!dir)
        return base::fail_sys(path);
    if (!TRY(base::list_names(dir.get())).empty())
        return base::fail(base::ErrorKind::Usage,
                          path + " is not empty: the merged images want a directory of their own");
    return dir;
}

/// Everything but the inventory.
Result<uint64_t> write_all(const pages::Chain &chain, int to, image::ImageDirWriter &writer,
                           const pages::Compression &compression) {
    for (const std::string &name : TRY(base::list_names(chain.newest().fd())))
        if (stays_as_it_is(name))
            TRY(link_or_copy(chain.newest().fd(), to, name));
    const auto sink =
        compression.is_on() ? pages::compressing_sink(writer, compression) : pages::directory_sink(writer);
    uint64_t bytes = 0;
    for (const pages::MemoryImage &memory : TRY(pages::memory_images(chain.newest())))
        bytes += TRY(merge_memory(chain, memory, *sink));
    TRY(sink->finish());
    return bytes;
}

} // namespace

Result<void> merge(const engine::MergeRequest &request, base::Log &log) {
    const auto chain = TRY_CTX(pages::Chain::open(request.images_dir_fd), "merge");
    auto inventory = TRY_CTX(chain.newest().read_one<img::inventory_entry>(ImageKind::Inventory), "merge");
    if (!inventory)
        return base::fail(image::no_inventory(chain.newest()).ctx("merge"));
    constexpr uint32_t kPlain = 2, kCompressed = 3;
    inventory->set_img_version(request.compression.is_on() ? kCompressed : kPlain);
    const base::UniqueFd to = TRY_CTX(make_directory(request.images_dir_fd, request.into), "merge");
    auto writer = TRY(image::ImageDirWriter::open(to.get()));
    auto written = write_all(chain, to.get(), writer, request.compression);
    if (written)
        if (auto done = writer.add(ImageKind::Inventory, 0, *inventory); !done)
            written = base::fail(std::move(done.error()));
    if (written)
        if (auto done = writer.finish(); !done)
            written = base::fail(std::move(done.error()));
    if (!written) {
        writer.discard();
        if (const auto names = base::list_names(to.get()))
            for (const std::string &name : *names)
                unlinkat(to.get(), name.c_str(), 0);
        return base::fail(std::move(written.error().ctx("merge")));
    }
    log.info(fmt::format("merge: {} MiB of memory from {} directories", *written >> 20, chain.depth()));
    return {};
}

} // namespace images
