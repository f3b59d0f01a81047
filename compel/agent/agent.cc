// The agent: executes operations inside a task. Freestanding: no libc, no heap, no globals, no relocations, general
// registers only (the task's FPU state is live while we run). See include/agent/contract.hh.

#include "agent/contract.hh"
#include "compel/agent/syscall.hh"

#include <asm/unistd_64.h>

using namespace agent;

namespace {

constexpr int64_t kEbade = 52;
constexpr int64_t kEagain = 11, kEmfile = 24;
constexpr uint64_t kFutexWait = 0, kFutexWake = 1;

template <class T> uint64_t addr(T *p) {
    return reinterpret_cast<uint64_t>(p);
}
template <class T> T *ptr(uint64_t a) {
    return reinterpret_cast<T *>(a);
}

void futex_wait(uint32_t *word, uint32_t value) {
    raw_syscall(__NR_futex, addr(word), kFutexWait, value);
}
void futex_wake_all(uint32_t *word) {
    raw_syscall(__NR_futex, addr(word), kFutexWake, 0x7fffffff);
}

uint64_t argument(const Op *list, const Op &op, unsigned i) {
    if (op.result_refs >> i & 1)
        return static_cast<uint64_t>(list[op.arg[i]].result);
    if (op.memory_refs >> i & 1)
        return *ptr<uint64_t>(op.arg[i]);
    return op.arg[i];
}

int64_t copy(uint64_t to, uint64_t from, uint64_t bytes) {
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return 0;
}

// Kernels before PR_TIMER_CREATE_RESTORE_IDS (6.16) hand out ids in ascending order per process.
int64_t timer_create(uint64_t clock, uint64_t event, uint64_t wanted) {
    for (;;) {
        auto id = static_cast<int32_t>(wanted); // read by kernels that let us choose
        if (int64_t r = raw_syscall(__NR_timer_create, clock, event, addr(&id)); r < 0)
            return r;
        if (static_cast<uint64_t>(id) == wanted)
            return id;
        raw_syscall(__NR_timer_delete, static_cast<uint64_t>(id));
        if (static_cast<uint64_t>(id) > wanted)
            return -kEagain;
    }
}

int64_t barrier(Rendezvous *meet, uint32_t stage) {
    if (__atomic_add_fetch(&meet->arrived, 1, __ATOMIC_ACQ_REL) == __atomic_load_n(&meet->expected, __ATOMIC_ACQUIRE))
        futex_wake_all(&meet->arrived);
    for (;;) {
        uint32_t open = __atomic_load_n(&meet->stage, __ATOMIC_ACQUIRE);
        if (open >= stage)
            return 0;
        if (__atomic_load_n(&meet->abort, __ATOMIC_ACQUIRE))
            raw_syscall(__NR_exit_group, 1);
        futex_wait(&meet->stage, open);
    }
}

int64_t submit_empty(const SubmitEmptyArgs *args, uint64_t fd) {
    auto *sq_tail = ptr<uint32_t>(args->sq_tail), *cq_head = ptr<uint32_t>(args->cq_head);
    for (uint32_t left = args->count; left;) {
        const uint32_t some = left < args->batch ? left : args->batch;
        __atomic_store_n(sq_tail, *sq_tail + some, __ATOMIC_RELEASE);
        const uint64_t wait_for = args->enter_flags ? some : 0;
        const int64_t taken = raw_syscall(__NR_io_uring_enter, fd, some, wait_for, args->enter_flags, 0, 0);
        if (taken != some)
            return taken < 0 ? taken : -kEagain;
        __atomic_store_n(cq_head, __atomic_load_n(ptr<uint32_t>(args->cq_tail), __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
        left -= some;
    }
    return 0;
}

constexpr uint64_t kSameFs = 0x200, kSameFiles = 0x400, kSameMemory = 0x100, kWaitForChild = 0x4000; // clone(2)

/// What a twin does: nothing, until the other end of its descriptor is closed. No signal but SIGKILL reaches it: all
/// are blocked while the agent is there. Its descriptors are copies (in a table that it shared, the process would close
/// the one that is kept too early), and gone before it says its byte: until then the process stands.
[[noreturn]] void be_twin(uint64_t fd) {
    constexpr uint64_t kAll = ~0u, kNosignal = 0x4000;
    char byte = 't';
    if (raw_syscall(__NR_close_range, fd + 1, kAll, 0) == 0 &&
        (fd == 0 || raw_syscall(__NR_close_range, 0, fd - 1, 0) == 0) &&
        raw_syscall(__NR_sendto, fd, addr(&byte), 1, kNosignal, 0, 0) == 1)
        while (raw_syscall(__NR_read, fd, addr(&byte), 1) > 0) {
        }
    for (;;)
        raw_syscall(__NR_exit_group, 0);
}

// A copy of this process's memory, as it is now: a process that only waits. A helper that shares our memory forks it
// and ends at once, so that the twin is nobody's child here: no wait and no signal of this process ever tells of it.
// The helper has no signal for its end either, and is waited for before any thread of the process runs.
int64_t make_twin(uint64_t fd) {
    constexpr uint64_t kWaitAll = 0x40000000;
    volatile int64_t made = -kEagain;
    const int64_t helper = raw_syscall(__NR_clone, kSameMemory | kWaitForChild | kSameFiles | kSameFs, 0, 0, 0, 0, 0);
    if (helper == 0) {
        const int64_t twin = raw_syscall(__NR_clone, kSameFs, 0, 0, 0, 0, 0);
        if (twin == 0)
            be_twin(fd);
        made = twin;
        for (;;)
            raw_syscall(__NR_exit, 0);
    }
    if (helper < 0)
        return helper;
    raw_syscall(__NR_wait4, static_cast<uint64_t>(helper), 0, kWaitAll, 0);
    return made;
}

[[noreturn]] void park() {
    uint32_t never = 0;
    for (;;)
        futex_wait(&never, 0);
}

[[noreturn]] void finish(OpList *list, Rendezvous *meet, uint32_t list_id);

extern "C" int64_t agent_clone3(uint64_t args, uint64_t size, ThreadStart *start);

int64_t execute(const Op *list, const Op &op) {
    uint64_t a[6];
    for (unsigned i = 0; i < 6; i++)
        a[i] = argument(list, op, i);
    switch (op.kind) {
    case OpKind::Syscall:
        return raw_syscall(op.nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    case OpKind::Call32:
        return raw_syscall32(op.nr, a[0], a[1], a[2], a[3], a[4]);
    case OpKind::SpawnThread: {
        auto *start = ptr<ThreadStart>(a[0]);
        return agent_clone3(start->clone_args, start->clone_args_size, start);
    }
    case OpKind::Barrier:
        return barrier(ptr<Rendezvous>(a[0]), static_cast<uint32_t>(a[1]));
    case OpKind::Copy:
        return copy(a[0], a[1], a[2]);
    case OpKind::TimerCreate:
        return timer_create(a[0], a[1], a[2]);
    case OpKind::SubmitEmpty:
        return submit_empty(ptr<SubmitEmptyArgs>(a[0]), a[1]);
    case OpKind::Twin:
        return make_twin(a[0]);
    case OpKind::Park:
        park();
    case OpKind::Continue: {
        auto *start = ptr<ThreadStart>(a[0]);
        finish(&start->list, ptr<Rendezvous>(start->rendezvous), start->list_id);
    }
    }
    return -kEbade;
}

// Runs a list to its end or to the first failure that is not allowed.
void run(OpList *list) {
    Op *ops = ptr<Op>(list->ops);
    for (uint32_t i = 0; i < list->count; i++) {
        Op &op = ops[i];
        op.result = execute(ops, op);
        bool wrong = op.flags & kOpExpect ? op.result != op.expect : op.result < 0 && op.result >= -4095;
        if (wrong && !(op.flags & kOpMayFail)) {
            list->failed = i;
            return;
        }
    }
    list->failed = kNoFailure;
}

// ---- dump ----------------------------------------------------------------------------------------------------------

struct Iovec {
    uint64_t base, len;
};
struct Msghdr {
    uint64_t name;
    uint32_t namelen, pad0;
    uint64_t iov, iovlen, control, controllen;
    uint32_t flags, pad1;
};
struct FdMessage { // a control message with one descriptor
    uint64_t len;
    int32_t level, type;
    int32_t fd, pad;
};

int64_t receive(int fd, Request *request, int32_t *passed) {
    FdMessage fds{};
    Iovec iov{addr(request), sizeof *request};
    Msghdr msg{};
    msg.iov = addr(&iov);
    msg.iovlen = 1;
    msg.control = addr(&fds);
    msg.controllen = sizeof fds;
    constexpr uint64_t kMsgCmsgCloexec = 0x40000000;
    int64_t n = raw_syscall(__NR_recvmsg, static_cast<uint64_t>(fd), addr(&msg), kMsgCmsgCloexec);
    *passed = msg.controllen >= sizeof fds - 4 ? fds.fd : -1;
    return n;
}

void reply(int fd, int64_t value) {
    Reply r{value};
    constexpr uint64_t kMsgNosignal = 0x4000;
    raw_syscall(__NR_sendto, static_cast<uint64_t>(fd), addr(&r), sizeof r, kMsgNosignal, 0, 0);
}

} // namespace

namespace {

void wait_for_lists(Control *c) {
    while (uint32_t pending = __atomic_load_n(&c->pending, __ATOMIC_ACQUIRE))
        futex_wait(&c->pending, pending);
}

/// With as many as its hard limit allows. The tool may die meanwhile: the limit is put back by us.
template <class F> int64_t with_more_descriptors(F call) {
    struct {
        uint64_t soft, hard;
    } before{}, most{};
    constexpr uint64_t kOpenFiles = 7; // RLIMIT_NOFILE
    if (raw_syscall(__NR_prlimit64, 0, kOpenFiles, 0, addr(&before)) < 0)
        return -kEmfile;
    most.soft = most.hard = before.hard;
    if (before.soft == before.hard || raw_syscall(__NR_prlimit64, 0, kOpenFiles, addr(&most)) < 0)
        return -kEmfile;
    const int64_t result = call();
    raw_syscall(__NR_prlimit64, 0, kOpenFiles, addr(&before));
    return result;
}

void drop_fd(Control *c) {
    // Forgotten first: a process that another thread forks in between must not find a number that is free again.
    const int64_t fd = c->passed_fd;
    __atomic_store_n(&c->passed_fd, -1, __ATOMIC_RELEASE);
    if (fd >= 0)
        raw_syscall(__NR_close, static_cast<uint64_t>(fd));
}

int64_t serve(Control *c, Command command, int32_t passed) {
    switch (command) {
    case Command::Run:
        c->passed_fd = passed;
        run(&c->list);
        drop_fd(c);
        return 0;
    case Command::WaitThreads:
        wait_for_lists(c);
        return 0;
    }
    return -kEbade;
}

} // namespace

extern "C" uint64_t agent_serve(Control *c) {
    constexpr uint64_t kUnix = 1, kSeqpacket = 5, kCloexec = 02000000;
    // Made here, so that there is no instant at which nobody would close it: the tool watches this call and takes its
    // end.
    auto make_pair = [&] {
        return raw_syscall(__NR_socketpair, kUnix, kSeqpacket | kCloexec, 0, addr(&c->tool_socket));
    };
    int64_t made = make_pair();
    if (made == -kEmfile)
        made = with_more_descriptors(make_pair);
    if (made < 0)
        return c->leave;
    const int fd = c->agent_socket;
    // Ours is not the tool's end: with it closed here, the end of the tool is the end of the socket.
    raw_syscall(__NR_close, static_cast<uint64_t>(c->tool_socket));
    c->tool_socket = -1; // whoever takes us out closes what is still named here
    for (;;) {
        Request request{};
        int32_t passed = -1;
        if (receive(fd, &request, &passed) != static_cast<int64_t>(sizeof request))
            break;
        reply(fd, serve(c, request.command, passed));
    }
    __atomic_store_n(&c->agent_socket, -1, __ATOMIC_RELEASE);
    raw_syscall(__NR_close, static_cast<uint64_t>(fd));
    drop_fd(c);
    __atomic_store_n(&c->release, 1, __ATOMIC_RELEASE);
    futex_wake_all(&c->release);
    return c->leave;
}

extern "C" uint64_t agent_thread(ThreadSlot *slot) {
    auto *c = ptr<Control>(slot->control);
    run(&slot->list);
    // Not by the socket: the thread may have a descriptor table of its own.
    if (__atomic_sub_fetch(&c->pending, 1, __ATOMIC_ACQ_REL) == 0)
        futex_wake_all(&c->pending);
    while (!__atomic_load_n(&c->release, __ATOMIC_ACQUIRE))
        futex_wait(&c->release, 0);
    return c->leave;
}

// ---- restore -------------------------------------------------------------------------------------------------------

namespace {

[[noreturn]] void finish(OpList *list, Rendezvous *meet, uint32_t list_id) {
    run(list);
    if (list->failed != kNoFailure) {
        uint32_t none = 0;
        if (__atomic_compare_exchange_n(&meet->abort, &none, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            meet->failed_tid = static_cast<uint32_t>(raw_syscall(__NR_gettid));
            meet->failed_op = list->failed;
            meet->failed_errno = static_cast<int32_t>(-ptr<Op>(list->ops)[list->failed].result);
            meet->failed_list = list_id;
            __atomic_store_n(&meet->abort, 2, __ATOMIC_RELEASE);
        }
        futex_wake_all(&meet->arrived);
        futex_wake_all(&meet->stage);
        raw_syscall(__NR_exit_group, 1);
    }
    park();
}

} // namespace

extern "C" [[noreturn]] void agent_restore(RestoreStart *start) {
    finish(&start->list, ptr<Rendezvous>(start->rendezvous), start->list_id);
}

extern "C" [[noreturn]] void agent_restore_thread(ThreadStart *start) {
    finish(&start->list, ptr<Rendezvous>(start->rendezvous), start->list_id);
}
