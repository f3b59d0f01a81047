#include "criu/resource/file/path/dead_task.hh"

#include <csignal>
#include <cstdint>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace resource {

base::Result<DeadTask> DeadTask::create(pid_t pid) {
    clone_args args{};
    args.exit_signal = SIGCHLD;
    if (pid) {
        args.set_tid = reinterpret_cast<uint64_t>(&pid);
        args.set_tid_size = 1;
    }
    const pid_t creator = getpid();
    const long made = syscall(SYS_clone3, &args, sizeof args);
    if (made < 0)
        return base::fail_sys(fmt::format("create a process in place of the dead task {}", pid));
    if (made)
        return DeadTask(static_cast<pid_t>(made));
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != creator)
        _exit(1);
    for (;;)
        pause();
}

DeadTask::~DeadTask() {
    if (!pid_)
        return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
}

} // namespace resource
