// Whether a processor does for a tree that ran on another one.
#include "criu/resource/task/processor.hh"

#include <catch2/catch.hpp>

namespace {

constexpr int kBasicEcx = 4, kStructuredEbx = 9;
constexpr uint32_t kAes = 1u << 25, kAvx512f = 1u << 16, kAvx2 = 1u << 5;

img::cpuinfo_entry processor(std::initializer_list<std::pair<int, uint32_t>> words, int words_count = 19) {
    img::cpuinfo_entry entry;
    img::cpuinfo_x86_entry &x86 = *entry.add_x86_entry();
    x86.set_vendor_id(img::cpuinfo_x86_entry::AMD);
    x86.set_cpu_family(25);
    x86.set_model(17);
    x86.set_xfeatures_mask(0x7);
    for (int i = 0; i < words_count; i++)
        x86.add_capability(0);
    for (auto [word, bits] : words)
        x86.set_capability(word, bits);
    return entry;
}

std::string difference(const img::cpuinfo_entry &saved, const img::cpuinfo_entry &here, resource::ProcessorCare care) {
    auto compared = resource::compare_processors(saved, here, care);
    return compared ? "" : compared.error().message();
}

const resource::ProcessorCare kInstructions{.instructions = true}, kState{.state = true}, kModel{.model = true};

} // namespace

TEST_CASE("the processor at hand does for itself") {
    const auto here = resource::this_processor();
    REQUIRE(here.IsInitialized());
    REQUIRE(here.x86_entry(0).capability_size() == 19);
    CHECK((here.x86_entry(0).xfeatures_mask() & 0x3) == 0x3);
    CHECK(here.x86_entry(0).xsave_size() >= 512 + 64);
    CHECK(difference(here, here, {.model = true, .state = true, .instructions = true}) == "");
}

TEST_CASE("instructions that are missing are named") {
    const auto rich = processor({{kBasicEcx, kAes}, {kStructuredEbx, kAvx2 | kAvx512f}});
    const auto poor = processor({{kBasicEcx, kAes}, {kStructuredEbx, kAvx2}});
    CHECK(difference(rich, poor, kInstructions) ==
          "this processor lacks instructions of the one of the checkpoint: avx512f");
    CHECK(difference(poor, rich, kInstructions) == "");
    CHECK(difference(rich, poor, kState) == "");
    CHECK(difference(rich, poor, {}) == "");
}

TEST_CASE("an image of CRIU 3.17 on an emulated processor") {
    img::cpuinfo_entry entry = processor({});
    const uint32_t words[] = {533462013, 3990092797, 0, 34668544, 4275581451, 0,         119, 0, 0, 30950313,
                              5,         2147549724, 0, 0,        4,          268500993, 0,   0, 0};
    for (int i = 0; i < 19; i++)
        entry.mutable_x86_entry(0)->set_capability(i, words[i]);
    const auto names = resource::missing_instructions(entry.x86_entry(0), processor({}).x86_entry(0));
    const std::vector<std::string> flags{"cmov",       "mmx",   "fxsr",     "sse",     "sse2",   "rdtscp", "pni",
                                         "pclmulqdq",  "ssse3", "fma",      "cx16",    "sse4_1", "sse4_2", "movbe",
                                         "popcnt",     "aes",   "osxsave",  "avx",     "f16c",   "rdrand", "lahf_lm",
                                         "abm",        "sse4a", "fsgsbase", "bmi1",    "avx2",   "bmi2",   "adx",
                                         "clflushopt", "clwb",  "xsaveopt", "xgetbv1", "vaes"};
    CHECK(names == flags);
}

TEST_CASE("registers and models") {
    auto wide = processor({}), other = processor({});
    wide.mutable_x86_entry(0)->set_xfeatures_mask(0xe7);
    CHECK(difference(wide, processor({}), kState).find("0xe0") != std::string::npos);
    CHECK(difference(processor({}), wide, kState) == "");
    other.mutable_x86_entry(0)->set_model(1);
    CHECK(difference(processor({}), other, kModel).find("model 17") != std::string::npos);
    CHECK(difference(processor({}), other, kInstructions) == "");
}

TEST_CASE("facts of no processor, of two, of few words") {
    img::cpuinfo_entry two = processor({});
    *two.add_x86_entry() = two.x86_entry(0);
    CHECK(difference({}, processor({}), kInstructions).find("not the facts") != std::string::npos);
    CHECK(difference(two, processor({}), kInstructions).find("not the facts") != std::string::npos);
    CHECK(difference(processor({}, 0), processor({}), kInstructions) == "");
    CHECK(difference(processor({{kBasicEcx, kAes}}, 5), processor({}), kInstructions).ends_with(": aes"));
}
