/*
 * See blocked_calls.h.
 */
#include "blocked_calls.h"

static void *body(void *argument) {
    struct blocked_call *call = argument;
    __atomic_store_n(&call->tid, gettid_(), __ATOMIC_SEQ_CST);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    call->result = call->call();
    call->nanoseconds = now_ns(CLOCK_MONOTONIC) - start;
    return NULL;
}

void start_blocked_calls(struct blocked_call *calls, size_t count) {
    for (size_t i = 0; i < count; i++)
        must(pthread_create(&calls[i].thread, NULL, body, &calls[i]) ? -1 : 0);
    for (size_t i = 0; i < count; i++) {
        while (!__atomic_load_n(&calls[i].tid, __ATOMIC_SEQ_CST))
            sleep_ms(1);
        wait_until_asleep(calls[i].tid);
    }
}

void finish_blocked_calls(struct blocked_call *calls, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (calls[i].wake)
            calls[i].wake();
        check(pthread_join(calls[i].thread, NULL) == 0, "%s: join", calls[i].name);
        check(calls[i].result == calls[i].expected, "%s returned %ld instead of %ld", calls[i].name, calls[i].result,
              calls[i].expected);
    }
}
