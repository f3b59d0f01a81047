"""A place for each test: namespaces of its own, so that pids, ports and names cannot collide with another test's.

The worker that the runner forks unshares and forks once more; the second process is pid 1 of the place, becomes the
parent of whatever loses its own, and takes everything with it when it ends. In host mode the worker itself is the
supervisor, as a subreaper, and has to end strays by their ids.
"""

import json
import os
import signal
import sys
import time
import traceback

from . import kernel


def enter_namespaces():
    """Called in pid 1 of a fresh pid namespace: private mounts, a /proc that fits, a loopback interface."""
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    # Terminals by number must not meet those of the tests beside this one.
    kernel.mount("devpts", "/dev/pts", "devpts", kernel.MS_NOSUID | kernel.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5")
    kernel.loopback_up()


def descendants(root):
    """Pids of the whole tree below `root`, parents first, zombies included."""
    found, queue = [], [root]
    while queue:
        pid = queue.pop(0)
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for tid in threads:
            try:
                with open(f"/proc/{pid}/task/{tid}/children", encoding="ascii") as file:
                    children = [int(word) for word in file.read().split()]
            except OSError:
                continue
            found += children
            queue += children
    return found


def living_descendants():
    """Tasks below the calling process that have not ended, as (pid, name)."""
    found = []
    for pid in descendants(os.getpid()):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        name, state = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2]
        if state != "Z":
            found.append((pid, name))
    return found


def end_strays():
    """Ends and reaps everything below the calling process; returns what had to be ended."""
    strays = []
    for pid, name in living_descendants():
        strays.append(f"{pid} ({name})")
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    while True:
        try:
            if os.waitpid(-1, 0 if strays else os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    return strays


def _end_with_strays(*_):
    end_strays()
    os._exit(1)


def _supervise(function, channel):
    # A session that can be seen from inside, for programs that do not make one of their own.
    os.setsid()
    try:
        result = function()
    except BaseException:  # the report of a broken runner must reach the terminal
        result = {"status": "fail", "reason": "runner: " + traceback.format_exc()}
    # Helpers of a program that has just ended may need a moment to follow it.
    deadline = time.monotonic() + 1
    while result["status"] == "pass" and time.monotonic() < deadline and living_descendants():
        time.sleep(0.01)
    strays = end_strays()
    if strays and result["status"] == "pass":
        result = result | {"status": "fail", "reason": "left processes behind: " + ", ".join(strays)}
    with os.fdopen(channel, "w") as file:
        json.dump(result, file)
    sys.stdout.flush()
    os._exit(0)


def start(function, host):
    """Runs `function` in a place of its own. Returns (pid of the worker, descriptor that its JSON result comes from)."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    worker = os.fork()
    if worker:
        os.close(writer)
        return worker, reader
    os.close(reader)
    try:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if host:
            # No namespace ends with us: whatever ends the runner, our strays have to be ended by us.
            signal.signal(signal.SIGTERM, _end_with_strays)
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGTERM)
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
            _supervise(function, writer)
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET)
        first = os.fork()
        if first == 0:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            enter_namespaces()
            _supervise(function, writer)
        os.close(writer)
        os.waitpid(first, 0)
    except BaseException:
        traceback.print_exc()
    os._exit(0)
