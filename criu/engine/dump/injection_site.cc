#include "criu/engine/dump/injection_site.hh"

#include "compel/blob.hh"
#include "criu/parse/elf.hh"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <sys/mman.h>

namespace dump {
namespace {

// Far from where programs, libraries and stacks lie, so that nothing of the task merges with it.
constexpr uint64_t kPreferred = 0x100000000000, kPreferredBelow4GiB = 0x90000000;
constexpr uint64_t kLowest = 0x10000;

/// Lowest hole of `size` bytes at or above `from` and below `end`; 0 if there is none.
uint64_t find_hole(const std::vector<parse::Vma> &vmas, uint64_t from, uint64_t end, uint64_t size) {
    uint64_t at = from;
    for (const parse::Vma &vma : vmas) {
        if (vma.end <= at || vma.start >= end)
            continue;
        // A stack grows into the page below it.
        if (at + size + (1u << 20) <= vma.start)
            return at;
        // With a mapping right below it might become one.
        at = vma.end + base::kPageSize;
    }
    return at + size <= end ? at : 0;
}

/// The first place in [from, image.size()) that nobody uses: the boot code's own, of a tool that was killed, or zero.
std::optional<uint64_t> room_for_boot_code(std::string_view image, uint64_t from) {
    auto blob = compel::agent_blob().subspan(compel::agent_header().boot, compel::agent_header().boot_size);
    const uint64_t at = (from + 15) & ~15ull;
    if (at + blob.size() > image.size())
        return std::nullopt;
    const bool ours = std::memcmp(image.data() + at, blob.data(), blob.size()) == 0;
    const bool zero = image.find_first_not_of('\0', at) >= at + blob.size();
    return ours || zero ? std::optional(at) : std::nullopt;
}

Result<std::string> read_text(const compel::RemoteMemory &memory, uint64_t start, uint64_t size) {
    std::string text(size, '\0');
    TRY(memory.read(start, std::as_writable_bytes(std::span(text))));
    return text;
}

Result<uint64_t> place_behind_vdso(const parse::Vma &vdso, const compel::RemoteMemory &memory) {
    const std::string image = TRY(read_text(memory, vdso.start, vdso.size()));
    auto elf = TRY_CTX(parse::parse_elf_image(image), "its vdso");
    auto at = room_for_boot_code(image, elf.content_end);
    if (!at)
        return base::unsupported("its vdso has no room behind its contents");
    return vdso.start + *at;
}

/// Where the segment of which `code` is the mapping ends, by the headers of its file, which begins at `head`.
std::optional<uint64_t> end_of_code(const parse::Vma &head, const parse::Vma &code,
                                    const compel::RemoteMemory &memory) {
    auto prefix = read_text(memory, head.start, base::kPageSize);
    const auto segments = parse::parse_load_segments(prefix.value_or(std::string()));
    for (const parse::ElfSegment &segment : segments) {
        const uint64_t bias = head.start - base::page_down(segments[0].address);
        const uint64_t end = bias + segment.address + segment.size;
        if (segment.executable && end > code.start && base::page_up(end) == code.end)
            return end;
    }
    return std::nullopt;
}

// The last page of a program's or library's code holds bytes that belong to no segment: the linker's padding.
Result<uint64_t> place_behind_code(const std::vector<parse::Vma> &vmas, const compel::RemoteMemory &memory) {
    const parse::Vma *head = nullptr;
    for (const parse::Vma &vma : vmas) {
        if (vma.inode && !vma.pgoff)
            head = &vma;
        const bool code = vma.prot == (PROT_READ | PROT_EXEC) && !vma.shared && head && head->inode == vma.inode &&
                          head->dev_major == vma.dev_major && head->dev_minor == vma.dev_minor;
        const auto end = code ? end_of_code(*head, vma, memory) : std::nullopt;
        if (!end || *end == vma.end)
            continue;
        const uint64_t page = vma.end - base::kPageSize;
        const std::string text = TRY(read_text(memory, page, base::kPageSize));
        if (auto at = room_for_boot_code(text, *end - page))
            return page + *at;
    }
    return base::unsupported("it has no vdso (it was started with vdso=0, or has unmapped it), and no code with room "
                             "behind it");
}

Result<uint64_t> boot_place(const std::vector<parse::Vma> &vmas, const compel::RemoteMemory &memory) {
    auto vdso = std::ranges::find(vmas, "[vdso]", &parse::Vma::name);
    return vdso == vmas.end() ? place_behind_code(vmas, memory) : place_behind_vdso(*vdso, memory);
}

} // namespace

std::optional<uint64_t> left_boot_code(const std::vector<parse::Vma> &vmas, const compel::RemoteMemory &memory) {
    auto place = boot_place(vmas, memory);
    if (!place)
        return std::nullopt;
    const auto wanted = compel::agent_blob().subspan(compel::agent_header().boot, compel::agent_header().boot_size);
    std::vector<std::byte> there(wanted.size());
    const bool ours = memory.read_some(*place, there) == there.size() && std::ranges::equal(there, wanted);
    return ours ? std::optional(*place) : std::nullopt;
}

Result<compel::InjectionSite> choose_site(const std::vector<parse::Vma> &vmas, const compel::RemoteMemory &memory,
                                          size_t threads, uint64_t end) {
    compel::InjectionSite site{};
    site.boot_code = TRY(boot_place(vmas, memory));
    const size_t size = compel::Injection::site_size(threads);
    site.agent_base = find_hole(vmas, end == base::kUserEnd ? kPreferred : kPreferredBelow4GiB, end, size);
    if (!site.agent_base)
        site.agent_base = find_hole(vmas, kLowest, end, size);
    if (!site.agent_base)
        return base::unsupported("its address space is full");
    return site;
}

} // namespace dump
