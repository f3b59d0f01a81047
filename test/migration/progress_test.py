#!/usr/bin/env python3
"""Progress: a line on a terminal, and nowhere else.

usage: progress_test.py CRIU
"""
import os
import pty
import re
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from scene import CRIU, LIMIT, Target, case, finish, folder, until  # noqa: E402

FRAME = "\r\x1b[K"
LINE = re.compile(r"(dump|pre-dump|restore): (?:round (\d+): )?(\d+)(?: of (\d+))? MiB(?:, \d+ MB/s)?(?:, \d+ MiB written by the tree meanwhile)?(?:; the tree (runs|stands))?")


class Terminal:
    """What a command says on a terminal."""

    def __init__(self):
        self.master, self.slave = pty.openpty()
        self.said = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            try:
                part = os.read(self.master, 4096)
            except OSError:
                return
            if not part:
                return
            self.said += part

    def text(self):
        """All of it, once the command has ended."""
        os.close(self.slave)
        self.reader.join(LIMIT)
        os.close(self.master)
        return self.said.decode()


def frames(text):
    """The lines that were shown, one after the other; the last one is cleared."""
    assert text.startswith(FRAME) and text.endswith(FRAME + "\r"), repr(text)
    shown = [frame.rstrip("\r") for frame in text.split(FRAME)[1:]]
    assert shown.pop() == "", repr(text)
    lines = [LINE.fullmatch(frame) for frame in shown]
    assert lines and all(lines), shown
    return lines


def run(*arguments, slow_output=False, stderr=None):
    """Its standard output, read slowly if wanted: so the command takes long enough to be watched."""
    process = subprocess.Popen([CRIU, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
    while process.stdout.read(4 << 20):
        if slow_output:
            time.sleep(0.1)
    assert process.wait(LIMIT) == 0, f"{arguments}: exit code {process.returncode}"


def shown(*arguments, slow_output=False):
    terminal = Terminal()
    run(*arguments, slow_output=slow_output, stderr=terminal.slave)
    return terminal.text()


def of_dumps():
    for action, options, tree in (("dump", ["-R", "--snapshot", "off"], "stands"), ("pre-dump", [], "runs"), ("dump", ["-R", "--snapshot", "fork"], "runs")):
        with case(f"a terminal sees how far {' '.join([action, *options])} has come") as work, Target(work, 64) as target:
            arguments = [action, "-D", "-", "-W", folder(work / "images"), "-t", target.pid, "-o", "log", *options]
            lines = frames(shown(*arguments, slow_output=True))
            assert {line[1] for line in lines} == {action} and {line[2] for line in lines} == {"1" if action == "pre-dump" else None}
            assert tree in {line[5] for line in lines}, [line[0] for line in lines]
            done = [int(line[3]) for line in lines]
            assert done == sorted(done) and done[0] < done[-1] <= 70, done
            assert {int(line[4]) for line in lines if line[4]} <= {60, 61, 62}, [line[0] for line in lines]
            target.verify()
            for more in (["--no-progress"], ["-v0"]):
                assert shown(*arguments, *more, slow_output=True) == "", f"something is shown with {more}"
            if action == "pre-dump":
                subprocess.run([CRIU, "untrack", "-t", str(target.pid)], check=True)
    with case("who is no terminal sees nothing, unless it asks") as work, Target(work, 64) as target:
        arguments = [CRIU, "dump", "-D", "-", "-W", folder(work / "images"), "-t", str(target.pid), "-o", "log", "-R", "--snapshot", "off"]
        for more, expected in ([], False), (["--progress"], True):
            with open(work / "said", "wb") as said:
                run(*arguments[1:], *more, slow_output=True, stderr=said)
            text = (work / "said").read_bytes().decode()
            assert frames(text) if expected else text == "", repr(text)


def of_restore():
    with case("a terminal sees how far a restore has come") as work, Target(work, 64) as target:
        images = folder(work / "images")
        run("dump", "-D", images, "-t", target.pid, "-o", "dump.log")
        target.process.wait(LIMIT)
        script = work / "slow"
        script.write_text('#!/bin/sh\nif [ "$CRTOOLS_SCRIPT_ACTION" = post-restore ]; then sleep 1; fi\n')
        script.chmod(0o755)
        lines = frames(shown("restore", "-D", images, "-d", "-o", "restore.log", "--action-script", script))
        assert int(lines[-1][3]) >= 60 and lines[-1][1] == "restore", [line[0] for line in lines]
        until(lambda: target.alive(), "the target runs")
        target.verify()


def main():
    of_dumps()
    of_restore()
    finish()


main()
