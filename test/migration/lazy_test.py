#!/usr/bin/env python3
"""Lazy restores: the daemon and the restore of ours together, and each with a peer that knows only the protocol.

usage: lazy_test.py CRIU
"""
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
import peer  # noqa: E402
from lazy_peers import Asker, ImageServer, PeerDaemon, make_remote  # noqa: E402
from peer import PAGE  # noqa: E402
from scene import CRIU, HERE, LIMIT, PageServer, Target, case, criu, ended, expect, finish, folder, scratch, start, state_of, until  # noqa: E402


def dump(images, pid, *more, code=0):
    return expect(criu("dump", "-D", images, "-W", images, "-o", "dump.log", "-v4", "-t", pid, *more), code)


def restore(images, *more, work=None, code=0):
    return expect(criu("restore", "-D", images, "-W", work or images, "-d", "-o", "restore.log", "-v4", *more), code)


class Daemon:
    """`criu lazy-pages` of ours, to which a restore can connect already."""

    def __init__(self, images, *more, work=None):
        read, write = os.pipe()
        self.work = work or images
        self.process = start("lazy-pages", "-D", images, "-W", self.work, "-o", "lazy.log", "-v4", "--status-fd", write, *more, pass_fds=[write])
        os.close(write)
        told = os.read(read, 2)
        os.close(read)
        assert told == b"\0", (self.work / "lazy.log").read_text()

    def log(self):
        return (self.work / "lazy.log").read_text()

    def ended(self, code=0):
        return ended(self.process, code)

    def children(self):
        """By name: the one that serves, and the one that stands by."""
        path = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {pathlib.Path(f"/proc/{pid}/comm").read_text().strip(): int(pid) for pid in path.read_text().split()}

    def server(self):
        """It is called as the tool is; the other one is until it has its own name."""
        return until(lambda: len(self.children()) == 2 and self.children().get("criu"), "the process that serves")

    def keeper(self):
        return until(lambda: self.children().get("memory-keeper"), "the process that stands by")


@contextlib.contextmanager
def restored_lazily(target):
    """A program that was dumped, and restored without its memory, which the daemon has begun to bring."""
    images = target.log.parent
    with target:
        dump(images, target.pid)
        target.process.wait(timeout=LIMIT)
        daemon = Daemon(images)
        restore(images, "--lazy-pages")
        yield target, daemon


def local():
    with case("lazy restore of a tree from its own images") as work:
        with restored_lazily(Target(work, megabytes=32, children=2)) as (target, daemon):
            target.verify()
            daemon.ended()
            target.verify()
            assert re.search(r"UFFD transferred pages: [1-9]", daemon.log()), daemon.log()
            assert not (work / "lazy-pages.socket").exists()
            maps = pathlib.Path(f"/proc/{target.pid}/smaps").read_text()
            assert " um " not in maps and not re.search(r"VmFlags:.* (um|uw)\b", maps), "userfaultfd is left"
    with case("lazy restore: nothing is touched, everything comes") as work:
        with restored_lazily(Target(work, megabytes=32)) as (target, daemon):
            daemon.ended()
            target.verify()
    with case("lazy restore: a work folder of its own, the daemon in the background") as work:
        images, other = folder(work / "images"), folder(work / "work")
        with Target(work) as target:
            dump(images, target.pid)
            target.reap()
            expect(criu("lazy-pages", "-D", images, "-W", other, "--daemon", "--pidfile", "pid", "-o", "lazy.log", "-v4"))
            daemon = int((other / "pid").read_text())
            restore(images, "--lazy-pages", work=other)
            target.verify()
            until(lambda: state_of(daemon) in ("", "Z"), "the daemon ends")
            assert "transferred" in (other / "lazy.log").read_text()


def refused():
    with case("lazy restore without a daemon is an error that names it") as work:
        with Target(work) as target:
            dump(work, target.pid)
            target.reap()
            out = restore(work, "--lazy-pages", code=1)
            assert "start criu lazy-pages" in out and "lazy-pages.socket" in out, out
            restore(work)
            target.verify()
    with case("the daemon ends when the restore fails") as work:
        with Target(work) as target:
            dump(work, target.pid, "-R")  # the pids are taken still
            daemon = Daemon(work)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.connect(str(work / "lazy-pages.socket"))
            daemon.ended(1)
            assert "unexpectedly closed" in daemon.log(), daemon.log()
            target.verify()
    with case("no images: the daemon says so") as work:
        out = expect(criu("lazy-pages", "-D", work), 1)
        assert "pstree.img" in out, out


_changer = None


