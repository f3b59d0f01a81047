#!/usr/bin/env python3
"""criu-ns: a tree whose pids are taken comes back in a pid namespace of its own.

usage: criu_ns_test.py CRIU CRIU_NS

Prints `ok NAME` or `not ok NAME: why` for each. Needs root.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
from engines import Witness, main  # noqa: E402
from steps import Failure, check, run, wait_for  # noqa: E402

CRIU, CRIU_NS = (os.path.abspath(word) for word in sys.argv[1:3])
COUNT = "i=0; while :; do i=$((i + 1)); echo $i $$ > new; mv new count; sleep 0.05; done"


def last(folder):
    return (folder / "count").read_text().split() if (folder / "count").exists() else []


def grows(folder):
    before = last(folder)
    return wait_for(lambda: (now := last(folder)) != before and len(now) == 2 and now, "the program goes on")


def start(folder):
    process = subprocess.Popen(["setsid", "/bin/sh", "-c", COUNT], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    grows(folder)
    return process


def members(process):
    """Children of a process, and theirs."""
    found = []
    for pid in pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split():
        found += [int(pid), *members(pid)]
    return found


def taken(folder):
    """The dump leaves the tree running: its pids are taken. Beside it, the restored one goes on with the same pids."""
    with Witness():
        process = start(folder)
        images = folder / "images"
        images.mkdir()
        status, output = run(CRIU_NS, "--criu-binary", CRIU, "dump", "-t", process.pid, "-D", images, "--leave-running")
        check(status == 0, output)
        status, output = run(CRIU, "restore", "-d", "-D", images)
        check(status == 1 and "in use" in output, f"a restore onto pids that are taken: {output}")
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: "State:\tT" in pathlib.Path(f"/proc/{process.pid}/status").read_text(), "the first one stops")
        inner = subprocess.Popen([CRIU_NS, f"--criu-binary={CRIU}", "restore", "-D", images], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        try:
            try:
                check(grows(folder)[1] == str(process.pid), "it has another pid")
            except Failure as why:
                inner.kill()
                raise Failure(f"{why}: {inner.stdout.read().decode()}") from why
        finally:
            for pid in members(inner.pid):
                with contextlib.suppress(ProcessLookupError):  # its sleep, which has ended
                    os.kill(pid, signal.SIGKILL)
            inner.wait()
            inner.stdout.close()
            process.kill()
            process.wait()


def detached(folder):
    """restore -d comes back when the tree runs, which lives on by itself; a second dump translates its pid."""
    with Witness():
        process = start(folder)
        images, second = folder / "images", folder / "second"
        images.mkdir()
        second.mkdir()
        status, output = run(CRIU_NS, "--criu-binary", CRIU, "dump", "-t", process.pid, "-D", images)
        check(status == 0, output)
        process.wait()
        before = last(folder)
        status, output = run(CRIU_NS, "--criu-binary", CRIU, "restore", "-d", "-D", images)
        check(status == 0, output)
        now = grows(folder)
        check(now[1] == before[1], f"it says {now}, {before} before")
        pid = shell_in(folder)
        status, output = run(CRIU_NS, "--criu-binary", CRIU, "dump", f"--tree={pid}", "-D", second)
        check(status == 0, f"the second dump ended with {status}: {output}")
        wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the tree has ended")


def watched(folder):
    """A restore in the foreground ends with its tree; a dump that ends that tree says how it went before the namespace is gone."""
    with Witness():
        process = start(folder)
        images = folder / "images"
        images.mkdir()
        status, output = run(CRIU_NS, "--criu-binary", CRIU, "dump", "-t", process.pid, "-D", images)
        check(status == 0, output)
        process.wait()
        for turn in range(4):
            inner = subprocess.Popen([CRIU_NS, "--criu-binary", CRIU, "restore", "-D", images], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            grows(folder)
            images = folder / f"turn-{turn}"
            images.mkdir()
            status, output = run(CRIU_NS, "--criu-binary", CRIU, "dump", "-t", shell_in(folder), "-D", images)
            check(status == 0, f"the dump ended with {status}: {output}")
            inner.wait(timeout=10)
        check((images / "inventory.img").exists(), "the last images have no inventory")


def shell_in(folder):
    return next(int(entry) for entry in os.listdir("/proc") if entry.isdigit() and is_ours(entry, folder))


def is_ours(pid, folder):
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(folder) and pathlib.Path(f"/proc/{pid}/comm").read_text() == "sh\n"
    except OSError:
        return False


def statuses(_):
    """What criu says is what criu-ns says."""
    check(run(CRIU_NS, "--criu-binary", CRIU, "restore", "-D", "/nowhere")[0] == 1, "a restore from nowhere")
    check(run(CRIU_NS, "--criu-binary", CRIU, "check")[0] == 0, "check")
    check(run(CRIU_NS, "--criu-binary", "/nowhere", "check")[0] == 127, "no such program")
    status, output = run(CRIU_NS)
    check(status == 2 and output.startswith("usage"), f"without a command: {status}, {output}")


if __name__ == "__main__":
    sys.exit(main("criu-ns", {"pids that are taken": taken, "detached": detached, "in the foreground": watched, "exit status": statuses}, [], "root"))
