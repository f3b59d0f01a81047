#include "criu/kernel/stack_room.hh"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

namespace kernel {
namespace {

constexpr size_t kRoom = 8u << 20;

struct Detour {
    const std::function<int()> *body = nullptr;
    int result = 0;
};

Detour &detour() {
    static Detour here; // makecontext(3) passes ints only
    return here;
}

void enter() {
    detour().result = (*detour().body)();
}

bool has_room() {
    rlimit limit{};
    return getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= kRoom / 4;
}

} // namespace

int with_stack_room(const std::function<int()> &body) {
    if (has_room())
        return body();
    pthread_attr_t attributes;
    if (pthread_getattr_default_np(&attributes) == 0) {
        pthread_attr_setstacksize(&attributes, kRoom);
        pthread_setattr_default_np(&attributes);
        pthread_attr_destroy(&attributes);
    }
    void *stack =
        mmap(nullptr, kRoom, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    ucontext_t here{}, there{};
    if (stack == MAP_FAILED || getcontext(&there) != 0)
        return body();
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = kRoom;
    there.uc_link = &here;
    detour().body = &body;
    makecontext(&there, enter, 0);
    swapcontext(&here, &there);
    return detour().result;
}

} // namespace kernel
