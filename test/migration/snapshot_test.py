#!/usr/bin/env python3
"""Live snapshots: dump --leave-running while the tree goes on.

usage: snapshot_test.py CRIU
"""
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import peer  # noqa: E402
from peer import PAGE  # noqa: E402
from scene import CRIU, HERE, case, criu, expect, finish, folder, scratch, state_of, until  # noqa: E402

MEGABYTES = 24


class Writer:
    """The target, running."""

    program = None

    def __init__(self, work, *more):
        if not Writer.program:
            Writer.program = scratch("snapshot-target-") + "/target"
            subprocess.run(["cc", "-O1", "-Wall", "-pthread", "-o", Writer.program, HERE / "snapshot_target.c"], check=True)
        self.log = work / "target.txt"
        self.process = subprocess.Popen([Writer.program, self.log, str(MEGABYTES), *more], stdin=subprocess.DEVNULL, start_new_session=True)
        self.pid = self.process.pid
        until(lambda: "ready" in self.text(), "the target is ready")
        self.areas = [int(word, 16) for word in re.search(r"areas (.*)", self.text())[1].split()]
        self.asked = 0

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def verify(self, sightings=0):
        """`sightings`: how often one of its threads may have seen a child that is not its own."""
        self.asked += 1
        os.kill(self.pid, signal.SIGUSR1)
        try:
            until(lambda: self.text().count("good") + self.text().count("bad") == self.asked, "the target answers")
        except TimeoutError as why:
            status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
            raise TimeoutError(f"{why}: {re.findall(r'(?:State|Sig|Shd|Tracer).*', status)}, {self.text()}") from why
        for children, signals in re.findall(r"bad (\d+) children that are not its own, (\d+) signals", self.text()):
            assert int(children) <= sightings and signals == "0", self.text()

    def facts(self):
        """What a snapshot must leave as it was."""
        proc = pathlib.Path(f"/proc/{self.pid}")
        maps = re.sub(r"^.*\[(heap|stack)\].*\n", "", (proc / "maps").read_text(), flags=re.M)
        flags = re.findall(r"VmFlags:.*", (proc / "smaps").read_text())
        children = "".join((task / "children").read_text() for task in (proc / "task").iterdir())
        return maps, flags, sorted(os.listdir(proc / "fd")), sorted(os.listdir(proc / "task")), children

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def twins():
    """Processes of the target's program."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/exe") == Writer.program and state_of(pid) != "Z":
                found.append(int(pid))
        except OSError:
            pass
    return found


def first_words(images, target):
    """The number in each page, in the order in which they are written."""
    content = {}
    for address, flags, pages, data in peer.pagemap(images, "", target.pid)[1]:
        assert flags & 4, flags
        for page in range(pages):
            content[address + page * PAGE] = struct.unpack_from("=Q", data, page * PAGE)[0]
    numbers = [content[area + page * PAGE] for area in target.areas for page in range(MEGABYTES << 8)]
    shared = next(images.glob("pagemap-shmem-*.img"))
    (_, flags, pages, data), *rest = peer.pagemap(images, "shmem-", int(re.search(r"(\d+).img", shared.name)[1]))[1]
    assert pages == MEGABYTES << 8 and not rest
    return numbers + [struct.unpack_from("=Q", data, page * PAGE)[0] for page in range(pages)]


def dump(images, target, *more, code=0):
    out = expect(criu("dump", "-D", images, "-o", "dump.log", "-v4", "-t", target.pid, "-R", *more), code)
    return out + (images / "dump.log").read_text()


def consistent():
    with case("a snapshot is what the memory was at one instant") as work, Writer(work) as target:
        before = target.facts()
        for number in range(5):
            images = folder(work / f"images{number}")
            log = dump(images, target, "--snapshot", "fork")
            assert "snapshot:" not in log, log
            numbers = first_words(images, target)
            assert numbers == sorted(numbers, reverse=True) and numbers[0] - numbers[-1] <= 1, (numbers[0], numbers[-1])
            assert target.facts() == before
            target.verify()
            assert twins() == [target.pid]
        assert numbers[0] > 2, "the target has not written meanwhile"


def writes(log):
    """Of each round of a snapshot by copying ahead: MiB copied, and written meanwhile."""
    return [(int(copied), int(written)) for copied, written in re.findall(r"round \d+: (\d+) MiB copied while the tree runs, (\d+) MiB", log)]


def copied_ahead():
    for mode in ("slow", "fast"):
        with case(f"memory copied ahead is what it was at one instant: {mode} writer") as work, Writer(work, mode) as target:
            before = target.facts()
            for number in range(5):
                images = folder(work / f"images{number}")
                log = dump(images, target, "--snapshot", "precopy")
                assert writes(log) and writes(log)[0][0] >= 3 * MEGABYTES, log
                if mode == "slow":
                    assert writes(log)[-1][1] < 2 * MEGABYTES, log
                numbers = first_words(images, target)
                assert numbers == sorted(numbers, reverse=True) and numbers[0] - numbers[-1] <= 1, (numbers[0], numbers[-1])
                assert target.facts() == before
                assert sorted(os.listdir(images)) == sorted(path.name for path in images.iterdir() if path.suffix in (".img", ".log") or path.name == "stats-dump")
                target.verify()
                assert twins() == [target.pid]
            if mode == "fast":
                assert numbers[0] > 2, "the target has not written meanwhile"
    for how in (["--compress"], ["-D", "-"]):
        with case(f"memory copied ahead can be restored: {' '.join(how)}") as work, Writer(work, "slow") as target:
            images = folder(work / "images")
            options = ["dump", "-t", target.pid, "-R", "--snapshot", "precopy", "-W", images, "-o", images / "dump.log", "-v4"]
            if "-D" in how:
                with open(work / "stream", "wb") as out:
                    done = subprocess.run([CRIU, *map(str, options), *how], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, timeout=60)
                assert done.returncode == 0, done.stderr
                source = work / "stream"
            else:
                expect(criu(*options, *how, "-D", images))
                source = images
            assert writes((images / "dump.log").read_text()), "nothing was copied ahead"
            target.process.kill()
            target.process.wait()
            expect(criu("restore", "-D", source, "-W", images, "-d", "-o", images / "restore.log", "-v4"))
            try:
                target.verify()
            finally:
                os.kill(target.pid, signal.SIGKILL)


def chosen():
    """auto goes by what there is room for."""
    for name, mode, options, ahead in (
        ("little memory and room for copies", "slow", [], False),
        ("no room for copies", "slow", ["--snapshot-memory", "1M"], True),
        ("a thread that could see copies", "waiter", [], True),
        ("notes that are those of increments", "slow", ["--snapshot-memory", "1M", "--track-mem"], False),
        ("off", "slow", ["--snapshot", "off"], False),
    ):
        with case(f"auto: {name}: memory is {'' if ahead else 'not '}copied ahead") as work, Writer(work, mode) as target:
            log = dump(folder(work / "images"), target, *options)
            assert bool(writes(log)) == ahead, log
            if "--track-mem" in options:
                assert "those between two dumps" in log and "copies could take" in log, log
                expect(criu("untrack", "-t", target.pid))
            numbers = first_words(work / "images", target)
            assert numbers == sorted(numbers, reverse=True), "torn"
            target.verify()
            for child in twins():
                if child != target.pid:
                    os.kill(child, signal.SIGKILL)
    with case("a task that has a userfaultfd: written while the tree stands") as work, Writer(work, "userfaultfd") as target:
        before = target.facts()
        out = expect(criu("dump", "-D", folder(work / "images"), "-o", "dump.log", "-v4", "-t", target.pid, "-R", "--snapshot", "precopy"), 1)
        log = (work / "images" / "dump.log").read_text()
        assert "writes to no task can be noted" in log and "userfaultfd" in log, out + log
        assert target.facts() == before
        target.verify()


def restored():
    with case("a snapshot can be restored") as work, Writer(work) as target:
        images = folder(work / "images")
        dump(images, target, "--snapshot", "fork", "--compress")
        target.process.kill()
        target.process.wait()
        expect(criu("restore", "-D", images, "-d", "-o", "restore.log", "-v4"))
        try:
            target.verify()
        finally:
            os.kill(target.pid, signal.SIGKILL)


def killed(how):
    # Who is killed while a twin is made lets a thread that polls with __WALL see the helper: Documentation/migration.md.
    sightings = 4 if how == "fork" else 0
    with case(f"kill -9 at any instant of a snapshot by {how} leaves the tree whole, and nobody else") as work, Writer(work) as target:
        before = target.facts()
        rng = random.Random(1)
        for number in range(40):
            images = folder(work / f"images{number}")
            tool = subprocess.Popen([CRIU, "dump", "-D", images, "-o", "dump.log", "-v4", "-t", str(target.pid), "-R", "--snapshot", how], stdin=subprocess.DEVNULL)
            time.sleep(rng.uniform(0, 0.25))
            tool.kill()
            tool.wait()
            until(lambda: twins() == [target.pid], f"copies are gone after kill {number}: {twins()}")
            target.verify(sightings)
            until(lambda: target.facts() == before, f"the target is as it was after kill {number}")
            assert state_of(target.pid) in "SR"


def refused():
    for name, more, options, text in (
        ("a limit on what copies may take", [], ["--snapshot-memory", "1M"], "copies could take"),
        ("a subreaper", ["reaper"], [], "would adopt a copy"),
    ):
        with case(f"{name}: written while the tree stands") as work, Writer(work, *more) as target:
            log = dump(folder(work / "images"), target, "--snapshot", "fork", *options)
            assert text in log, log
            numbers = first_words(work / "images", target)
            assert numbers == sorted(numbers, reverse=True), "torn"
            target.verify()
    with case("no more processes: written while the tree stands") as work, Writer(work) as target:
        group = pathlib.Path("/sys/fs/cgroup/pids")
        group = (group if group.exists() else pathlib.Path("/sys/fs/cgroup")) / f"snapshot-test-{os.getpid()}"
        group.mkdir()
        try:
            (group / "cgroup.procs").write_text(str(target.pid))
            (group / "pids.max").write_text("3")
            log = dump(folder(work / "images"), target, "--snapshot", "fork", "--manage-cgroups=ignore")
            assert "2 further processes do not fit" in log and not writes(log), log
            target.verify()
            log = dump(folder(work / "auto"), target, "--manage-cgroups=ignore")
            assert "snapshot: no" not in log and writes(log), log
            target.verify()
        finally:
            (group.parent / "cgroup.procs").write_text(str(target.pid))
            group.rmdir()
    for how, size in (("fork", 40), ("precopy", 40), ("precopy", 80)):
        with case(f"a full disk of {size} MiB while the tree runs ({how}): no checkpoint, and the tree whole") as work, Writer(work) as target:
            before = target.facts()
            disk = folder(work / "disk")
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "none", disk], check=True)
            try:
                out = dump(disk, target, "--snapshot", how, code=1)
                assert "No space left" in out, out
                assert not list(disk.glob("*.img")), list(disk.glob("*.img"))
                target.verify()
                assert target.facts() == before
                assert twins() == [target.pid]
            finally:
                subprocess.run(["umount", disk], check=True)
    for how in ("fork", "precopy"):
        with case(f"--snapshot {how} needs -R") as work:
            assert "left running" in expect(criu("dump", "-D", work, "-t", os.getpid(), "--snapshot", how), 1)


def main():
    consistent()
    copied_ahead()
    chosen()
    restored()
    killed("fork")
    killed("precopy")
    refused()
    finish()


main()
