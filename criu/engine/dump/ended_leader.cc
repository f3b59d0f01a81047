#include "criu/engine/dump/ended_leader.hh"

#include "criu/parse/elf.hh"

#include <algorithm>
#include <csignal>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace dump {
namespace {

Result<uint64_t> syscall_instruction(const tree::TaskFacts &task, const compel::RemoteMemory &memory) {
    auto vdso = std::ranges::find(task.vmas, "[vdso]", &parse::Vma::name);
    if (vdso == task.vmas.end())
        return base::unsupported("its main thread has ended, and it has no vdso");
    std::string code(vdso->size(), '\0');
    TRY(memory.read(vdso->start, std::as_writable_bytes(std::span(code))));
    // Behind its contents lies the agent's boot code now. The last one: patches that lead to another kernel's vdso are
    // at the beginnings of functions.
    const parse::ElfImage image = TRY(parse::parse_elf_image(code));
    code.resize(std::min(code.size(), image.content_end));
    const auto call = std::ranges::find(image.symbols, "__kernel_vsyscall", &parse::ElfSymbol::name);
    const size_t at = !task.is_32bit                ? code.rfind("\x0f\x05")
                      : call == image.symbols.end() ? std::string::npos
                                                    : code.find("\xcd\x80", call->offset);
    if (at == std::string::npos)
        return base::unsupported("its main thread has ended, and its vdso makes no system calls");
    return vdso->start + at;
}

/// Its end must touch neither memory nor futexes again: that has happened.
void forget_memory(img::core_entry &core) {
    core.mutable_thread_info()->set_clear_tid_addr(0);
    img::thread_core_entry *thread = core.mutable_thread_core();
    thread->set_futex_rla(0);
    thread->set_futex_rla_len(0);
    thread->clear_rseq_entry();
    thread->mutable_sas()->set_ss_sp(0);
    thread->mutable_sas()->set_ss_size(0);
    thread->mutable_sas()->set_ss_flags(SS_DISABLE);
}

void forget_signals(img::core_entry &core) {
    core.mutable_tc()->set_blk_sigset(~0ull);
    core.mutable_thread_core()->clear_signals_p();
    core.mutable_thread_core()->clear_pdeath_sig();
}

void call_exit(img::core_entry &core, uint64_t instruction, int code) {
    img::user_x86_regs_entry *registers = core.mutable_thread_info()->mutable_gpregs();
    constexpr uint64_t kExitOf32 = 1;
    const bool of_32bit = registers->mode() == img::COMPAT;
    registers->set_ip(instruction);
    registers->set_ax(of_32bit ? kExitOf32 : SYS_exit);
    if (of_32bit)
        registers->set_bx(static_cast<uint64_t>(code));
    else
        registers->set_di(static_cast<uint64_t>(code));
    registers->set_orig_ax(~0ull);
    img::ext_thread_core *ext = core.mutable_thread_core()->mutable_ext();
    ext->clear_syscall_restart();
    ext->clear_syscall_left_ns();
    ext->clear_syscall_request();
}

} // namespace

Result<img::core_entry> take_ended_leader(img::core_entry &core, const tree::TaskFacts &task,
                                          const compel::RemoteMemory &memory) {
    img::core_entry leader = core;
    core.mutable_thread_core()->set_blk_sigset(core.tc().blk_sigset());
    core.clear_tc();
    leader.mutable_thread_core()->set_comm(task.stat.comm);
    forget_memory(leader);
    forget_signals(leader);
    call_exit(leader, TRY(syscall_instruction(task, memory)), WEXITSTATUS(task.stat.exit_code));
    return leader;
}

} // namespace dump
