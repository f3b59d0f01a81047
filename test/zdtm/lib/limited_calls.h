/*
 * System calls with a relative time limit of SECONDS, which the program defines before. What they wait for never comes.
 */
#pragma once

#include "blocked_calls.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/select.h>

#define LIMIT                                                                                                          \
    { SECONDS, 0 }

static uint32_t word;
static int reader; /* of a pipe into which nobody writes: set by the program */
static sigset_t nothing;

static long call_nanosleep(void) {
    struct timespec limit = LIMIT;
    return raw(SYS_nanosleep, &limit, NULL);
}
static long call_clock_nanosleep(void) {
    struct timespec limit = LIMIT;
    return raw(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, &limit, NULL);
}
static long call_poll(void) {
    struct pollfd fd = {reader, POLLIN, 0};
    return raw(SYS_poll, &fd, 1, SECONDS * 1000);
}
static long call_poll_nothing(void) {
    return raw(SYS_poll, NULL, 0, SECONDS * 1000);
}
static long call_ppoll(void) {
    struct pollfd fd = {reader, POLLIN, 0};
    struct timespec limit = LIMIT;
    return raw(SYS_ppoll, &fd, 1, &limit, &nothing, 8);
}
static long call_select(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(reader, &set);
    struct timeval limit = LIMIT;
    return raw(SYS_select, reader + 1, &set, NULL, NULL, &limit);
}
static long call_pselect(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(reader, &set);
    struct timespec limit = LIMIT;
    return raw(SYS_pselect6, reader + 1, &set, NULL, NULL, &limit, NULL);
}
static long call_futex(void) {
    struct timespec limit = LIMIT;
    return raw(SYS_futex, &word, FUTEX_WAIT, 0, &limit, NULL, 0);
}

/* Rows of a table of struct blocked_call. */
#define LIMITED_CALLS                                                                                                  \
    {"nanosleep", call_nanosleep, 0, NULL}, \
    {"clock_nanosleep", call_clock_nanosleep, 0, NULL}, \
    {"poll", call_poll, 0, NULL}, \
    {"poll of nothing", call_poll_nothing, 0, NULL}, \
    {"ppoll", call_ppoll, 0, NULL}, \
    {"select", call_select, 0, NULL}, \
    {"pselect", call_pselect, 0, NULL}, \
    {"futex", call_futex, -ETIMEDOUT, NULL}
