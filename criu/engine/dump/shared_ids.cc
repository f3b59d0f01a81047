#include "criu/engine/dump/shared_ids.hh"

#include <algorithm>
#include <linux/kcmp.h>
#include <map>
#include <sys/syscall.h>
#include <unistd.h>

namespace dump {
namespace {

// 0 equal, -1 or 1 by the kernel's (scrambled) order of addresses. Errors count as different: nothing is shared then.
int compare(base::Pid a, base::Pid b, int type) {
    long r = syscall(SYS_kcmp, a.value, b.value, type, 0, 0);
    return r == 0 ? 0 : r == 1 ? -1 : 1;
}

class Numbers {
public:
    explicit Numbers(int type) : type_(type) {}
    uint32_t number(base::Pid pid) {
        auto it = std::lower_bound(known_.begin(), known_.end(), pid,
                                   [&](const Known &known, base::Pid p) { return compare(known.pid, p, type_) < 0; });
        if (it != known_.end() && compare(it->pid, pid, type_) == 0)
            return it->number;
        known_.insert(it, {pid, next_});
        return next_++;
    }

private:
    struct Known {
        base::Pid pid;
        uint32_t number;
    };
    int type_;
    uint32_t next_ = 2;
    std::vector<Known> known_;
};

} // namespace

void assign_shared_ids(std::vector<tree::TaskFacts> &tasks) {
    Numbers vm(KCMP_VM), files(KCMP_FILES), fs(KCMP_FS), sighand(KCMP_SIGHAND);
    std::map<uint32_t, base::Pid> memories;
    for (tree::TaskFacts &task : tasks) {
        if (task.zombie)
            continue;
        task.ids = {vm.number(task.voice), files.number(task.voice), fs.number(task.voice), sighand.number(task.voice)};
        const auto [first, fresh] = memories.emplace(task.ids.vm, task.pid);
        if (!fresh)
            task.memory_of = first->second;
        for (tree::ThreadFacts &thread : task.threads) {
            if (thread.tid == task.voice)
                continue;
            thread.own_directories = compare(task.voice, thread.tid, KCMP_FS) != 0;
            if (compare(task.voice, thread.tid, KCMP_FILES) != 0)
                thread.own_table = files.number(thread.tid);
        }
    }
}

} // namespace dump
