#!/usr/bin/env python3
"""Restores under the limits that batch systems and shells set.

usage: caller_limits.py CRIU
"""
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

CRIU = os.path.abspath(sys.argv[1])
failures = []
HIGH_DESCRIPTOR = "import os, time\nos.dup2(0, 1022)\nprint('ready', flush=True)\nwhile True:\n    time.sleep(0.01); os.fstat(1022)\n"


def report(name, wrong):
    print(f"{'not ok' if wrong else 'ok'} {name}", flush=True)
    failures.extend(f"{name}: {each}" for each in wrong)


def limited(limits):
    """What a child does before it becomes another program."""
    def set_limits():
        for kind, values in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), values)
    return set_limits


def tool(*arguments, limits=None):
    return subprocess.run([CRIU, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, preexec_fn=limited(limits or {}))


def lives(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def hard(kind):
    return resource.getrlimit(getattr(resource, f"RLIMIT_{kind}"))[1]


def restores(name, work, pid, limits, options=(), refusal=None):
    """Restores the images in `work` under the limits: that works, or is refused in these words with nothing left."""
    done = tool("restore", "-d", "-D", work, *options, limits=limits)
    wrong = []
    time.sleep(0.05)
    if refusal is None and (done.returncode or not lives(pid)):
        wrong.append(f"exit code {done.returncode}, {'lives' if lives(pid) else 'has died'}: {done.stderr}")
    if refusal is not None and (done.returncode == 0 or lives(pid) or not re.search(refusal, done.stderr)):
        wrong.append(f"exit code {done.returncode}, {done.stderr!r} lacks {refusal!r}")
    if lives(pid):
        os.kill(pid, signal.SIGKILL)
        while pathlib.Path(f"/proc/{pid}").exists() and lives(pid):
            time.sleep(0.005)
    report(name, wrong)


def dumped(work, code, limits=None):
    """The pid of a program that was dumped there."""
    target = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              start_new_session=True, cwd="/", preexec_fn=limited(limits or {}))
    target.stdout.readline()
    done = tool("dump", "-t", str(target.pid), "-D", work, "--skip-fd", "1")
    target.wait()
    if done.returncode:
        raise RuntimeError(done.stderr)
    return target.pid


def main():
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    with tempfile.TemporaryDirectory() as work:
        pid = dumped(work, "import time\nprint('ready', flush=True)\nwhile True:\n    time.sleep(0.01)\n")
        for kind, megabytes in (("AS", 256), ("DATA", 64)):
            restores(f"RLIMIT_{kind} of {megabytes} MB", work, pid, {kind: (megabytes << 20, hard(kind))})
        values = {"AS": (256 << 20, 256 << 20)}
        status = pathlib.Path("/proc/self/status").read_text()
        if int(re.search(r"CapEff:\s*(\w+)", status)[1], 16) >> 24 & 1:
            print("skipped hard limits: with CAP_SYS_RESOURCE they can be raised")
        else:
            restores("a hard limit that is too low", work, pid, values,
                     refusal=r"RLIMIT_AS of unlimited, and here it is 268435456\nHint: .*--lower-limits")
            restores("--lower-limits", work, pid, values, ["--lower-limits"])
    with tempfile.TemporaryDirectory() as work:
        pid = dumped(work, HIGH_DESCRIPTOR, {"NOFILE": (1024, 1024)})
        restores("a descriptor near the limit", work, pid, {"NOFILE": (1024, 1024)})
    for failure in failures:
        print(failure)
    return 1 if failures else 0


sys.exit(main())
