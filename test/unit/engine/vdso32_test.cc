// The vdso of 32-bit programs is read from the kernel, and understood.
#include "criu/engine/restore/vdso32.hh"
#include "criu/parse/elf.hh"

#include <algorithm>
#include <catch2/catch.hpp>

TEST_CASE("vdso32: its functions are found, and an image that is cut anywhere is refused", "[engine]") {
    auto vdso = restore::read_vdso32();
    if (!vdso) {
        WARN("this kernel runs no 32-bit programs");
        return;
    }
    CHECK(vdso->data_size > 0);
    CHECK(parse::is_32bit_elf(vdso->image));
    auto elf = parse::parse_elf_image(vdso->image);
    REQUIRE(elf);
    CHECK(elf->content_end > elf->dynamic_offset);
    CHECK(elf->content_end <= vdso->image.size());
    for (const char *name : {"__kernel_vsyscall", "__kernel_sigreturn", "__kernel_rt_sigreturn"})
        CHECK(std::ranges::find(elf->symbols, name, &parse::ElfSymbol::name) != elf->symbols.end());
    for (const parse::ElfSymbol &symbol : elf->symbols)
        CHECK(symbol.offset < vdso->image.size());
    for (size_t n = 0; n < 512; n++)
        CHECK_FALSE(parse::parse_elf_image(vdso->image.substr(0, n)));
}
