#include "criu/pages/source.hh"

#include "criu/pages/codec.hh"

#include <algorithm>
#include <fmt/format.h>
#include <unistd.h>

namespace pages {

Result<void> read_packed(int fd, const PackedRun &run, uint64_t address, std::span<std::byte> to) {
    const uint64_t end = address + to.size();
    size_t i = (address - run.start) / run.block_bytes;
    const size_t behind = (end - run.start + run.block_bytes - 1) / run.block_bytes;
    std::vector<std::byte> packed(run.offsets[behind] - run.offsets[i]), whole;
    if (pread(fd, packed.data(), packed.size(), static_cast<off_t>(run.offsets[i])) !=
        static_cast<ssize_t>(packed.size()))
        return base::bad_image(fmt::format("the page at {:#x} cannot be read", address));
    for (const uint64_t first = run.offsets[i]; i < behind; i++) {
        const auto block = std::span(packed).subspan(run.offsets[i] - first, run.offsets[i + 1] - run.offsets[i]);
        const uint64_t from = run.block_start(i), stop = run.block_end(i);
        const auto context = [&] { return fmt::format("the page at {:#x}", from); };
        if (from >= address && stop <= end) {
            TRY_CTX(unpack(run.codec, block, to.subspan(from - address, stop - from)), context());
            continue;
        }
        whole.resize(stop - from);
        TRY_CTX(unpack(run.codec, block, whole), context());
        const uint64_t low = std::max(from, address), high = std::min(stop, end);
        std::copy_n(whole.data() + (low - from), high - low, to.data() + (low - address));
    }
    return {};
}

Result<PageSource> PageSource::open(const Chain &chain, const PageIndex &index) {
    PageSource source;
    for (size_t level = 0; level < index.files.size(); level++) {
        source.files_.emplace_back();
        if (!index.files[level])
            continue;
        auto file = TRY(chain.level(level).open_raw(image::ImageKind::Pages, *index.files[level]));
        if (!file)
            return base::bad_image(
                name_in_chain(level, image::image_file_name(image::ImageKind::Pages, *index.files[level])) +
                " is missing");
        source.files_.back() = std::move(*file);
    }
    return source;
}

Result<void> PageSource::read(const PageIndex &index, uint64_t address, std::span<std::byte> to) const {
    for (auto run = index.first_behind(address); !to.empty(); ++run) {
        if (run == index.runs.end() || run->start > address)
            return base::bad_image(fmt::format("the page at {:#x} is not saved", address));
        const auto part = to.first(std::min<uint64_t>(to.size(), run->end - address));
        if (run->remote)
            return base::bad_image(fmt::format("the page at {:#x} is with a page server", address));
        if (run->is_packed()) {
            TRY(read_packed(file(*run), index.packed[run->packed], address, part));
            to = to.subspan(part.size());
            address += part.size();
            continue;
        }
        const Place place = locate(*run, address);
        if (pread(place.fd, part.data(), part.size(), static_cast<off_t>(place.offset)) !=
            static_cast<ssize_t>(part.size()))
            return base::bad_image(fmt::format("the page at {:#x} cannot be read", address));
        to = to.subspan(part.size());
        address += part.size();
    }
    return {};
}

Result<OpenMemory> OpenMemory::open(const Chain &chain, image::ImageKind kind, uint64_t id) {
    PageIndex index = TRY(index_pages(chain, kind, id));
    PageSource source = TRY(PageSource::open(chain, index));
    return OpenMemory{std::move(index), std::move(source)};
}

} // namespace pages
