// What a dump knows of a stopped task from outside, before anything runs in it. Plain values.
#pragma once

#include "base/ids.hh"
#include "compel/freezer.hh"
#include "criu/parse/maps.hh"
#include "criu/parse/one_line_files.hh"
#include "criu/parse/stat.hh"
#include "criu/parse/status.hh"
#include "criu/parse/timers.hh"
#include "criu/tree/namespaces.hh"
#include "criu/tree/pid_map.hh"

#include <asm/ldt.h>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

namespace tree {

using base::Pid;
using base::VPid;

/// The kernel's struct ptrace_rseq_configuration.
struct RseqConfiguration {
    uint64_t pointer = 0;
    uint32_t size = 0;
    uint32_t signature = 0;
    uint32_t flags = 0;
    uint32_t pad = 0;
};

struct ThreadFacts {
    Pid tid;
    VPid vtid; ///< as images say it
    parse::Status status;
    compel::Registers registers{};
    uint64_t original_syscall = 0; ///< as registers.orig_rax, but what restart_syscall restarts
    std::vector<user_desc>
        thread_areas; ///< set_thread_area(2), all that the kernel has; none where the thread uses none
    std::vector<std::byte> xstate;
    uint64_t signal_mask = 0;
    std::vector<siginfo_t> pending;
    std::optional<RseqConfiguration> rseq;           ///< absent: the kernel cannot tell
    uint32_t seccomp_filter = 0;                     ///< index in seccomp.img of its newest filter
    std::optional<compel::SyscallDispatch> dispatch; ///< syscall user dispatch, where it is on
    uint64_t rseq_cs = 0;                            ///< struct rseq's rseq_cs word, 0 outside of critical sections
    uint64_t pid_namespace_of_children = 0;          ///< its number on nsfs; 0: nobody is in it yet
    uint32_t cgroup_set = 1;                         ///< in cgroup.img; 1: the tool's own
    std::optional<VPid>
        pid_for_children;         ///< init of the pid namespace of its next child, where not its own; 0: none yet
    bool own_directories = false; ///< it shares neither them nor the umask with its process
    uint32_t own_table = 0;       ///< its descriptors, as SharedIds::files; 0: those of its process
    std::vector<int> own_fds;     ///< of that table, where this thread is its first
    std::optional<uint64_t> time_left_ns; ///< of a call with a time limit that the stop has interrupted
};

/// Links of one process to kernel objects that it may share with others: equal numbers mean the same object.
struct SharedIds {
    uint32_t vm = 0, files = 0, fs = 0, sighand = 0;
};

/// What the end of a task adds to the semaphores of a System V set (SEM_UNDO).
struct SemaphoreUndo {
    uint32_t set = 0; ///< its id
    std::vector<int16_t> adjustments;
};

/// Of a dump that was killed, with no thread inside of it any more.
struct AbandonedAgent {
    uint64_t base = 0, size = 0;
    std::vector<int> fds;
};

struct TaskFacts {
    Pid pid;
    Pid voice; ///< the thread that answers for it: the leader, or where that has ended the first of the others
    Pid parent;
    Pid parent_thread; ///< of the parent, that has forked it; 0 for the leader
    /// As images say it: in the root task's pid namespace. The parent of the root is 0, and so is the leader of a group
    /// or session who is outside of that namespace.
    VPid vpid, vparent, vgroup, vsession;
    VPid parent_vthread; ///< of parent_thread
    /// What it, its group and its session are called in the pid namespaces between the root task's and its own, the
    /// outermost first; 0 for a leader who is outside.
    std::vector<int32_t> inner, inner_group, inner_session;
    NamespaceInodes ns; ///< of a zombie only that of pids
    bool zombie = false;
    bool stopped = false; ///< by a stop signal, before we came
    int stop_signal = 0;
    bool is_32bit = false; ///< of 32-bit x86: so were its system calls, and with them its signal actions
    parse::Stat stat;
    std::vector<parse::Vma> vmas;
    std::vector<parse::PosixTimer> timers;
    std::vector<uint64_t> auxv;
    std::vector<siginfo_t> shared_pending;
    std::vector<int> fds; ///< descriptor numbers, ascending
    std::optional<uint32_t> coredump_filter;
    int32_t oom_score_adj = 0;
    std::optional<uint32_t> loginuid;
    std::optional<int32_t> autogroup_nice;
    SharedIds ids;
    Pid memory_of; ///< the first task with its memory (CLONE_VM without CLONE_THREAD); 0: that is itself
    std::vector<SemaphoreUndo> sem_undo;
    std::vector<AbandonedAgent> abandoned; ///< not in `vmas`, nor its descriptors in `fds`
    std::vector<ThreadFacts> threads;      ///< `voice` first; empty for a zombie

    /// While others live. /proc/PID tells nothing then that needs memory or files; /proc/VOICE does.
    bool leader_ended() const { return !zombie && voice != pid; }

    /// Of the address space: for a 32-bit program at least as far up as with ADDR_LIMIT_3GB.
    uint64_t address_end() const {
        constexpr uint64_t kEndOf32 = 0xc0000000;
        return is_32bit ? kEndOf32 : base::kUserEnd;
    }
    const parse::Status &status() const { return threads.front().status; }
};

/// Of all tasks and threads.
inline PidMap pids_of(std::span<const TaskFacts> tasks) {
    if (tasks.empty() || tasks.front().pid.value == tasks.front().vpid.value)
        return PidMap::identity();
    PidMap map = PidMap::empty();
    for (const TaskFacts &task : tasks) {
        // Groups and sessions outlive their leaders.
        map.add(base::Pid(task.stat.pgrp), task.vgroup);
        map.add(base::Pid(task.stat.session), task.vsession);
        map.add(task.pid, task.vpid);
        for (const ThreadFacts &thread : task.threads)
            map.add(thread.tid, thread.vtid);
    }
    return map;
}

} // namespace tree
