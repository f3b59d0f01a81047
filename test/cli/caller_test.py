#!/usr/bin/env python3
"""What the tool does for its caller: limits, signals, targets that are none, obstacles, links beside a living tree.

usage: caller_test.py CRIU
"""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from tool import CRIU, criu, expect, failures


def sleeper():
    """A program that can be checkpointed."""
    null = subprocess.DEVNULL
    return subprocess.Popen(["sleep", "60"], stdin=null, stdout=null, stderr=null, start_new_session=True, cwd="/")


def alive(pid):
    """Runs, or sleeps; untraced."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "TracerPid:\t0\n" in status and "State:\tZ" not in status


def limited(options, *args):
    """The tool under a limit of the shell."""
    return subprocess.run(["bash", "-c", f'ulimit {options}; exec "$@"', "bash", CRIU, *args], cwd="/", stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)


def limits(work):
    """Limits of the caller end no run without a word."""
    target = sleeper()
    try:
        expect("files may not be large", limited("-f 1", "dump", "-t", str(target.pid), "-D", work), 1, err=r"File too large")
        expect("its target goes on", criu("--version"), 0 if alive(target.pid) else -1)
        expect("no images are left", criu("--version"), 0 if not list(pathlib.Path(work).glob("*.img")) else -1)
        for size in (112, 64, 40):
            expect(f"a dump with a stack of {size} KiB", limited(f"-s {size}", "dump", "-t", str(target.pid), "-R", "-D", work), 0)
        target.kill()
        target.wait()
        expect("a restore with a stack of 64 KiB", limited("-S -s 64", "restore", "-d", "-D", work), 0)
        expect("the program runs", criu("--version"), 0 if alive(target.pid) else -1)
        os.kill(target.pid, signal.SIGKILL)
    finally:
        target.kill()


def targets(work):
    """What is no tree, or none that can be stopped."""
    ready, done = threading.Event(), threading.Event()
    ids = []
    def body():
        ids.append(threading.get_native_id())
        ready.set()
        done.wait()
    thread = threading.Thread(target=body)
    thread.start()
    ready.wait()
    for command in (("dump", "-j", "-D", work), ("check",)):
        expect(f"{command[0]}: a thread", criu(*command, "-t", str(ids[0])), 1,
               err=rf"{ids[0]} is a thread of process {os.getpid()} \(.*\)\nHint:.*-t {os.getpid()}")
        expect(f"{command[0]}: init", criu(*command, "-t", "1"), 1, err=r"init process")
        expect(f"{command[0]}: our own tree", criu(*command, "-t", str(os.getpid())), 1 if os.getpid() != 1 else 1,
               err=r"criu itself is in the tree|init process")
        if pathlib.Path("/proc/2/comm").exists() and pathlib.Path("/proc/2/comm").read_text() == "kthreadd\n":
            expect(f"{command[0]}: a kernel thread", criu(*command, "-t", "2"), 1, err=r"kernel thread")
    done.set()
    thread.join()


OBSTACLES = """
import os, socket, sys, threading
outside = int(sys.argv[1])
line = socket.socket(fileno=int(sys.argv[2]))
foreign = os.pidfd_open(outside)
file = open(f"/proc/{outside}/status")
import ctypes
unread = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
unread.send(b"\\x14\\0\\0\\0\\x12\\0\\1\\3" + bytes(12))
def apart():
    ctypes.CDLL(None).unshare(0x400)
    print("ready", flush=True)
    threading.Event().wait()
