#!/usr/bin/env python3
"""A job of an interactive shell is restored by `criu restore -j` in that shell: it gets the terminal as it had it, and
the shell has it again when the job stops or ends.

usage: terminal_test.py CRIU
"""
import os
import pathlib
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time

CRIU = os.path.abspath(sys.argv[1])
LIMIT = 20


class Shell:
    """bash on a terminal, as a user has it."""

    def __init__(self):
        self.seen = ""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {**os.environ, "PS1": "$ ", "TERM": "dumb"})

    def type(self, text):
        """Keys."""
        os.write(self.master, text.encode())

    def expect(self, words, what):
        """Waits for an output behind all that was waited for before."""
        end = time.monotonic() + LIMIT
        while words not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"{what}: no {words!r} in {self.seen!r}")
            self.seen += os.read(self.master, 4096).decode(errors="replace")
        self.seen = self.seen.partition(words)[2]

    def foreground(self):
        """The group that has the terminal."""
        return os.tcgetpgrp(self.master)


def child_named(parent, name):
    """The shell's child of that name, once it is there."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        for pid in pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if pathlib.Path(f"/proc/{pid}/comm").read_text() == name + "\n":
                return int(pid)
        time.sleep(0.02)
    raise AssertionError(f"no {name} below {parent}")


def wait_for_foreground(shell, group):
    """Until a group has the terminal."""
    end = time.monotonic() + LIMIT
    while shell.foreground() != group:
        if time.monotonic() > end:
            raise AssertionError(f"group {shell.foreground()} is in the foreground instead of {group}")
        time.sleep(0.02)


def story(shell, images):
    """From the dump to the end of the job."""
    shell.type("cat\n")
    job = child_named(shell.pid, "cat")
    wait_for_foreground(shell, job)
    subprocess.run([CRIU, "dump", "-j", "-t", str(job), "-D", images], check=True)
    shell.expect("Killed", "the shell about its job")
    shell.type(f"{CRIU} restore -j -D {images}\n")
    wait_for_foreground(shell, job)
    shell.type("hello\n")
    shell.expect("hello\r\nhello\r\n", "what cat says")
    shell.type("\x1a")
    shell.expect("Stopped", "the shell about the stopped job")
    wait_for_foreground(shell, shell.pid)
    shell.type("fg\n")
    wait_for_foreground(shell, job)
    shell.type("again\n")
    shell.expect("again\r\nagain\r\n", "cat after fg")
    shell.type("\x04")
    wait_for_foreground(shell, shell.pid)
    shell.type("echo back-$((40 + 2))\n")
    shell.expect("back-42", "the shell after the job")


def in_background(shell, images):
    """A restore in the background takes no terminal."""
    shell.type("sleep 1000\n")
    job = child_named(shell.pid, "sleep")
    wait_for_foreground(shell, job)
    subprocess.run([CRIU, "dump", "-j", "-t", str(job), "-D", images], check=True)
    shell.expect("Killed", "the shell about its job")
    shell.type(f"{CRIU} restore -j -D {images} &\n")
    end = time.monotonic() + LIMIT
    while not os.path.exists(f"/proc/{job}") and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3)
    assert shell.foreground() == shell.pid, "a restore in the background has taken the terminal"
    shell.type("echo still-$((40 + 3))\n")
    shell.expect("still-43", "the shell")
    os.kill(job, signal.SIGKILL)


def main():
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    failed = 0
    for part in (story, in_background):
        shell = Shell()
        with tempfile.TemporaryDirectory() as images:
            try:
                part(shell, images)
                print(f"ok {part.__name__}")
            except (AssertionError, subprocess.CalledProcessError, OSError) as error:
                print(f"not ok {part.__name__}\n{error}\n{shell.seen!r}")
                failed = 1
            finally:
                os.kill(shell.pid, signal.SIGKILL)
                os.close(shell.master)
                os.waitpid(shell.pid, 0)
    return failed


if __name__ == "__main__":
    sys.exit(main())
