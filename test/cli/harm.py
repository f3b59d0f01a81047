#!/usr/bin/env python3
"""What must never harm a program: dumps that are killed, and dumps of programs with hardly any limits left.

usage: harm.py CRIU [--targets N]
"""
import argparse
import ctypes
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).with_name("harm_target.c")
failures = []


def report(name, wrong):
    print(f"{'not ok' if wrong else 'ok'} {name}", flush=True)
    failures.extend(f"{name}: {each}" for each in wrong)


class Target:
    """A program that checks itself."""

    def __init__(self, work, *arguments, **settings):
        self.output = work / "target.out"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen([work / "target", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output, start_new_session=True, cwd="/", **settings)
        self.pid = self.process.pid
        until(lambda: self.output.read_text() == "ready\n", "the target starts")
        self.descriptors = self._descriptors()

    def _descriptors(self):
        folder = pathlib.Path(f"/proc/{self.pid}/fd")
        return sorted((each.name, os.readlink(each)) for each in folder.iterdir())

    def complaints(self):
        """What is wrong with it now, in words."""
        status = self.process.poll()
        if status is not None:
            return [f"the target has ended with {status}: {self.output.read_text()}"]
        found = [] if self.output.read_text() == "ready\n" else [self.output.read_text()]
        if self._descriptors() != self.descriptors:
            found.append(f"descriptors {self._descriptors()}, not {self.descriptors}")
        maps = pathlib.Path(f"/proc/{self.pid}/maps").read_text()
        found += [f"an agent is left: {line}" for line in maps.splitlines() if "rwxp" in line]
        return found

    def end(self):
        self.process.kill()
        self.process.wait()


def until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.002)


class Tool:
    def __init__(self, path, work):
        self.path = path
        self.work = work
        self.number = 0

    def folder(self):
        self.number += 1
        images = self.work / f"images-{self.number}"
        images.mkdir()
        return images

    def start(self, pid, images, *options):
        command = [self.path, "dump", "-t", str(pid), "-D", images, *options]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def dump(self, pid, *options):
        """Exit code, standard error, and the images."""
        images = self.folder()
        process = self.start(pid, images, *options)
        error = process.communicate(timeout=60)[1]
        return process.returncode, error.strip(), images


def second_dump(tool, work, targets, pause, kills, shape):
    """Dumps that are killed at any moment, and another one soon after: the target never notices, and the last succeeds."""
    wrong = []
    chance = random.Random(f"{pause} {kills} {shape}")
    for number in range(targets):
        target = Target(work, *shape)
        try:
            began = time.monotonic()
            code, error, images = tool.dump(target.pid, "-R")
            whole = time.monotonic() - began
            shutil.rmtree(images)
            for _ in range(kills):
                images = tool.folder()
                process = tool.start(target.pid, images, "-R")
                time.sleep(chance.uniform(0, whole))
                process.kill()
                process.communicate()
                time.sleep(pause)
            code, error, last = tool.dump(target.pid, "-R")
            if code:
                wrong.append(f"target {number}: {error}")
            elif b".img" in (last / "files.img").read_bytes():
                wrong.append(f"target {number}: an image is taken for its file")
            shutil.rmtree(last)
            time.sleep(0.05)
            wrong += [f"target {number}: {each}" for each in target.complaints()]
        finally:
            target.end()
    report(f"{kills} killed, {pause} s between, {shape[0]} threads, {shape[1]} MB: {targets} targets", wrong)


