#include "criu/resource/task/processor.hh"

#include <algorithm>
#include <cpuid.h>
#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace resource {
namespace {

// Words of the capabilities, in CRIU's order: seen in an image of its version 3.17, made on an emulated processor whose
// flags are known. Those between them are the kernel's own, or of processors that nobody has, and stay 0.
enum Word : int {
    kBasicEdx = 0,
    kExtendedEdx = 1,
    kBasicEcx = 4,
    kExtendedEcx = 6,
    kStructuredEbx = 9,
    kXsaveEax = 10,
    kStructuredEcx = 11,
    kSizesEbx = 13,
    kPowerEax = 14,
    kVirtualEdx = 15,
    kRasEbx = 17,
    kStructuredEdx = 18,
    kWords = 19,
};
constexpr uint32_t kLayout = 2; // capability_ver: so many words

struct Leaf {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(uint32_t leaf, uint32_t subleaf = 0) {
    Leaf r;
    const uint32_t family = leaf & 0x80000000;
    if (__get_cpuid_max(family, nullptr) >= leaf)
        __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}

uint64_t enabled_state() {
    uint32_t low = 0, high = 0;
    if (cpuid(1).ecx & bit_OSXSAVE)
        asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t{high} << 32 | low;
}

std::string vendor_name() {
    const Leaf leaf = cpuid(0);
    char name[12];
    memcpy(name, &leaf.ebx, 4);
    memcpy(name + 4, &leaf.edx, 4);
    memcpy(name + 8, &leaf.ecx, 4);
    return std::string(name, sizeof name);
}

img::cpuinfo_x86_entry::vendor vendor_of(const std::string &name) {
    return name == "GenuineIntel"   ? img::cpuinfo_x86_entry::INTEL
           : name == "AuthenticAMD" ? img::cpuinfo_x86_entry::AMD
                                    : img::cpuinfo_x86_entry::UNKNOWN;
}

std::string model_name() {
    std::string name;
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++) {
        const Leaf part = cpuid(leaf);
        name.append(reinterpret_cast<const char *>(&part), sizeof part);
    }
    return name.substr(0, name.find('\0'));
}

void set_model(img::cpuinfo_x86_entry *entry) {
    const uint32_t word = cpuid(1).eax;
    uint32_t family = word >> 8 & 0xf, model = word >> 4 & 0xf;
    if (family >= 6)
        model |= word >> 12 & 0xf0;
    if (family == 0xf)
        family += word >> 20 & 0xff;
    entry->set_vendor_id(vendor_of(vendor_name()));
    entry->set_cpu_family(family);
    entry->set_model(model);
    entry->set_stepping(word & 0xf);
    entry->set_model_id(model_name());
}

void set_capabilities(img::cpuinfo_x86_entry *entry) {
    uint32_t words[kWords] = {};
    const Leaf basic = cpuid(1), extended = cpuid(0x80000001), structured = cpuid(7);
    words[kBasicEdx] = basic.edx, words[kBasicEcx] = basic.ecx;
    words[kExtendedEdx] = extended.edx, words[kExtendedEcx] = extended.ecx;
    words[kStructuredEbx] = structured.ebx, words[kStructuredEcx] = structured.ecx;
    words[kStructuredEdx] = structured.edx;
    words[kXsaveEax] = cpuid(0xd, 1).eax;
    words[kSizesEbx] = cpuid(0x80000008).ebx;
    words[kPowerEax] = cpuid(6).eax;
    words[kVirtualEdx] = cpuid(0x8000000a).edx;
    words[kRasEbx] = cpuid(0x80000007).ebx;
    entry->set_capability_ver(kLayout);
    for (uint32_t word : words)
        entry->add_capability(word);
}

// What a program can find out and use by itself.
struct Instructions {
    Word word;
    uint8_t bit;
    const char *name;
};
constexpr Instructions kInstructions[] = {
    {kBasicEdx, 15, "cmov"},
    {kBasicEdx, 23, "mmx"},
    {kBasicEdx, 24, "fxsr"},
    {kBasicEdx, 25, "sse"},
    {kBasicEdx, 26, "sse2"},
    {kExtendedEdx, 27, "rdtscp"},
    {kBasicEcx, 0, "pni"},
    {kBasicEcx, 1, "pclmulqdq"},
    {kBasicEcx, 9, "ssse3"},
    {kBasicEcx, 12, "fma"},
    {kBasicEcx, 13, "cx16"},
    {kBasicEcx, 19, "sse4_1"},
    {kBasicEcx, 20, "sse4_2"},
    {kBasicEcx, 22, "movbe"},
    {kBasicEcx, 23, "popcnt"},
    {kBasicEcx, 25, "aes"},
    {kBasicEcx, 27, "osxsave"},
    {kBasicEcx, 28, "avx"},
    {kBasicEcx, 29, "f16c"},
    {kBasicEcx, 30, "rdrand"},
    {kExtendedEcx, 0, "lahf_lm"},
    {kExtendedEcx, 5, "abm"},
    {kExtendedEcx, 6, "sse4a"},
    {kExtendedEcx, 8, "3dnowprefetch"},
    {kExtendedEcx, 11, "xop"},
    {kExtendedEcx, 16, "fma4"},
    {kExtendedEcx, 21, "tbm"},
    {kExtendedEcx, 29, "mwaitx"},
    {kStructuredEbx, 0, "fsgsbase"},
    {kStructuredEbx, 3, "bmi1"},
    {kStructuredEbx, 4, "hle"},
    {kStructuredEbx, 5, "avx2"},
    {kStructuredEbx, 8, "bmi2"},
    {kStructuredEbx, 11, "rtm"},
    {kStructuredEbx, 16, "avx512f"},
    {kStructuredEbx, 17, "avx512dq"},
    {kStructuredEbx, 18, "rdseed"},
    {kStructuredEbx, 19, "adx"},
    {kStructuredEbx, 21, "avx512ifma"},
    {kStructuredEbx, 23, "clflushopt"},
    {kStructuredEbx, 24, "clwb"},
    {kStructuredEbx, 28, "avx512cd"},
    {kStructuredEbx, 29, "sha_ni"},
    {kStructuredEbx, 30, "avx512bw"},
    {kStructuredEbx, 31, "avx512vl"},
    {kXsaveEax, 0, "xsaveopt"},
    {kXsaveEax, 1, "xsavec"},
    {kXsaveEax, 2, "xgetbv1"},
    {kSizesEbx, 0, "clzero"},
    {kSizesEbx, 4, "rdpru"},
    {kStructuredEcx, 1, "avx512vbmi"},
    {kStructuredEcx, 5, "waitpkg"},
    {kStructuredEcx, 6, "avx512_vbmi2"},
    {kStructuredEcx, 8, "gfni"},
    {kStructuredEcx, 9, "vaes"},
    {kStructuredEcx, 10, "vpclmulqdq"},
    {kStructuredEcx, 11, "avx512_vnni"},
    {kStructuredEcx, 12, "avx512_bitalg"},
    {kStructuredEcx, 14, "avx512_vpopcntdq"},
    {kStructuredEcx, 22, "rdpid"},
    {kStructuredEcx, 25, "cldemote"},
    {kStructuredEcx, 27, "movdiri"},
    {kStructuredEcx, 28, "movdir64b"},
    {kStructuredEdx, 2, "avx512_4vnniw"},
    {kStructuredEdx, 3, "avx512_4fmaps"},
    {kStructuredEdx, 8, "avx512_vp2intersect"},
    {kStructuredEdx, 14, "serialize"},
    {kStructuredEdx, 16, "tsxldtrk"},
    {kStructuredEdx, 22, "amx_bf16"},
    {kStructuredEdx, 23, "avx512_fp16"},
    {kStructuredEdx, 24, "amx_tile"},
    {kStructuredEdx, 25, "amx_int8"},
};

uint32_t word_of(const img::cpuinfo_x86_entry &entry, int word) {
    return word < entry.capability_size() ? entry.capability(word) : 0;
}

bool has(const img::cpuinfo_x86_entry &entry, const Instructions &row) {
    return word_of(entry, row.word) >> row.bit & 1;
}

std::string name_of(const img::cpuinfo_x86_entry &entry) {
    return fmt::format("{} (family {}, model {}, stepping {})",
                       entry.model_id().empty() ? "a processor without a name" : entry.model_id(), entry.cpu_family(),
                       entry.model(), entry.stepping());
}

std::unexpected<base::Error> differs(std::string text) {
    return base::fail(base::Error(base::ErrorKind::Unsupported, std::move(text))
                          .hint("--cpu-cap=none goes on without comparing processors; a program that uses what is "
                                "missing ends by SIGILL"));
}

Result<void> compare_models(const img::cpuinfo_x86_entry &saved, const img::cpuinfo_x86_entry &here) {
    const bool same = saved.vendor_id() == here.vendor_id() && saved.cpu_family() == here.cpu_family() &&
                      saved.model() == here.model();
    if (!same)
        return differs(fmt::format("the checkpoint is from {}, and this is {}", name_of(saved), name_of(here)));
    return {};
}

Result<void> compare_state(const img::cpuinfo_x86_entry &saved, const img::cpuinfo_x86_entry &here) {
    if (const uint64_t missing = saved.xfeatures_mask() & ~here.xfeatures_mask())
        return differs(fmt::format("the processor of the checkpoint has registers (state {:#x}) that this one does not "
                                   "have",
                                   missing));
    return {};
}

Result<const img::cpuinfo_x86_entry *> x86_of(const img::cpuinfo_entry &entry) {
    if (entry.x86_entry_size() != 1)
        return base::bad_image("cpuinfo.img: not the facts of one x86 processor");
    return &entry.x86_entry(0);
}

} // namespace

