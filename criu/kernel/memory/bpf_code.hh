// BPF programs, instruction by instruction: ours are a dozen lines, and no compiler is needed where we run.
#pragma once

#include "base/unique_fd.hh"

#include <cstdint>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

namespace bpf {

using Code = std::vector<bpf_insn>;

inline uint8_t number(int reg) {
    return static_cast<uint8_t>(reg & 0xf);
}

inline bpf_insn instruction(int code, int to, int from, int offset, int32_t value) {
    bpf_insn insn{};
    insn.code = static_cast<uint8_t>(code);
    insn.dst_reg = number(to) & 0xf;
    insn.src_reg = number(from) & 0xf;
    insn.off = static_cast<int16_t>(offset);
    insn.imm = value;
    return insn;
}
inline bpf_insn copy(int to, int from) {
    return instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}
inline bpf_insn set(int to, int32_t value) {
    return instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value);
}
inline bpf_insn add(int to, int32_t value) {
    return instruction(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value);
}
/// 64 bits.
inline bpf_insn load(int to, int base, int offset) {
    return instruction(BPF_LDX | BPF_MEM | BPF_DW, to, base, offset, 0);
}
inline bpf_insn store(int base, int offset, int from) {
    return instruction(BPF_STX | BPF_MEM | BPF_DW, base, from, offset, 0);
}
/// Goes over the next `count` instructions where the register is zero.
inline bpf_insn skip_if_zero(int reg, int count) {
    return instruction(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, count, 0);
}
inline bpf_insn call(int helper) {
    return instruction(BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

/// Kept over calls; and the end of 512 bytes of stack.
constexpr int kContext = BPF_REG_6, kStack = BPF_REG_10;

/// return 0
inline void append_exit(Code &code) {
    code.push_back(set(BPF_REG_0, 0));
    code.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

/// As the system call wants it.
inline uint64_t address(const void *memory) {
    return reinterpret_cast<uintptr_t>(memory);
}

/// Loads a program of the type, and with the attachment, that `attributes` say. An invalid descriptor, and errno.
inline base::UniqueFd load_program(const Code &code, bpf_attr attributes) {
    attributes.insns = address(code.data());
    attributes.insn_cnt = static_cast<uint32_t>(code.size());
    attributes.license = address("GPL"); // what the helpers ask for
    return base::UniqueFd(static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes)));
}

} // namespace bpf