def handler_on_the_way_out(tool, work):
    """A handler that starts while a thread is on its way out of a killed dump's agent returns well, here and restored."""
    wrong = []
    for number in range(8):
        target = Target(work, 1, 64, 300)
        try:
            process = tool.start(target.pid, tool.folder(), "-R")
            time.sleep(0.006 + 0.002 * number)
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.01)
            os.kill(target.pid, signal.SIGUSR1)
            process.kill()
            process.communicate()
            time.sleep(0.03)
            code, error, images = tool.dump(target.pid, *(["-R"] if number % 2 else []))
            if code:
                wrong.append(f"dump {number}: {error}")
                continue
            if number % 2 == 0:
                target.process.wait()
                subprocess.run([tool.path, "restore", "-d", "-D", images], check=True, stdin=subprocess.DEVNULL)
            time.sleep(0.5)
            state = pathlib.Path(f"/proc/{target.pid}/stat")
            if not state.exists() or state.read_text().split()[2] == "Z" or target.output.read_text() != "ready\n":
                wrong.append(f"target {number} has died behind its handler: {target.output.read_text()}")
            elif number % 2 == 0:
                os.kill(target.pid, signal.SIGKILL)
        finally:
            target.end()
    report("a handler on the way out of a killed dump", wrong)


TALKERS = """
import os, socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
child = os.fork()
if child == 0:
    line = socket.create_connection(server.getsockname())
    while True:
        line.sendall(line.recv(1))
accepted = server.accept()[0]
print("ready", flush=True)
rounds = 0
while True:
    accepted.sendall(b"x")
    accepted.recv(1)
    rounds += 1
    os.pwrite(1, b"%020d" % rounds, 6)
    time.sleep(0.002)
"""


def helpers_of(pid):
    """Processes that a tool has made, as its children or once its children."""
    found = []
    for line in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found.append(int(line))
    return found


def leave_repair(pids):
    """Ends the repair mode of all TCP sockets of the processes. Returns whether there was any in it."""
    tcp_repair, pidfd_getfd, found = 19, 438, False
    call = ctypes.CDLL(None, use_errno=True).syscall
    for pid in pids:
        holder = os.pidfd_open(pid)
        for number in os.listdir(f"/proc/{pid}/fd"):
            copy = call(pidfd_getfd, holder, int(number), 0)
            if copy < 0:
                continue
            try:
                with socket.socket(fileno=copy) as each:
                    if each.getsockopt(socket.IPPROTO_TCP, tcp_repair):
                        each.setsockopt(socket.IPPROTO_TCP, tcp_repair, 0)
                        found = True
            except OSError:
                if os.path.exists(f"/proc/self/fd/{copy}"):
                    os.close(copy)
        os.close(holder)
    return found


def lock_of_killed(tool, work, rounds):
    """Tool and watchdog killed at once, as with a unit that is stopped: the connections of the target go on."""
    wrong = []
    output = work / "talkers.out"
    with open(output, "wb") as file:
        target = subprocess.Popen([sys.executable, "-c", TALKERS], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                  start_new_session=True, cwd="/")
    chance = random.Random("lock")
    try:
        until(lambda: output.stat().st_size > 20, "the talkers start")
        began = time.monotonic()
        code, error, images = tool.dump(target.pid, "-R", "--tcp-established")
        whole = time.monotonic() - began
        if code:
            wrong.append(error)
        for number in range(rounds):
            process = tool.start(target.pid, tool.folder(), "-R", "--tcp-established")
            time.sleep(chance.uniform(0, whole))
            try:
                group = [process.pid, *helpers_of(process.pid)]
            except OSError:
                group = [process.pid]
            for pid in group[::-1]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            process.communicate()
            before = output.read_bytes()
            try:
                until(lambda: output.read_bytes() != before, "", 3)
            except TimeoutError:
                # For microseconds a socket is in repair mode, which nothing ends with us: the watchdog does, if it lives.
                if not leave_repair([target.pid, *helpers_of(target.pid)]):
                    wrong.append(f"round {number}: the connection is mute")
                    break
                print("a socket was caught in repair mode", flush=True)
    finally:
        os.killpg(target.pid, signal.SIGKILL)
        target.wait()
    report(f"tool and watchdog killed at once: {rounds} times", wrong)