threading.Thread(target=apart).start()
"""


def obstacles(work):
    """What a dump refuses, check --tree tells in the same words, all objects at once."""
    ours, theirs = socket.socketpair()
    target = subprocess.Popen([sys.executable, "-c", OBSTACLES, str(os.getpid()), str(theirs.fileno())], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True, cwd="/",
                              pass_fds=[theirs.fileno()])
    try:
        target.stdout.readline()
        found = criu("check", "-t", str(target.pid))
        for what, words in (("a connection to the outside", r"fd \d+: .*unix socket|fd \d+: .*socket \d+"), ("a foreign pidfd", r"refers to task \d+, which is outside"),
                            ("a foreign file of /proc", r"file of task \d+, which is outside"), ("unread answers", r"messages wait in it")):
            expect(f"check --tree: {what}", found, 1, out=words)
        expect("check --tree: each once, though a thread has copies", found, 1, out=r"\A(?!(?s:.*messages wait.*messages wait))")
        refused = criu("dump", "-t", str(target.pid), "-D", work)
        expect("the dump refuses too", refused, 1, err=r"refers to task \d+, which is outside")
    finally:
        target.kill()
        target.wait()
        ours.close()
        theirs.close()


def script(work, hook, command):
    """An action script that does something at one hook."""
    path = pathlib.Path(work) / f"at-{hook}"
    path.write_text(f'#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" = {hook} ] || exit 0\n{command}\n')
    path.chmod(0o755)
    return str(path)


def signals_late(work):
    """A signal is obeyed with everything undone, or answered with success."""
    target = sleeper()
    dump = ("dump", "-t", str(target.pid), "-D", work)
    late = criu(*dump, "--action-script", script(work, "post-dump", "kill -TERM $PPID"))
    expect("SIGTERM when the images are complete", late, 0)
    target.wait()
    early = criu("restore", "-d", "-D", work, "--action-script", script(work, "post-restore", "kill -TERM $PPID"))
    expect("SIGTERM before the tree runs", early, early.returncode if early.returncode not in (0, -signal.SIGKILL) else -1)
    expect("it is undone", criu("--version"), 0 if not alive(target.pid) else -1)
    expect("SIGTERM when the tree runs", criu("restore", "-d", "-D", work, "--action-script",
                                              script(work, "post-resume", "kill -TERM $PPID")), 0)
    expect("it runs", criu("--version"), 0 if alive(target.pid) else -1)
    os.kill(target.pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while os.path.exists(f"/proc/{target.pid}") and time.monotonic() < end:
        time.sleep(0.01)
    waiting = subprocess.Popen([CRIU, "restore", "-D", work], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    while not alive(target.pid) and waiting.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    waiting.send_signal(signal.SIGINT)
    out, err = waiting.communicate(timeout=20)
    expect("^C in the foreground", subprocess.CompletedProcess([], waiting.returncode, out, err), -signal.SIGINT,
           err=rf"runs on as process {target.pid}. To end it: kill {target.pid}")
    expect("the tree runs on", criu("--version"), 0 if alive(target.pid) else -1)
    os.kill(target.pid, signal.SIGKILL)


LINKED = """
import os, signal, sys
os.chdir(sys.argv[1])
open("first", "w").write("contents")
linked = open("first")
os.link("first", "second")
os.unlink("first")
null = os.open("/dev/null", os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(null, number)
open("ready", "w").close()
while True:
    signal.pause()
"""


def links_stay(work):
    """The links of a dump that lets the tree live are in the images, for any number of restores."""
    images = pathlib.Path(work) / "images"
    images.mkdir()
    target = subprocess.Popen([sys.executable, "-c", LINKED, work], start_new_session=True, stdin=subprocess.DEVNULL)
    while not (pathlib.Path(work) / "ready").exists():
        time.sleep(0.01)
    expect("dump -R --link-remap", criu("dump", "-t", str(target.pid), "-R", "--link-remap", "-D", str(images)), 0)
    target.kill()
    target.wait()
    for number in (1, 2):
        expect(f"restore {number} of it", criu("restore", "-d", "--link-remap", "-D", str(images)), 0)
        expect(f"program {number} runs", criu("--version"), 0 if alive(target.pid) else -1)
        os.kill(target.pid, signal.SIGKILL)
        while os.path.exists(f"/proc/{target.pid}"):
            time.sleep(0.01)


def main():
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    for part in (limits, targets, obstacles, signals_late, links_stay):
        with tempfile.TemporaryDirectory() as work:
            part(work)
    for failure in failures:
        print(failure)
    return 1 if failures else 0


sys.exit(main())
