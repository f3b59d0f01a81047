#include "criu/pages/source.hh"

#include <algorithm>
#include <fmt/format.h>
#include <unistd.h>

namespace pages {

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