def usage_of(pid, key):
    """A field of /proc/PID/status, in bytes."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(key)).split()[1]) << 10


# What there is of each when nothing more may be had, and what a refusal says where even the hard limit is that.
LEAST = {
    "FSIZE": (lambda pid: 0, None),
    "NOFILE": (lambda pid: 3, r"has no free descriptor|RLIMIT_NOFILE"),
    "AS": (lambda pid: usage_of(pid, "VmSize"), r"ulimit -v|RLIMIT_AS"),
    "DATA": (lambda pid: usage_of(pid, "VmData"), r"ulimit -d|RLIMIT_DATA"),
    "STACK": (lambda pid: 0, None),
    "MEMLOCK": (lambda pid: 0, None),
    "SIGPENDING": (lambda pid: 0, None),
    "NPROC": (lambda pid: 0, None),
    "MSGQUEUE": (lambda pid: 0, None),
    "CORE": (lambda pid: 0, None),
}


def limits(tool, work):
    """Resource limits at their least: soft ones do not matter, hard ones neither, or the dump refuses by name."""
    for name, (least, refusal) in LEAST.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        for hard in (False, True):
            wrong = []
            target = Target(work, 2, 8, 0)
            try:
                value = least(target.pid)
                before = resource.prlimit(target.pid, kind)
                limit = (value, value if hard else before[1])
                resource.prlimit(target.pid, kind, limit)
                code, error, images = tool.dump(target.pid, "-R")
                if code and not (hard and refusal and re.search(refusal, error)):
                    wrong.append(f"dump: {error}")
                time.sleep(0.05)
                if resource.prlimit(target.pid, kind) != limit:
                    wrong.append(f"the limit is {resource.prlimit(target.pid, kind)} now, was {limit}")
                wrong += target.complaints()
            finally:
                target.end()
            report(f"RLIMIT_{name} at its least ({'hard' if hard else 'soft'})", wrong)


def memory_group():
    """A fresh memory cgroup, and the names of its files for limit and usage; nothing where none can be had."""
    for folder, limit, usage in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
                                 ("/sys/fs/cgroup", "memory.max", "memory.current")):
        try:
            group = pathlib.Path(tempfile.mkdtemp(prefix="criu-harm-", dir=folder))
        except OSError:
            continue
        if (group / limit).exists():
            return group, group / limit, group / usage
        group.rmdir()
    return None


def full_memory_group(tool, work):
    """A memory cgroup in which nothing is left: the target is not ended for the agent's pages."""
    name = "a memory cgroup at its limit"
    found = memory_group()
    if not found:
        print(f"skipped {name}: no memory controller")
        return
    group, limit, usage = found
    wrong = []
    target = None
    try:
        join = lambda: (group / "cgroup.procs").write_text(str(os.getpid()))  # noqa: E731
        target = Target(work, 4, 32, 0, preexec_fn=join)
        time.sleep(0.2)  # it has touched all that it will touch
        value = int(usage.read_text()) // 4096 * 4096
        while value > 4096:
            try:
                limit.write_text(str(value := value - 16384))
            except OSError:
                break
            if int(usage.read_text()) > value:
                break
        code, error, images = tool.dump(target.pid, "-R")
        if code and "memory cgroup" not in error:
            wrong.append(error)
        time.sleep(0.05)
        wrong += target.complaints()
    finally:
        if target:
            target.end()
        until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
        group.rmdir()
    report(name, wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("criu", type=pathlib.Path)
    parser.add_argument("--targets", type=int, default=5)
    parser.add_argument("--only", default="", help="the test of that name")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        subprocess.run(["gcc", "-O1", "-pthread", "-o", work / "target", SOURCE], check=True)
        tool = Tool(options.criu.resolve(), work)
        if options.only:
            globals()[options.only](tool, work, *([options.targets] if options.only == "lock_of_killed" else []))
            print(*failures, sep="\n")
            return 1 if failures else 0
        for pause in (0, 0.05, 0.2):
            second_dump(tool, work, options.targets, pause, 1, (1, 200, 0))
        second_dump(tool, work, options.targets, 0, 3, (4, 32, 0))
        second_dump(tool, work, min(options.targets, 2), 0, 2, (1000, 16, 0))
        handler_on_the_way_out(tool, work)
        limits(tool, work)
        full_memory_group(tool, work)
        lock_of_killed(tool, work, 6 * options.targets)
    for failure in failures:
        print(failure)
    return 1 if failures else 0


sys.exit(main())
