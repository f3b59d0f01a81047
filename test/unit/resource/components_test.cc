// Which processor a task needs: what it holds counts, not what XSAVE has marked. A processor is a mask of components
// here.
#include "criu/resource/task/registers.hh"

#include <catch2/catch.hpp>

namespace {

constexpr uint64_t kSseOnly = 0x3, kAvx2 = 0x7, kAvx512 = 0xe7, kProtectionKeys = 0x207;

/// Registers with every component marked and all of them zero.
img::user_x86_fpregs_entry marked(uint64_t components) {
    img::user_x86_fpregs_entry fpu;
    img::user_x86_xsave_entry &x = *fpu.mutable_xsave();
    x.set_xstate_bv(components);
    for (int i = 0; i < 64; i++) {
        x.add_ymmh_space(0);
        x.add_zmm_upper(0);
    }
    for (int i = 0; i < 128; i++)
        x.add_hi16_zmm(0);
    for (int i = 0; i < 8; i++)
        x.add_opmask_reg(0);
    for (int i = 0; i < 2; i++)
        x.add_pkru(0);
    return fpu;
}

} // namespace

TEST_CASE("components that are marked but hold their initial value are no demand", "[resource]") {
    const auto fpu = marked(0x2e7);
    CHECK(resource::used_components(fpu, kAvx2).value() == kAvx2);
    CHECK(resource::used_components(fpu, kSseOnly).value() == kSseOnly);
    CHECK(resource::used_components(fpu, kAvx512).value() == kAvx512);
}

TEST_CASE("a component with contents has to be there", "[resource]") {
    auto mask = marked(0xe7), upper = marked(0xe7), more = marked(0xe7), avx = marked(0x7);
    mask.mutable_xsave()->set_opmask_reg(3, 1);
    upper.mutable_xsave()->set_zmm_upper(63, 1);
    more.mutable_xsave()->set_hi16_zmm(0, 1);
    avx.mutable_xsave()->set_ymmh_space(5, 1);
    for (const auto &fpu : {mask, upper, more}) {
        CHECK(resource::used_components(fpu, kAvx512).has_value());
        const auto refused = resource::used_components(fpu, kAvx2);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().message().find("AVX-512") != std::string::npos);
    }
    CHECK(resource::used_components(avx, kAvx2).value() == kAvx2);
    CHECK_FALSE(resource::used_components(avx, kSseOnly));
}

TEST_CASE("protection keys as the kernel gives them to every task are no demand", "[resource]") {
    auto given = marked(0x207), own = marked(0x207);
    given.mutable_xsave()->set_pkru(0, 0x55555554);
    own.mutable_xsave()->set_pkru(0, 0x55555550);
    CHECK(resource::used_components(given, kAvx2).value() == kAvx2);
    CHECK_FALSE(resource::used_components(own, kAvx2));
    CHECK(resource::used_components(own, kProtectionKeys).value() == kProtectionKeys);
}

TEST_CASE("what is not marked is not used, and components we do not know are a demand", "[resource]") {
    CHECK(resource::used_components(marked(0x3), kAvx512).value() == 0x3);
    CHECK_FALSE(resource::used_components(marked(uint64_t{1} << 18), kAvx512));
    CHECK(resource::used_components({}, kAvx2).value() == 0x3);
}
