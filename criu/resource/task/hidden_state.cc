#include "criu/resource/task/hidden_state.hh"

#include "criu/kernel/io.hh"
#include "criu/resource/task/kernel_keyring.hh"
#include "criu/resource/task/traced_threads.hh"
#include "criu/resource/task/undo_list.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <map>
#include <set>
#include <sstream>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource {
namespace {

// ---- whether there can be any, at next to no cost -----------------------------------------------------------------

bool has_landlock() {
    return syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

/// Who is not privileged may confine himself only with no_new_privs, and who is does the same.
bool may_be_confined(const tree::TaskFacts &task) {
    return std::ranges::any_of(task.threads, [](auto &thread) { return thread.status.no_new_privs; });
}

/// A line of /proc/keys about a key that a program may have made. Systemd gives one to each service.
bool is_of_program(const std::string &line) {
    constexpr std::string_view kTypes[] = {"user", "logon", "big_key", "encrypted", "trusted", "rxrpc"};
    std::istringstream words(line);
    std::string serial, flags, usage, timeout, permissions, user, group, type, name;
    words >> serial >> flags >> usage >> timeout >> permissions >> user >> group >> type >> name;
    return std::ranges::find(kTypes, type) != std::end(kTypes) && !name.starts_with("invocation_id");
}

/// Keys of root's are visible to us, if we are root. Others who own more than the two keyrings that each user has may
/// have some; a session's keyring counts, too.
bool may_have_keys(const std::vector<tree::TaskFacts> &tasks) {
    std::istringstream users(kernel::read_file(AT_FDCWD, "/proc/key-users").value_or(std::string()));
    constexpr int kOfEveryUser = 2;
    std::string line;
    while (std::getline(users, line)) {
        unsigned user = 0;
        int usage = 0, keys = 0;
        if (sscanf(line.c_str(), "%u: %d %d/", &user, &usage, &keys) != 3 || user == 0 || keys <= kOfEveryUser)
            continue;
        for (const tree::TaskFacts &task : tasks)
            for (const tree::ThreadFacts &thread : task.threads)
                if (std::ranges::find(thread.status.uid, user) != std::end(thread.status.uid))
                    return true;
    }
    std::istringstream keys(kernel::read_file(AT_FDCWD, "/proc/keys").value_or(std::string()));
    while (std::getline(keys, line))
        if (is_of_program(line))
            return true;
    return false;
}

// ---- what there is -------------------------------------------------------------------------------------------------

/// Where the credentials of a task have what Landlock keeps there: modules that have a part of their own come in the
/// order in which they were started. Nothing where that is not known.
std::optional<uint64_t> landlock_offset() {
    constexpr long kListModules = 461; // lsm_list_modules, Linux 6.8
    constexpr uint64_t kApparmor = 104, kLandlock = 110, kWithout[] = {100, 105, 106, 107, 108, 109, 111, 112, 113};
    uint64_t modules[32];
    uint32_t size = sizeof modules;
    const long count = syscall(kListModules, modules, &size, 0);
    uint64_t offset = 0;
    for (long i = 0; i < count; i++) {
        if (modules[i] == kLandlock)
            return offset;
        if (modules[i] == kApparmor)
            offset += sizeof(void *);
        else if (std::ranges::find(kWithout, modules[i]) == std::end(kWithout))
            return std::nullopt;
    }
    return std::nullopt;
}

/// Looks at the threads of one dump.
class Search {
public:
    Search(const KernelMemory &memory, std::map<int, TaskAddress> threads, std::vector<HiddenFinding> &found)
        : memory_(memory), threads_(std::move(threads)), found_(found), landlock_(landlock_offset()) {}

    Result<void> begin() {
        own_session_ = TRY(memory_.member(TRY(credentials(TRY(memory_.current_task()))), "cred", "session_keyring"));
        return {};
    }

    Result<void> look_at(tree::TaskFacts &task, bool semaphores) {
        uint64_t undo = 0;
        for (tree::ThreadFacts &thread : task.threads) {
            const auto known = threads_.find(thread.tid.value);
            if (known == threads_.end())
                continue;
            if (semaphores)
                TRY(look_at_undo(task, thread, known->second, undo));
            const uint64_t cred = TRY(credentials(known->second));
            TRY(look_at_process_keys(task, thread, cred));
            if (seen_[task.pid.value].insert(cred).second)
                TRY(look_at_credentials(task, thread, cred));
        }
        return {};
    }

private:
    Result<uint64_t> credentials(TaskAddress thread) const { return memory_.member(thread, "task_struct", "cred"); }

    void add(const tree::TaskFacts &task, Loss loss, std::string what) {
        found_.push_back({task.pid, loss, std::move(what)});
    }

    Result<void> look_at_keyring(const tree::TaskFacts &task, const tree::ThreadFacts &thread, uint64_t keyring,
                                 const char *kind) {
        if (!keyring || !keyrings_.insert(keyring).second)
            return {};
        const auto keys = TRY(keys_in(memory_, keyring));
        if (!keys.empty())
            add(task, Loss::Keyrings,
                fmt::format("the {} keyring of thread {} holds {} keys (one is of the type {})", kind, thread.tid.value,
                            keys.size(), keys.front()));
        return {};
    }

    Result<void> look_at_process_keys(const tree::TaskFacts &task, const tree::ThreadFacts &thread, uint64_t cred) {
        TRY(look_at_keyring(task, thread, TRY(memory_.member(cred, "cred", "thread_keyring")), "thread"));
        return look_at_keyring(task, thread, TRY(memory_.member(cred, "cred", "process_keyring")), "process");
    }

    Result<void> look_at_credentials(const tree::TaskFacts &task, const tree::ThreadFacts &thread, uint64_t cred) {
        const uint64_t session = TRY(memory_.member(cred, "cred", "session_keyring"));
        if (session && session != own_session_ && !TRY(is_users_keyring(memory_, session)))
            TRY(look_at_keyring(task, thread, session, "session"));
        if (!landlock_)
            return {};
        const uint64_t blob = TRY(memory_.member(cred, "cred", "security"));
        if (blob && TRY(memory_.member(blob + *landlock_, "landlock_cred_security", "domain")))
            add(task, Loss::Landlock,
                fmt::format("thread {} has confined itself by Landlock, whose rules the kernel tells nobody",
                            thread.tid.value));
        return {};
    }

    /// The first thread's list is kept; `first` is its address.
    Result<void> look_at_undo(tree::TaskFacts &task, const tree::ThreadFacts &thread, TaskAddress address,
                              uint64_t &first) {
        const uint64_t list = TRY(memory_.member(address, "task_struct", "sysvsem.undo_list"));
        if (&thread == &task.threads.front()) {
            first = list;
            if (!list)
                return {};
            task.sem_undo = TRY(read_undo_list(memory_, list, task.voice));
            if (const auto [owner, fresh] = lists_.emplace(list, task.pid); !fresh && !task.sem_undo.empty()) {
                task.sem_undo.clear();
                add(task, Loss::SemaphoreUndo,
                    fmt::format("its adjustments of semaphores are those of task {} as well (CLONE_SYSVSEM)",
                                owner->second.value));
            }
        } else if (list && list != first && !TRY(read_undo_list(memory_, list, task.voice)).empty())
            add(task, Loss::SemaphoreUndo,
                fmt::format("thread {} has adjustments of semaphores of its own (SEM_UNDO)", thread.tid.value));
        return {};
    }

    const KernelMemory &memory_;
    std::map<int, TaskAddress> threads_;
    std::vector<HiddenFinding> &found_;
    std::optional<uint64_t> landlock_;
    uint64_t own_session_ = 0;
    std::set<uint64_t> keyrings_;            ///< seen already
    std::map<int, std::set<uint64_t>> seen_; ///< credentials of a task
    std::map<uint64_t, base::Pid> lists_;    ///< of semaphores, with who has each
};

} // namespace

Result<std::vector<HiddenFinding>> find_hidden_state(const OpenKernelMemory &open,
                                                     std::vector<tree::TaskFacts> &tasks) {
    std::vector<HiddenFinding> found;
    const bool confined = std::ranges::any_of(tasks, may_be_confined) && has_landlock();
    const bool semaphores = has_semaphores(tasks.front().voice);
    if (!confined && !semaphores && !may_have_keys(tasks))
        return found;
    const KernelMemory &memory = *TRY(open());
    Search search(memory, TRY(traced_threads(memory)), found);
    TRY(search.begin());
    for (tree::TaskFacts &task : tasks)
        if (!task.zombie)
            TRY(search.look_at(task, semaphores));
    return found;
}

std::string cannot_look(const base::Error &why) {
    return fmt::format("whether tasks have keys, rules of Landlock or adjustments of semaphores (SEM_UNDO) cannot be "
                       "told; they are lost: {}",
                       why.message());
}

std::string cannot_see_landlock(const std::vector<tree::TaskFacts> &tasks) {
    if (std::ranges::none_of(tasks, may_be_confined) || !has_landlock() || landlock_offset())
        return {};
    return "whether tasks have confined themselves by Landlock cannot be told, as this kernel has security modules "
           "that "
           "are not known; its rules are lost";
}

Result<void> settle_hidden_state(const OpenKernelMemory &open, std::vector<tree::TaskFacts> &tasks,
                                 const AllowedLosses &allowed, base::Log &log) {
    const auto found = find_hidden_state(open, tasks);
    if (!found) {
        log.warn("dump: " + cannot_look(found.error()));
        return {};
    }
    if (const std::string unseen = cannot_see_landlock(tasks); !unseen.empty())
        log.warn("dump: " + unseen);
    for (const HiddenFinding &finding : *found)
        TRY_CTX(lose(allowed, log, finding.loss, finding.what), fmt::format("task {}", finding.task.value));
    return {};
}

} // namespace resource
