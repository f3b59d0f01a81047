#include "criu/plan/vdso.hh"

#include "criu/parse/elf.hh"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <span>
#include <sys/syscall.h>

namespace plan {
namespace {

using Code = std::vector<std::byte>;

constexpr std::string_view kPrefix = "__vdso_";

/// A function and the call that does the same with the same arguments in the same registers.
struct Equivalent {
    std::string_view name;
    uint32_t number;
    bool keeps_state; ///< in memory of the program, laid out as its own kernel likes it
};
constexpr uint32_t kGetrandom = 318;
constexpr std::array kEquivalents{
    Equivalent{"__vdso_clock_gettime", SYS_clock_gettime, false},
    Equivalent{"__vdso_clock_getres", SYS_clock_getres, false},
    Equivalent{"__vdso_gettimeofday", SYS_gettimeofday, false},
    Equivalent{"__vdso_time", SYS_time, false},
    Equivalent{"__vdso_getcpu", SYS_getcpu, false},
    Equivalent{"__vdso_getrandom", kGetrandom, true},
};
/// Enters an enclave by an instruction of the processor: needs neither the kernel nor its data.
constexpr std::string_view kSelfContained = "__vdso_sgx_enter_enclave";

void append(Code &code, std::initializer_list<unsigned> bytes) {
    for (unsigned byte : bytes)
        code.push_back(static_cast<std::byte>(byte));
}

template <class T> void append_value(Code &code, T value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    code.insert(code.end(), bytes.begin(), bytes.end());
}

/// r11 is nobody's across a call.
Code jump_to(uint64_t address) {
    Code code;
    append(code, {0x49, 0xbb}); // movabs $address, %r11
    append_value(code, address);
    append(code, {0x41, 0xff, 0xe3}); // jmp *%r11
    return code;
}

Code system_call(uint32_t number) {
    Code code;
    append(code, {0xb8}); // mov $number, %eax
    append_value(code, number);
    append(code, {0x0f, 0x05, 0xc3}); // syscall; ret
    return code;
}

std::optional<Code> replacement(const std::string &name, const std::map<std::string, uint64_t> &ours,
                                uint64_t ours_at) {
    const auto known = std::ranges::find(kEquivalents, name, &Equivalent::name);
    const bool keeps_state = known != kEquivalents.end() && known->keeps_state;
    if (auto function = ours.find(name); function != ours.end() && !keeps_state)
        return jump_to(ours_at + function->second);
    if (known != kEquivalents.end())
        return system_call(known->number);
    return std::nullopt;
}

/// The functions that programs look for; others are second names of theirs.
base::Result<std::map<std::string, uint64_t>> functions_of(std::string_view image, const char *whose) {
    std::map<std::string, uint64_t> found;
    const parse::ElfImage elf = TRY_CTX(parse::parse_elf_image(image), whose);
    for (const parse::ElfSymbol &symbol : elf.symbols)
        if (symbol.name.starts_with(kPrefix))
            found.emplace(symbol.name, symbol.offset);
    return found;
}

base::Result<void> check_room(const std::map<uint64_t, size_t> &patches, size_t image_size) {
    uint64_t end = 0;
    for (auto &[offset, size] : patches) {
        if (offset < end || offset > image_size || size > image_size - offset)
            return base::unsupported(fmt::format("the vdso's function at {:#x} is too short to be replaced", offset));
        end = offset + size;
    }
    return {};
}

} // namespace

base::Result<std::vector<VdsoPatch>> plan_vdso_patches(std::string_view theirs, std::string_view ours,
                                                       uint64_t ours_at) {
    const auto old_functions = TRY(functions_of(theirs, "the vdso of the checkpoint"));
    const auto new_functions = TRY(functions_of(ours, "this kernel's vdso"));
    std::vector<VdsoPatch> patches;
    std::map<uint64_t, size_t> taken;
    for (auto &[name, offset] : old_functions) {
        auto code = replacement(name, new_functions, ours_at);
        if (!code && name == kSelfContained)
            continue;
        if (!code)
            return base::unsupported(fmt::format("this kernel's vdso has no {}", name));
        taken[offset] = code->size();
        patches.push_back({offset, std::move(*code)});
    }
    TRY(check_room(taken, theirs.size()));
    return patches;
}

} // namespace plan
