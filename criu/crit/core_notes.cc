#include "criu/crit/core_notes.hh"

#include <algorithm>
#include <cstring>
#include <elf.h>
#include <sys/procfs.h>
#include <sys/user.h>

namespace crit {
namespace {

template <class T> std::string_view bytes_of(const T &value) {
    return {reinterpret_cast<const char *>(&value), sizeof value};
}

void pad(std::string &out) {
    constexpr size_t kAlignment = 4;
    out.resize((out.size() + kAlignment - 1) / kAlignment * kAlignment);
}

void add_note(std::string &out, uint32_t type, std::string_view contents) {
    constexpr std::string_view kOwner("CORE\0", 5);
    const Elf64_Nhdr head{kOwner.size(), static_cast<uint32_t>(contents.size()), type};
    out += bytes_of(head);
    out += kOwner;
    pad(out);
    out += contents;
    pad(out);
}

user_regs_struct registers(const img::user_x86_regs_entry &from) {
    user_regs_struct to{};
    to.r15 = from.r15(), to.r14 = from.r14(), to.r13 = from.r13(), to.r12 = from.r12();
    to.rbp = from.bp(), to.rbx = from.bx(), to.r11 = from.r11(), to.r10 = from.r10();
    to.r9 = from.r9(), to.r8 = from.r8(), to.rax = from.ax(), to.rcx = from.cx(), to.rdx = from.dx();
    to.rsi = from.si(), to.rdi = from.di(), to.orig_rax = from.orig_ax();
    to.rip = from.ip(), to.cs = from.cs(), to.eflags = from.flags(), to.rsp = from.sp(), to.ss = from.ss();
    to.fs_base = from.fs_base(), to.gs_base = from.gs_base();
    to.ds = from.ds(), to.es = from.es(), to.fs = from.fs(), to.gs = from.gs();
    return to;
}

/// A repeated field into an array, as far as both reach.
template <class Field, class Word, size_t N> void copy(const Field &from, Word (&to)[N]) {
    std::copy_n(from.begin(), std::min<size_t>(N, static_cast<size_t>(from.size())), to);
}

user_fpregs_struct floating_point(const img::user_x86_fpregs_entry &from) {
    user_fpregs_struct to{};
    to.cwd = static_cast<uint16_t>(from.cwd()), to.swd = static_cast<uint16_t>(from.swd());
    to.ftw = static_cast<uint16_t>(from.twd()), to.fop = static_cast<uint16_t>(from.fop());
    to.rip = from.rip(), to.rdp = from.rdp();
    to.mxcsr = from.mxcsr(), to.mxcr_mask = from.mxcsr_mask();
    copy(from.st_space(), to.st_space);
    copy(from.xmm_space(), to.xmm_space);
    return to;
}

void add_thread(std::string &out, const CoreTask &task, const CoreThread &thread) {
    elf_prstatus status{};
    status.pr_pid = static_cast<pid_t>(thread.tid);
    status.pr_ppid = static_cast<pid_t>(task.ppid);
    status.pr_pgrp = static_cast<pid_t>(task.pgid);
    status.pr_sid = static_cast<pid_t>(task.sid);
    status.pr_sighold = thread.core.thread_core().blk_sigset();
    const user_regs_struct set = registers(thread.core.thread_info().gpregs());
    static_assert(sizeof set == sizeof status.pr_reg);
    std::memcpy(&status.pr_reg, &set, sizeof set);
    status.pr_fpvalid = 1;
    add_note(out, NT_PRSTATUS, bytes_of(status));
    add_note(out, NT_FPREGSET, bytes_of(floating_point(thread.core.thread_info().fpregs())));
}

void add_process(std::string &out, const CoreTask &task) {
    const img::core_entry &core = task.threads.front().core;
    elf_prpsinfo info{};
    info.pr_sname = 'T';
    info.pr_uid = core.thread_core().creds().uid();
    info.pr_gid = core.thread_core().creds().gid();
    info.pr_pid = static_cast<pid_t>(task.pid);
    info.pr_ppid = static_cast<pid_t>(task.ppid);
    info.pr_pgrp = static_cast<pid_t>(task.pgid);
    info.pr_sid = static_cast<pid_t>(task.sid);
    core.tc().comm().copy(info.pr_fname, sizeof info.pr_fname - 1);
    core.tc().comm().copy(info.pr_psargs, sizeof info.pr_psargs - 1);
    add_note(out, NT_PRPSINFO, bytes_of(info));
}

void add_auxiliary(std::string &out, const img::mm_entry &mm) {
    std::string words;
    for (uint64_t word : mm.mm_saved_auxv())
        words += bytes_of(word);
    add_note(out, NT_AUXV, words);
}

void add_files(std::string &out, const std::vector<CoreMapping> &files) {
    constexpr uint64_t kPage = 4096;
    std::string contents;
    contents += bytes_of(uint64_t{files.size()});
    contents += bytes_of(kPage);
    for (const CoreMapping &file : files)
        for (uint64_t word : {file.start, file.end, file.page})
            contents += bytes_of(word);
    for (const CoreMapping &file : files)
        contents.append(file.path).push_back('\0');
    add_note(out, NT_FILE, contents);
}

} // namespace

std::string core_notes(const CoreTask &task, const std::vector<CoreMapping> &files) {
    std::string out;
    // The first thread's status comes first, then what concerns the process: as the kernel writes it.
    add_thread(out, task, task.threads.front());
    add_process(out, task);
    add_auxiliary(out, task.mm);
    add_files(out, files);
    for (size_t i = 1; i < task.threads.size(); i++)
        add_thread(out, task, task.threads[i]);
    return out;
}

} // namespace crit
