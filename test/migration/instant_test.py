#!/usr/bin/env python3
"""restore --instant: the tree runs before its memory is there, and nothing of us stays when it is.

usage: instant_test.py CRIU
"""
import os
import re
import pathlib
import signal
import sys
import time

sys.dont_write_bytecode = True
from scene import Target, case, criu, expect, finish, folder, start, state_of, until  # noqa: E402


def dump(target, images, *more):
    folder(images)
    expect(criu("dump", "-t", target.pid, "-D", images, "-o", "dump.log", "-v4", *more))
    target.reap()
    return images


def helpers(images):
    """Processes of this restore that are still there."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"--instant" in words and str(images).encode() in words and state_of(pid) != "Z":
                found.append(int(pid))
        except OSError:
            pass
    return found


def whole(name, made=(), more=(), children=1):
    with case(f"instant restore {name}") as work, Target(work, megabytes=48, children=children) as target:
        images = dump(target, work / "images", *made)
        began = time.monotonic()
        expect(criu("restore", "-D", images, "-d", "--instant", "-o", "restore.log", "-v4", *more))
        took = time.monotonic() - began
        target.verify()
        until(lambda: not helpers(images), "nobody of us stays")
        target.verify()
        assert not list(images.glob("*.socket"))
        flags = pathlib.Path(f"/proc/{target.pid}/smaps").read_text()
        assert not re.search(r"^VmFlags:.* um", flags, re.M), "memory is still watched"
        print(f"# {took:.3f} s")


def fails():
    with case("instant restore that fails: nobody stays") as work, Target(work) as target:
        images = dump(target, work / "images")
        (images / f"core-{target.pid}.img").unlink()
        expect(criu("restore", "-D", images, "-d", "--instant", "-o", "restore.log", "-v4"), 1)
        until(lambda: not helpers(images), "nobody of us stays")
    with case("instant restore that is killed before it begins: nobody stays") as work, Target(work) as target:
        images = dump(target, work / "images")
        tool = start("restore", "-D", images, "-d", "--instant", "-o", "restore.log", "-v4")
        until(lambda: len(helpers(images)) > 1 or tool.poll() is not None, "a helper")
        tool.kill()
        tool.wait()
        for pid in target.pids:
            if state_of(pid) not in ("", "Z"):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not helpers(images), "nobody of us stays")
    with case("--instant and --lazy-pages exclude each other") as work:
        assert "exclude each other" in expect(criu("restore", "-D", work, "--instant", "--lazy-pages"), 1)


def main():
    whole("of a tree")
    whole("of compressed images", made=["-c"])
    fails()
    finish()


main()