def changer():
    global _changer
    if not _changer:
        _changer = scratch("migration-changer-") + "/changer"
        subprocess.run(["cc", "-O1", "-Wall", "-D_GNU_SOURCE", "-pthread", "-o", _changer, HERE / "changer.c"], check=True)
    return _changer


class Changer:
    def __init__(self, work, megabytes):
        self.log = work / "changer.txt"
        self.process = subprocess.Popen([changer(), self.log, str(megabytes)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.pid = self.process.pid
        until(lambda: self.log.exists() and "ready" in self.log.read_text(), "the program is ready")

    def verify(self):
        os.kill(self.pid, signal.SIGUSR1)
        until(lambda: "done" in self.log.read_text() or state_of(self.pid) in ("", "Z"), "the program's steps")
        assert "bad" not in self.log.read_text() and "done" in self.log.read_text(), self.log.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def changes():
    for megabytes in (1, 16):
        with case(f"forks, moved, unmapped and forgotten memory on its way, {megabytes} MiB each") as work:
            with restored_lazily(Changer(work, megabytes)) as (target, daemon):
                target.verify()
                daemon.ended()
    with case("the same with nobody who brings what is not asked for") as work:
        with Changer(work, 4) as target:
            dump(work, target.pid)
            target.process.wait()
            daemon = PeerDaemon(work)
            restore(work, "--lazy-pages")
            target.verify()
            assert daemon.faults > 100
            daemon.stop()


def deaths():
    with case("the serving process is killed: another one goes on") as work:
        with restored_lazily(Target(work, megabytes=64, children=1)) as (target, daemon):
            os.kill(daemon.server(), signal.SIGKILL)
            target.verify()
            daemon.ended()
            assert "another one goes on" in daemon.log()
    with case("the same while mappings change") as work:
        with restored_lazily(Changer(work, 16)) as (target, daemon):
            server = daemon.server()
            killer = threading.Timer(0.01, lambda: os.kill(server, signal.SIGKILL))
            killer.start()
            target.verify()
            killer.join()
            daemon.ended()
    with case("the process that holds the descriptors is killed: the server goes on") as work:
        with restored_lazily(Target(work, megabytes=64)) as (target, daemon):
            server = daemon.server()
            os.kill(daemon.process.pid, signal.SIGKILL)
            daemon.process.wait()
            target.verify()
            until(lambda: state_of(server) in ("", "Z"), "the server ends")
    for first in ("the holder first", "the server first"):
        with case(f"the daemon's two processes are killed at once, {first}: the third one goes on") as work:
            with restored_lazily(Target(work, megabytes=96, children=1)) as (target, daemon):
                server, holder, keeper = daemon.server(), daemon.process.pid, daemon.keeper()
                for pid in (holder, server) if first.startswith("the holder") else (server, holder):
                    os.kill(pid, signal.SIGKILL)
                daemon.process.wait()
                target.verify()
                until(lambda: state_of(keeper) in ("", "Z"), "the third one ends")
                assert "another one goes on" in daemon.log()
                target.verify()
                flags = pathlib.Path(f"/proc/{target.pid}/smaps").read_text()
                assert not re.search(r"^VmFlags:.* um", flags, re.M), "memory is still watched"
    with case("the third one is killed: nobody notices") as work:
        with restored_lazily(Target(work, megabytes=64)) as (target, daemon):
            os.kill(daemon.keeper(), signal.SIGKILL)
            target.verify()
            daemon.ended()
    with case("being asked to end, the daemon serves to the end") as work:
        with restored_lazily(Target(work, megabytes=64)) as (target, daemon):
            daemon.process.send_signal(signal.SIGTERM)
            target.verify()
            daemon.ended()
    with case("pages that cannot be had: the tree ends, and no task reads zeroes") as work:
        with restored_lazily(Target(work, megabytes=128, children=1)) as (target, daemon):
            for pages in work.glob("pages-*.img"):
                os.truncate(pages, PAGE * 10)
            for pid in target.alive():
                os.kill(pid, signal.SIGUSR1)
            daemon.ended(1)
            until(lambda: not target.alive(), "the tree ends")
            assert not target.lines("bad"), target.lines("bad")


def remote():
    for most in (1 << 20, 3):
        with case(f"lazy restore from a server that knows only the protocol, at most {most} pages an answer") as work:
            source = folder(work / "source")
            with Target(work, megabytes=16, children=1) as target:
                dump(source, target.pid)
                target.reap()
                assert make_remote(source, work / "images") > 4096
                server = ImageServer(source, most)
                daemon = Daemon(work / "images", "--page-server", "--port", server.port)
                restore(work / "images", "--lazy-pages")
                target.verify()
                daemon.ended()
                server.thread.join(LIMIT)
                if server.error:
                    raise server.error
                assert server.closed
                target.verify()
    with case("images whose pages have stayed elsewhere are not restored without") as work:
        source = folder(work / "source")
        with Target(work) as target:
            dump(source, target.pid)
            target.reap()
            make_remote(source, work / "images")
            out = restore(work / "images", code=1)
            assert "criu lazy-pages --page-server" in out, out
            daemon = Daemon(work / "images")
            out = restore(work / "images", "--lazy-pages", code=1)
            daemon.ended(1)
            assert "--page-server --address A --port N" in daemon.log(), daemon.log()
            assert not target.alive()
            restore(source)
            target.verify()
    with case("the server closes the connection: the tree ends, and no task reads zeroes") as work:
        source = folder(work / "source")
        with Target(work, megabytes=64, children=1) as target:
            dump(source, target.pid)
            target.reap()
            make_remote(source, work / "images")
            server = ImageServer(source, cut_after=100)
            daemon = Daemon(work / "images", "--page-server", "--port", server.port)
            criu("restore", "-D", work / "images", "-d", "--lazy-pages")
            for pid in target.alive():
                os.kill(pid, signal.SIGUSR1)
            daemon.ended(1)
            until(lambda: not target.alive(), "the tree ends")
            assert not target.lines("bad"), target.lines("bad")
    with case("the serving process is killed, its pages being elsewhere: the tree ends, and no task reads zeroes") as work:
        source = folder(work / "source")
        with Target(work, megabytes=128, children=1) as target:
            dump(source, target.pid)
            target.reap()
            make_remote(source, work / "images")
            server = ImageServer(source, most=2)
            daemon = Daemon(work / "images", "--page-server", "--port", server.port)
            restore(work / "images", "--lazy-pages")
            os.kill(daemon.server(), signal.SIGKILL)
            for pid in target.alive():
                os.kill(pid, signal.SIGUSR1)
            daemon.ended(1)
            until(lambda: not target.alive(), "the tree ends")
            assert not target.lines("bad"), target.lines("bad")


class LazyDump:
    """`criu dump --lazy-pages` of ours, to which a daemon can connect already."""

    def __init__(self, images, pid, *more):
        read, write = os.pipe()
        from scene import free_port

        self.port, self.images = free_port(), images
        self.process = start("dump", "-D", images, "-o", "dump.log", "-v4", "-t", pid, "--lazy-pages", "--port", self.port, "--status-fd", write, *more, pass_fds=[write])
        os.close(write)
        told = os.read(read, 2)
        os.close(read)
        assert told == b"\0", (images / "dump.log").read_text()

    def ended(self, code=0):
        return ended(self.process, code)


def copy_folder(source, to):
    """Another host's."""
    import shutil

    shutil.copytree(source, to, symlinks=True)
    return to


def source():
    with case("dump --lazy-pages, and a daemon and a restore elsewhere") as work:
        images = folder(work / "images")
        with Target(work, megabytes=32, children=1) as target:
            source = LazyDump(images, target.pid)
            assert peer.pagemap(images, "", target.pid)[1], "no pagemap"
            assert any(flags == 2 for _, flags, _, _ in peer.pagemap(images, "", target.pid)[1])
            assert sum(os.stat(image).st_size for image in images.glob("pages-*.img")) < 8 << 20
            # On this host the pids are taken until the source ends: so a restore into a pid namespace would be needed; a
            # peer asks for all of it instead, and then there are images that can be restored.
            asker, got = Asker(source.port), {}
            for image in sorted(images.glob("pagemap-[0-9]*.img")):
                pid = int(image.stem.split("-")[1])
                number, runs = peer.pagemap(images, "", pid)
                whole = []
                for address, flags, pages, content in runs:
                    if flags == 2:
                        content, at = b"", address
                        while len(content) < pages * PAGE:
                            asker.ask(pid, at, pages - len(content) // PAGE)
                            who, where, part = asker.answer()
                            assert (who, where) == (pid, at) and part
                            content, at = content + part, at + len(part)
                        flags = 6
                    whole.append((address, flags, pages, content))
                got[pid] = (number, whole)
            assert state_of(target.pid) not in ("", "Z")
            asker.end()
            source.ended()
            target.reap()
            for pid, (number, whole) in got.items():
                peer.write_pagemap(images, "", pid, number, whole)
            restore(images)
            target.verify()
    with case("dump --lazy-pages in one pid namespace, lazy restore in another") as work:
        # Two places with pids of their own, and one host between them.
        done = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", sys.executable, __file__, CRIU, "--one-side", str(work)], capture_output=True, text=True, timeout=LIMIT * 3)
        assert done.returncode == 0, done.stdout + done.stderr
    with case("dump --lazy-pages: the other end goes: the source goes on") as work:
        images = folder(work / "images")
        with Target(work, megabytes=32) as target:
            source = LazyDump(images, target.pid)
            asker = Asker(source.port)
            address, _, pages, _ = next(run for run in peer.pagemap(images, "", target.pid)[1] if run[1] == 2)
            asker.ask(target.pid, address, pages)
            asker.answer()
            asker.sock.close()
            assert "has gone before" in source.ended(1) or "has gone before" in (images / "dump.log").read_text()
            until(lambda: state_of(target.pid) == "S", "the target waits as before")
            target.verify()
            assert not list(images.glob("*.img"))
    for name, question in (("other memory", lambda pid: (pid, 0x1000, 1)), ("another process", lambda pid: (1, 0x1000, 1)), ("an unaligned address", lambda pid: (pid, 0x1001, 1)), ("no process", lambda pid: (1 << 40, 0x1000, 1))):
        with case(f"dump --lazy-pages gives nothing of {name}") as work:
            images = folder(work / "images")
            with Target(work) as target:
                source = LazyDump(images, target.pid)
                asker = Asker(source.port)
                asker.ask(*question(target.pid))
                try:
                    assert asker.sock.recv(1) == b""
                except ConnectionResetError:
                    pass
                source.ended(1)
                target.verify()
    with case("dump --lazy-pages: killed while it serves: the source goes on") as work:
        images = folder(work / "images")
        with Target(work, megabytes=32) as target:
            source = LazyDump(images, target.pid)
            asker = Asker(source.port)
            os.kill(source.process.pid, signal.SIGKILL)
            source.process.wait()
            target.verify()
    with case("dump --lazy-pages -R: interrupted while it waits: the source goes on") as work:
        images = folder(work / "images")
        with Target(work, megabytes=8) as target:
            source = LazyDump(images, target.pid)
            source.process.terminate()
            source.process.wait()
            target.verify()


def one_side(work):
    """In a pid namespace of its own, as its init: the source; the destination is in another one."""
    images = folder(work / "images")
    with Target(work, megabytes=32) as target:
        source = LazyDump(images, target.pid)
        there = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", sys.executable, __file__, CRIU, "--other-side", str(work), str(target.pid), str(source.port)], timeout=LIMIT * 2)
        assert there.returncode == 0
        source.ended()
        target.reap()
        target.pids = []


def other_side(work, pid, port):
    images = copy_folder(work / "images", work / "other")
    daemon = Daemon(images, "--page-server", "--address", "localhost", "--port", port)
    restore(images, "--lazy-pages")
    log = work / "target.txt"
    for count in (1, 2):
        os.kill(pid, signal.SIGUSR1)
        until(lambda: log.read_text().count(" good") + log.read_text().count(" bad") >= count, "the target checks itself")
        if count == 1:
            daemon.ended()
    assert " bad" not in log.read_text(), log.read_text()
    os.kill(pid, signal.SIGKILL)


def image_server():
    with case("page-server --lazy-pages: questions of a peer") as work:
        with Target(work, megabytes=16) as target:
            dump(work, target.pid, "-R")
            server = PageServer(work, "--lazy-pages")
            asker = Asker(server.port)
            runs = [run for run in peer.pagemap(work, "", target.pid)[1] if run[1] & 2]
            for address, _, pages, _ in runs:  # all at once: answers come in order
                asker.ask(target.pid, address, 1)
            for address, _, pages, content in runs:
                assert asker.answer() == (target.pid, address, content[:PAGE])
            address, _, pages, content = max(runs, key=lambda run: run[2])
            asker.ask(target.pid, address + PAGE, 1 << 30)
            _, where, part = asker.answer()
            assert where == address + PAGE and part == content[PAGE:]
            asker.end()
            server.ended()
    with case("page-server --lazy-pages, and a lazy restore of ours") as work:
        source = folder(work / "source")
        with Target(work, megabytes=32, children=1) as target:
            dump(source, target.pid)
            target.reap()
            make_remote(source, work / "images")
            server = PageServer(source, "--lazy-pages")
            daemon = Daemon(work / "images", "--page-server", "--port", server.port)
            restore(work / "images", "--lazy-pages")
            target.verify()
            daemon.ended()
            server.ended()


def main():
    if sys.argv[2:3] == ["--one-side"]:
        return one_side(pathlib.Path(sys.argv[3]))
    if sys.argv[2:3] == ["--other-side"]:
        return other_side(pathlib.Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    only = sys.argv[2:]
    for part in (local, refused, changes, deaths, remote, source, image_server):
        if not only or part.__name__ in only:
            part()
    finish()


main()
