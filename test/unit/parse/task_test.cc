// stat, status, limits, timers: the files that describe a task.
#include "criu/parse/limits.hh"
#include "criu/parse/stat.hh"
#include "criu/parse/status.hh"
#include "criu/parse/timers.hh"

#include <catch2/catch.hpp>
#include <sys/resource.h>

using namespace parse;

TEST_CASE("stat: all fields, name with parentheses, blanks and newline", "[parse]") {
    auto st = parse_stat(
        "4966 (a) R 1 (\n) T 4957 4958 3530 34816 4957 4194304 101 2 3 4 5 6 -7 8 20 -5 3 0 142651 3133440 394 "
        "18446744073709551615 94317647740928 94317647760809 140731697947680 11 12 13 14 15 16 1 0 0 17 1 2 3 4 5 -6 "
        "94317647776816 94317647778432 94317770133504 140731697949322 140731697949342 140731697949343 140731697950699 "
        "256\n");
    REQUIRE(st);
    CHECK(st->pid == 4966);
    CHECK(st->comm == "a) R 1 (\n");
    CHECK(st->state == 'T');
    CHECK(st->ppid == 4957);
    CHECK(st->pgrp == 4958);
    CHECK(st->session == 3530);
    CHECK(st->tty_nr == 34816);
    CHECK(st->tpgid == 4957);
    CHECK(st->flags == 4194304);
    CHECK(st->cutime == -7);
    CHECK(st->nice == -5);
    CHECK(st->num_threads == 3);
    CHECK(st->starttime == 142651);
    CHECK(st->rsslim == UINT64_MAX);
    CHECK(st->start_code == 94317647740928);
    CHECK(st->start_stack == 140731697947680);
    CHECK(st->exit_signal == 17);
    CHECK(st->processor == 1);
    CHECK(st->rt_priority == 2);
    CHECK(st->policy == 3);
    CHECK(st->cguest_time == -6);
    CHECK(st->start_data == 94317647776816);
    CHECK(st->start_brk == 94317770133504);
    CHECK(st->arg_start == 140731697949322);
    CHECK(st->env_end == 140731697950699);
    CHECK(st->exit_code == 256);
}

TEST_CASE("stat: damaged text is refused", "[parse]") {
    for (const char *text : {"", "12", "12 (x", "12 (x)", "12 (x) R 1 2", ") 12 (x R", "99999999999 (x) R 1"})
        CHECK_FALSE(parse_stat(text));
}

constexpr const char *kStatus = "Name:\ta\\nb\\\\c\n"
                                "Umask:\t0027\n"
                                "State:\tt (tracing stop)\n"
                                "Tgid:\t4961\nNgid:\t0\nPid:\t4962\nPPid:\t4957\nTracerPid:\t77\n"
                                "Uid:\t1000\t0\t1000\t4294967295\nGid:\t1\t2\t3\t4\nFDSize:\t256\n"
                                "Groups:\t4 24 1000 \n"
                                "NStgid:\t4961\t12\t1\nNSpid:\t4962\t13\t2\nNSpgid:\t4957\t0\t0\nNSsid:\t3530\t0\t0\n"
                                "Kthread:\t0\n"
                                "VmPeak:\t    3060 kB\nVmSize:\t    3061 kB\nVmLck:\t       8 kB\nVmRSS:\t    1740 kB\n"
                                "HugetlbPages:\t       0 kB\nCoreDumping:\t0\nTHP_enabled:\t1\n"
                                "untag_mask:\t0xffffffffffffffff\n"
                                "Threads:\t9\nSigQ:\t3/96365\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000000002\n"
                                "SigBlk:\t0000000000010000\nSigIgn:\t0000000000001000\nSigCgt:\t00000001800004ec\n"
                                "CapInh:\t0000000000000000\nCapPrm:\t000001fffeffffff\nCapEff:\t000001fffeffffff\n"
                                "CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000004\n"
                                "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n"
                                "Speculation_Store_Bypass:\tvulnerable\n"
                                "Cpus_allowed:\t3\nCpus_allowed_list:\t0-1\n"
                                "x86_Thread_features:\tshstk wrss \n"
                                "nonvoluntary_ctxt_switches:\t0\n";