img::cpuinfo_entry this_processor() {
    img::cpuinfo_entry entry;
    img::cpuinfo_x86_entry *x86 = entry.add_x86_entry();
    set_model(x86);
    set_capabilities(x86);
    const Leaf sizes = cpuid(0xd);
    x86->set_xfeatures_mask(enabled_state());
    x86->set_xsave_size(sizes.ebx);
    x86->set_xsave_size_max(sizes.ecx);
    return entry;
}

std::vector<std::string> missing_instructions(const img::cpuinfo_x86_entry &saved, const img::cpuinfo_x86_entry &here) {
    std::vector<std::string> names;
    for (const Instructions &row : kInstructions)
        if (has(saved, row) && !has(here, row))
            names.emplace_back(row.name);
    return names;
}

Result<void> compare_processors(const img::cpuinfo_entry &saved, const img::cpuinfo_entry &here, ProcessorCare care) {
    const img::cpuinfo_x86_entry &then = *TRY(x86_of(saved)), &now = *TRY(x86_of(here));
    if (care.model)
        TRY(compare_models(then, now));
    if (care.state)
        TRY(compare_state(then, now));
    if (!care.instructions)
        return {};
    if (const auto missing = missing_instructions(then, now); !missing.empty())
        return differs(
            fmt::format("this processor lacks instructions of the one of the checkpoint: {}", fmt::join(missing, " ")));
    return {};
}

Result<void> write_processor(image::ImageDirWriter &images) {
    return images.add(image::ImageKind::Cpuinfo, 0, this_processor());
}

Result<bool> check_processor(const image::ImageDir &images, ProcessorCare care) {
    const auto saved = TRY(images.read_one<img::cpuinfo_entry>(image::ImageKind::Cpuinfo));
    if (!saved)
        return false;
    TRY(compare_processors(*saved, this_processor(), care));
    return true;
}

Result<void> dump_processor(int images_dir_fd) {
    auto images = TRY(image::ImageDirWriter::open(images_dir_fd));
    TRY(write_processor(images));
    return images.close_file(image::ImageKind::Cpuinfo, 0);
}

Result<void> require_processor(int images_dir_fd, ProcessorCare care) {
    if (!TRY(check_processor(TRY(image::ImageDir::open(images_dir_fd)), care)))
        return base::fail(base::Error(base::ErrorKind::BadImage, "there is no cpuinfo.img to compare with")
                              .hint("criu cpuinfo dump -D DIR writes it, on the other machine"));
    return {};
}

} // namespace resource
