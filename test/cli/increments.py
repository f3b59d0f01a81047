#!/usr/bin/env python3
"""Incremental dumps from outside: what stays in the tree, what is written again, what is refused.

usage: increments.py CRIU
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tool import CRIU, criu, expect, failures

PAGES = 2048
PROGRAM = f"""
import ctypes, mmap, signal, sys
memory = mmap.mmap(-1, {PAGES} * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range({PAGES}):
    memory[page * 4096:page * 4096 + 4] = page.to_bytes(4, "little")
print("ready", flush=True)
for line in sys.stdin:
    verb, number = line.split()
    at = int(number) * 4096
    if verb == "write":
        memory[at:at + 4] = b"new!"
    print(memory[at:at + 4].hex(), flush=True)
"""


class Target:
    """A program that writes to the pages that it is told."""

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        self.process.stdout.readline()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    @property
    def pid(self):
        return self.process.pid

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return bytes.fromhex(self.process.stdout.readline())

    def flags(self):
        return re.findall(r"^VmFlags: (.*)$", pathlib.Path(f"/proc/{self.pid}/smaps").read_text(), re.M)


def same(name, got, wanted):
    print(f"{'ok' if got == wanted else 'not ok'} {name}")
    if got != wanted:
        failures.append(f"{name}: {got!r}, expected {wanted!r}")


def tracker_of(folder):
    """The pid of the tracker of a tree, by the socket that it listens at."""
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text() == "criu-tracker\n" and \
                    str(folder).encode() in (entry / "cmdline").read_bytes() and (entry / "stat").read_text().split()[2] != "Z":
                return int(entry.name)
        except OSError:
            continue
    return 0


def statistics(folder):
    text = subprocess.run([CRIU, "crit", "decode", "-i", folder / "stats-dump"], capture_output=True, check=True).stdout
    return json.loads(text)["entries"][0]["dump"]


def save(action, target, folder, earlier=None, *options):
    folder.mkdir()
    parent = ["--prev-images-dir", f"../{earlier.name}"] if earlier else []
    return criu(action, "-t", str(target.pid), "-D", str(folder), *parent, *options)


def written_again(work):
    with Target() as target:
        before = target.flags()
        expect("a pre-dump", save("pre-dump", target, work / "a"), 0)
        tracker = tracker_of(work)
        links = [os.readlink(f"/proc/{target.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{target.pid}/fd")]
        same("nothing of us in the table of the task", not [link for link in links if "userfaultfd" in link], True)
        same("a tracker is there, and holds nothing of the caller's", [os.readlink(f"/proc/{tracker}/fd/{fd}") for fd in (0, 1, 2)],
               ["/dev/null"] * 3)
        target.say("write 7")
        expect("the next one", save("pre-dump", target, work / "b", work / "a"), 0)
        stats = statistics(work / "b")
        same("only what was written is written again", stats["pages_written"] < 200 and stats["pages_skipped_parent"] > PAGES, True)
        expect("one that builds on an older dump is full", save("pre-dump", target, work / "c", work / "a"), 0)
        same("and skips nothing", statistics(work / "c")["pages_skipped_parent"], 0)
        os.kill(tracker, signal.SIGKILL)
        time.sleep(0.2)
        expect("without its tracker, likewise", save("pre-dump", target, work / "d", work / "c"), 0)
        same("nothing is skipped", statistics(work / "d")["pages_skipped_parent"], 0)
        expect("untrack", criu("untrack", "-t", str(target.pid)), 0)
        same("mappings are as before", target.flags(), before)
        same("the tracker is gone", tracker_of(work), 0)
        expect("a dump that tracks", save("dump", target, work / "e", None, "-R", "--track-mem"), 0)
        expect("the next one skips", save("dump", target, work / "f", work / "e", "-R"), 0)
        same("as it should", statistics(work / "f")["pages_skipped_parent"] > PAGES, True)
        same("a dump that does not track takes it back", target.flags(), before)
        same("the program has noticed nothing", target.say("read 7"), b"new!")


def refused(work):
    with Target() as target:
        expect("no such directory", criu("pre-dump", "-t", str(target.pid), "-D", str(work), "--prev-images-dir", "none"), 1,
               err=r"--prev-images-dir: none")
        expect("a pre-dump", save("pre-dump", target, work / "a"), 0)
        (work / "b").mkdir()
        (work / "b" / "parent").symlink_to("../elsewhere")
        expect("another parent", criu("pre-dump", "-t", str(target.pid), "-D", str(work / "b"), "--prev-images-dir", "../a"), 1,
               err=r"have a parent already")
        expect("the directory itself", criu("pre-dump", "-t", str(target.pid), "-D", str(work / "a"), "--prev-images-dir", "."), 1,
               err=r"is the directory of the images itself")
        expect("a pre-dump is no checkpoint", criu("restore", "-D", str(work / "a")), 1, err=r"pre-dump")
        expect("dedup of a directory without parent", criu("dedup", "-D", str(work / "a")), 1, err=r"no link parent")
        same("a failure leaves no link", not (work / "a" / "parent").is_symlink(), True)
        expect("an absolute parent", criu("pre-dump", "-t", str(target.pid), "-D", str(_made(work / "c")), "--prev-images-dir",
                                          str(work / "a")), 0)
        same("becomes a relative one", os.readlink(work / "c" / "parent"), "../a")


def _made(folder):
    folder.mkdir()
    return folder


def chain(work):
    with Target() as target:
        expect("a pre-dump", save("pre-dump", target, work / "a"), 0)
        target.say("write 9")
        expect("another one", save("pre-dump", target, work / "b", work / "a"), 0)
        target.say("write 11")
        expect("the dump", save("dump", target, work / "c", work / "b"), 0)
        target.process.wait()
    shutil.copytree(work, work.with_name("broken"), symlinks=True)
    broken = work.with_name("broken")
    shutil.rmtree(broken / "a")
    expect("a chain without its end", criu("restore", "-D", str(broken / "c"), "-d"), 1, err=r"directory that the images build on")
    expect("--print-plan follows the chain", criu("restore", "-D", str(work / "c"), "--print-plan"), 0, out=r"premap")
    blocks = sum(path.stat().st_blocks for path in (work / "a").glob("pages-*"))
    sizes = [path.stat().st_size for path in (work / "a").glob("pages-*")]
    expect("dedup", criu("dedup", "-D", str(work / "b")), 0)
    same("drops what was written again", sum(path.stat().st_blocks for path in (work / "a").glob("pages-*")) < blocks, True)
    same("and keeps sizes", [path.stat().st_size for path in (work / "a").glob("pages-*")], sizes)
    expect("still a checkpoint", criu("restore", "-D", str(work / "c"), "--print-plan"), 0, out=r"premap")


def main():
    """Each part in a folder of its own."""
    for part in (written_again, refused, chain):
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder) / "work"
            work.mkdir()
            part(work)
    for failure in failures:
        print(failure)
    return 1 if failures else 0


sys.exit(main())