TEST_CASE("status: ids, signals, capabilities, namespaces", "[parse]") {
    auto st = parse_status(kStatus);
    REQUIRE(st);
    CHECK(st->name == "a\nb\\c");
    CHECK(st->umask == 027u);
    CHECK(st->state == 't');
    CHECK(st->tgid == 4961);
    CHECK(st->pid == 4962);
    CHECK(st->tracer_pid == 77);
    CHECK(st->uid == std::array<uint32_t, 4>{1000, 0, 1000, 4294967295});
    CHECK(st->gid == std::array<uint32_t, 4>{1, 2, 3, 4});
    CHECK(st->groups == std::vector<uint32_t>{4, 24, 1000});
    CHECK(st->ns_pid == std::vector<int32_t>{4962, 13, 2});
    CHECK(st->ns_sid == std::vector<int32_t>{3530, 0, 0});
    CHECK(st->has_mm);
    CHECK(st->vm_locked_kb == 8);
    CHECK(st->thp_enabled == 1u);
    CHECK(st->untag_mask == UINT64_MAX);
    CHECK(st->threads == 9);
    CHECK(st->sigq_used == 3);
    CHECK(st->shd_pending == 2);
    CHECK(st->sig_blocked == 0x10000);
    CHECK(st->sig_caught == 0x1800004ec);
    CHECK(st->cap_bnd == 0x1ffffffffff);
    CHECK(st->cap_amb == 4);
    CHECK(st->no_new_privs);
    CHECK(st->seccomp == 2);
    CHECK(st->seccomp_filters == 3);
    CHECK(st->x86_thread_features == "shstk wrss");
    CHECK(st->cpus_allowed == "3");
}

TEST_CASE("status: zombies have neither umask nor memory", "[parse]") {
    auto st = parse_status("Name:\tx\nState:\tZ (zombie)\nTgid:\t5\nPid:\t5\nPPid:\t1\nGroups:\t \n");
    REQUIRE(st);
    CHECK_FALSE(st->umask);
    CHECK_FALSE(st->has_mm);
    CHECK(st->groups.empty());
    CHECK_FALSE(parse_status("Name:\tx\n"));
    CHECK_FALSE(parse_status("no colon\n"));
    CHECK_FALSE(parse_status("Tgid:\t5\nPid:\tx\n"));
}

TEST_CASE("limits: sixteen, with unlimited", "[parse]") {
    std::string text = "Limit                     Soft Limit           Hard Limit           Units     \n"
                       "Max cpu time              unlimited            unlimited            seconds   \n"
                       "Max file size             unlimited            unlimited            bytes     \n"
                       "Max data size             unlimited            unlimited            bytes     \n"
                       "Max stack size            8388608              unlimited            bytes     \n"
                       "Max core file size        0                    unlimited            bytes     \n"
                       "Max resident set          unlimited            unlimited            bytes     \n"
                       "Max processes             96365                96366                processes \n"
                       "Max open files            20000                1048576              files     \n"
                       "Max locked memory         8388608              8388608              bytes     \n"
                       "Max address space         unlimited            unlimited            bytes     \n"
                       "Max file locks            unlimited            unlimited            locks     \n"
                       "Max pending signals       96365                96365                signals   \n"
                       "Max msgqueue size         819200               819200               bytes     \n"
                       "Max nice priority         0                    0                    \n"
                       "Max realtime priority     1                    2                    \n"
                       "Max realtime timeout      unlimited            unlimited            us        \n";
    auto limits = parse_limits(text);
    REQUIRE(limits);
    CHECK((*limits)[RLIMIT_CPU] == Limit{RLIM_INFINITY, RLIM_INFINITY});
    CHECK((*limits)[RLIMIT_STACK] == Limit{8388608, RLIM_INFINITY});
    CHECK((*limits)[RLIMIT_NPROC] == Limit{96365, 96366});
    CHECK((*limits)[RLIMIT_NOFILE] == Limit{20000, 1048576});
    CHECK((*limits)[RLIMIT_RTPRIO] == Limit{1, 2});
    CHECK_FALSE(parse_limits(text.substr(0, text.size() - 79)));
    CHECK_FALSE(parse_limits(text + "Max surprise 1 2\n"));
}

TEST_CASE("timers: ids, values, thread targets", "[parse]") {
    auto timers = parse_timers("ID: 0\nsignal: 60/00007fff86e452a8\nnotify: signal/pid.2634\nClockID: 0\n"
                               "ID: 7\nsignal: 34/0000000000000000\nnotify: signal/tid.2640\nClockID: -6\n"
                               "ID: 8\nsignal: 0/0x1\nnotify: none/pid.1\nClockID: 9\n");
    REQUIRE(timers);
    REQUIRE(timers->size() == 3);
    CHECK((*timers)[0] == PosixTimer{0, 60, 0x7fff86e452a8, TimerNotify::Signal, false, 2634, 0});
    CHECK((*timers)[1] == PosixTimer{7, 34, 0, TimerNotify::Signal, true, 2640, -6});
    CHECK((*timers)[2].notify == TimerNotify::None);
    CHECK(parse_timers("")->empty());
    CHECK_FALSE(parse_timers("signal: 60/0\n"));
    CHECK_FALSE(parse_timers("ID: 0\nnotify: magic/pid.1\n"));
}
