#include "criu/plan/vdso.hh"

#include "criu/parse/elf.hh"

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>
#include <string>

namespace {

/// This process's own vdso; empty where there is none.
std::string own_vdso() {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
        if (line.ends_with("[vdso]")) {
            const uint64_t start = std::stoull(line, nullptr, 16);
            const uint64_t end = std::stoull(line.substr(line.find('-') + 1), nullptr, 16);
            return {reinterpret_cast<const char *>(start), end - start};
        }
    return {};
}

uint64_t target_of(const plan::VdsoPatch &patch) {
    constexpr size_t kJump = 13, kAddressAt = 2;
    REQUIRE(patch.code.size() == kJump);
    uint64_t target = 0;
    std::memcpy(&target, &patch.code[kAddressAt], sizeof target);
    return target;
}

} // namespace

TEST_CASE("vdso: every function leads to its namesake, getrandom to its call", "[plan]") {
    const std::string image = own_vdso();
    if (image.empty()) {
        WARN("skipped: this kernel maps no vdso");
        return;
    }
    constexpr uint64_t kHome = 0x10000000;
    auto patches = plan::plan_vdso_patches(image, image, kHome);
    REQUIRE(patches.has_value());
    auto elf = parse::parse_elf_image(image);
    REQUIRE(elf.has_value());
    size_t found = 0;
    for (const parse::ElfSymbol &symbol : elf->symbols)
        for (const plan::VdsoPatch &patch : *patches)
            if (symbol.name.starts_with("__vdso_") && symbol.offset == patch.offset) {
                found++;
                if (symbol.name == "__vdso_getrandom")
                    CHECK(patch.code.size() == 8);
                else
                    CHECK(target_of(patch) == kHome + symbol.offset);
            }
    CHECK(found == patches->size());
    CHECK(found >= 4);
}

TEST_CASE("vdso: what is none is refused", "[plan]") {
    const std::string image = own_vdso();
    if (image.empty()) {
        WARN("skipped: this kernel maps no vdso");
        return;
    }
    CHECK_FALSE(plan::plan_vdso_patches("\177ELF", image, 0));
    CHECK_FALSE(plan::plan_vdso_patches(image, "", 0));
    CHECK_FALSE(plan::plan_vdso_patches(image.substr(0, image.size() / 8), image, 0));
}
