/*
 * Threads that sit in one system call each while the checkpoint happens.
 *
 * Every call is made raw, so that nothing in the C library hides an EINTR that the program would see.
 */
#pragma once

#include "zdtm.h"

#include <pthread.h>

struct blocked_call {
    const char *name;
    long (*call)(void); /* returns what the system call returned, -errno on error */
    long expected;
    void (*wake)(void); /* makes it return; NULL if time does */
    /* filled in by the library */
    long result;
    int64_t nanoseconds;
    pid_t tid;
    pthread_t thread;
};

/* Starts all threads and returns once each is asleep in its call. */
void start_blocked_calls(struct blocked_call *calls, size_t count);
/* Wakes and joins them in order and checks the results. */
void finish_blocked_calls(struct blocked_call *calls, size_t count);

/* System call with the kernel's convention for errors. */
#define raw(...) raw_result(syscall(__VA_ARGS__))
static inline long raw_result(long value) {
    return value == -1 ? -errno : value;
}
