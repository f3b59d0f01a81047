/* 32-bit calls with a time limit, of both widths of times: each goes on with the time that it has left, and by the number that such programs know. */
#include "zdtm.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>

#define SECONDS 5
#define BEFORE_MS 1500 /* in which they are asleep already: a call that begins anew takes longer by that */

struct narrow {
    int seconds, ns;
};
struct wide {
    long long seconds, ns;
};
static struct narrow narrow = {SECONDS, 0};
static struct wide wide = {SECONDS, 0};
static int word;
static int reader;

static long call(long number, long a, long b, long c, long d) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(0) : "memory");
    return result;
}

static struct sleeper {
    const char *name;
    int number;
    long result;
    int64_t ns;
    pid_t tid;
} sleepers[] = {
    {.name = "nanosleep", .number = 162},        {.name = "nanosleep that tells what is left", .number = -162},
    {.name = "clock_nanosleep", .number = 267},  {.name = "clock_nanosleep_time64", .number = 407},
    {.name = "poll", .number = 168},             {.name = "futex", .number = 240},
    {.name = "futex_time64", .number = 422},
};

static long sleep_by(int number) {
    struct pollfd polled = {.fd = reader, .events = POLLIN};
    struct narrow left = narrow;
    switch (number) {
    case -162:
        return call(162, (long)&left, (long)&left, 0, 0);
    case 162:
        return call(162, (long)&narrow, 0, 0, 0);
    case 267:
        return call(267, CLOCK_MONOTONIC, 0, (long)&narrow, 0);
    case 407:
        return call(407, CLOCK_MONOTONIC, 0, (long)&wide, 0);
    case 168:
        return call(168, (long)&polled, 1, SECONDS * 1000, 0);
    case 240:
        return call(240, (long)&word, FUTEX_WAIT_PRIVATE, 0, (long)&narrow);
    default:
        return call(422, (long)&word, FUTEX_WAIT_PRIVATE, 0, (long)&wide);
    }
}

static void *body(void *argument) {
    struct sleeper *own = argument;
    own->tid = gettid_();
    const int64_t start = now_ns(CLOCK_MONOTONIC);
    own->result = sleep_by(own->number);
    own->ns = now_ns(CLOCK_MONOTONIC) - start;
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t threads[ARRAY_SIZE(sleepers)];
    int ends[2];
    must(pipe(ends));
    reader = ends[0];
    for (size_t i = 0; i < ARRAY_SIZE(sleepers); i++)
        must(pthread_create(&threads[i], NULL, body, &sleepers[i]) ? -1 : 0);
    sleep_ms(BEFORE_MS);
    const int64_t ready = now_ns(CLOCK_MONOTONIC);
    test_daemon();
    test_waitsig();
    const int64_t down = now_ns(CLOCK_MONOTONIC) - ready;
    for (size_t i = 0; i < ARRAY_SIZE(sleepers); i++) {
        pthread_join(threads[i], NULL);
        const struct sleeper *one = &sleepers[i];
        const bool futex = one->number == 240 || one->number == 422;
        check(one->result == (futex ? -ETIMEDOUT : 0), "%s has returned %ld", one->name, one->result);
        check(one->ns >= SECONDS * 1000000000LL, "%s: only %d ms", one->name, (int)(one->ns / 1000000));
        check(one->ns <= SECONDS * 1000000000LL + down + 700000000, "%s: %d ms, of which %d for the checkpoint",
              one->name, (int)(one->ns / 1000000), (int)(down / 1000000));
    }
    return pass();
}
