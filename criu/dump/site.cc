#include "criu/dump/site.hh"

#include "compel/blob.hh"
#include "criu/parse/elf.hh"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace dump {
namespace {

// Far from where programs, libraries and stacks lie, so that nothing of the task merges with it.
constexpr uint64_t kPreferred = 0x100000000000;
constexpr uint64_t kLowest = 0x10000;
constexpr uint64_t kHighest = 0x7ffffffff000;

/// Lowest hole of `size` bytes at or above `from`; 0 if there is none.
uint64_t find_hole(const std::vector<parse::Vma> &vmas, uint64_t from, uint64_t size) {
    uint64_t at = from;
    for (const parse::Vma &vma : vmas) {
        if (vma.end <= at || vma.start >= kHighest)
            continue;
        // A stack grows into the page below it.
        if (at + size + (1u << 20) <= vma.start)
            return at;
        at = vma.end;
    }
    return at + size <= kHighest ? at : 0;
}

Result<uint64_t> boot_place(const parse::Vma &vdso, const compel::RemoteMemory &memory) {
    std::string image(vdso.size(), '\0');
    TRY(memory.read(vdso.start, std::as_writable_bytes(std::span(image))));
    auto elf = TRY_CTX(parse::parse_elf_image(image), "its vdso");
    const size_t need = compel::agent_header().boot_size;
    const uint64_t at = (elf.content_end + 15) & ~15ull;
    // What a tool that was killed has left there is its own to overwrite.
    auto blob = compel::agent_blob().subspan(compel::agent_header().boot, need);
    const bool fits = at + need <= image.size();
    const bool ours = fits && std::memcmp(image.data() + at, blob.data(), need) == 0;
    if (!fits || (!ours && image.find_first_not_of('\0', at) < at + need))
        return base::unsupported("its vdso has no room behind its contents");
    return vdso.start + at;
}

} // namespace

Result<compel::InjectionSite> choose_site(const std::vector<parse::Vma> &vmas, const compel::RemoteMemory &memory,
                                          size_t threads) {
    auto vdso = std::find_if(vmas.begin(), vmas.end(), [](const parse::Vma &vma) { return vma.name == "[vdso]"; });
    if (vdso == vmas.end())
        return base::unsupported("it has no vdso (it was started with vdso=0, or has unmapped it)");
    compel::InjectionSite site{};
    site.boot_code = TRY(boot_place(*vdso, memory));
    const size_t size = compel::Injection::site_size(threads);
    site.agent_base = find_hole(vmas, kPreferred, size);
    if (!site.agent_base)
        site.agent_base = find_hole(vmas, kLowest, size);
    if (!site.agent_base)
        return base::unsupported("its address space is full");
    return site;
}

} // namespace dump
