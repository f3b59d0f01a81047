#!/usr/bin/env python3
"""Streams of images: dump -D - and restore -D -, encrypted ones, damaged ones, and criu-image-streamer's protocol against
peers of our own that know nothing but the reference.

usage: stream_test.py CRIU
"""
import array
import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from scene import CRIU, LIMIT, Target, case, criu, expect, finish, folder, state_of, until  # noqa: E402


def dump(target, work, *more, to=None, code=0, action="dump"):
    """Returns the stream as a file."""
    path = to or work / "stream"
    with open(path, "wb") as out:
        done = subprocess.run([CRIU, action, "-t", str(target.pid), "-D", "-", "-W", work, "-o", "dump.log", "-v4", *map(str, more)], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True, timeout=LIMIT * 2)
    assert done.returncode == code, f"{done.returncode}: {done.stderr}"
    return path


def restore(work, stream, *more, code=0):
    with open(stream, "rb") as source:
        done = subprocess.run([CRIU, "restore", "-d", "-D", "-", "-W", work, "-o", "restore.log", "-v4", *map(str, more)], stdin=source, capture_output=True, text=True, timeout=LIMIT * 2)
    assert done.returncode == code, f"{done.returncode}: {done.stderr}"
    return done.stderr


def key(path, size=32):
    path.write_bytes(os.urandom(size))
    return path


def there_and_back(name, *made, back=(), children=1):
    with case(f"stream {name}") as work, Target(work, megabytes=24, children=children) as target:
        made = [key(work / "key") if word == "KEY" else word for word in made]
        back = [work / "key" if word == "KEY" else word for word in back]
        stream = dump(target, work, *made)
        target.reap()
        restore(work, stream, *back)
        target.verify()
        assert sorted(path.name for path in work.iterdir() if path.suffix == ".img") == []


def through_a_pipe():
    with case("dump | restore") as work, Target(work, megabytes=24) as target:
        first = subprocess.Popen([CRIU, "dump", "-t", str(target.pid), "-D", "-", "-W", work, "-o", "dump.log", "-v4"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        second = subprocess.Popen([CRIU, "restore", "-d", "-D", "-", "-W", work, "-o", "restore.log", "-v4"], stdin=first.stdout)
        first.stdout.close()
        target.reap()
        assert first.wait(LIMIT) == 0
        assert second.wait(LIMIT) == 0
        target.verify()


def live():
    for how in ("off", "fork"):
        with case(f"stream of a live snapshot ({how}), restored from the file, merged and verified") as work, Target(work, megabytes=72, children=1) as target:
            stream = dump(target, work, "-R", "--snapshot", how)
            target.verify()
            assert "2 processes" in expect(criu("verify", "-D", stream))
            expect(criu("merge", "-D", stream, "--into", work / "folder"))
            expect(criu("verify", "-D", work / "folder"))
            for pid in target.pids:
                os.kill(pid, signal.SIGKILL)
            target.reap()
            until(lambda: not target.alive(), "the tree is gone")
            expect(criu("restore", "-d", "-D", stream, "-W", work, "-o", "restore.log", "-v4", *(["--instant"] if how == "fork" else [])))
            target.verify()


def pre_dumped():
    with case("stream of a pre-dump: whole, and said to be one") as work, Target(work) as target:
        stream = dump(target, work, action="pre-dump")
        target.verify()
        assert "a pre-dump" in expect(criu("verify", "-D", stream))
        assert "pre-dump" in restore(work, stream, code=1)
        expect(criu("untrack", "-t", target.pid))


def refused():
    with case("streams: what does not go together is refused, and the tree goes on") as work, Target(work) as target:
        secret = key(work / "key")
        words = subprocess.run([CRIU, "dump", "-t", str(target.pid), "-D", "-", "-o", "-"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
        assert words.returncode == 1 and "standard output" in words.stderr + words.stdout
        for more, said in ((["--prev-images-dir", "../1"], "cannot build on"), (["--encrypt", work / "none"], "No such file"), (["--encrypt", key(work / "short", 31)], "32 to 4096"), (["--stream"], "criu-image-streamer")):
            done = criu("dump", "-t", target.pid, "-D", "-", "-W", work, *more)
            assert done.returncode == 1 and said in done.stderr, done
        images = folder(work / "images")
        assert "streams" in expect(criu("dump", "-t", target.pid, "-D", images, "--encrypt", secret), 1)
        assert not list(images.iterdir())
        assert "criu-image-streamer" in expect(criu("dump", "-t", target.pid, "-D", images, "--stream"), 1)
        target.verify()


def wrong_keys():
    with case("encrypted streams: another key, none, one too many") as work, Target(work) as target:
        secret, other = key(work / "key"), key(work / "other")
        stream = dump(target, work, "-R", "--encrypt", secret)
        plain = dump(target, work, "-R", to=work / "plain")
        content = stream.read_bytes()
        assert b"pstree.img" not in content and b"pstree.img" in plain.read_bytes()
        assert content != dump(target, work, "-R", "--encrypt", secret, to=work / "again").read_bytes()
        assert "key does not fit" in restore(work, stream, "--encrypt", other, code=1)
        assert "is encrypted" in restore(work, stream, code=1)
        assert "is not encrypted" in restore(work, plain, "--encrypt", secret, code=1)
        assert "no stream" in restore(work, secret, "--encrypt", secret, code=1) or "too early" in restore(work, secret, "--encrypt", secret, code=1)
        target.verify()


def records(content, encrypted):
    """Places of the records, by the description of the format."""
    at, found = 48, []
    while at < len(content):
        size = struct.unpack_from("<I", content, at + 4)[0]
        found.append((at, at + 24 + size))
        at += 24 + size
    assert at == len(content)
    return found


def damaged():
    with case("encrypted streams: any byte changed, records dropped, repeated, exchanged, cut: refused") as work, Target(work, megabytes=1) as target:
        secret = key(work / "key")
        content = dump(target, work, "-R", "--encrypt", secret).read_bytes()
        places = records(content, True)
        rng = random.Random(3)
        bad = work / "bad"

        def is_refused(changed, what):
            bad.write_bytes(changed)
            done = criu("verify", "-D", bad, "--encrypt", secret)
            assert done.returncode == 1 and "Error" in done.stderr and "Bug" not in done.stderr, (what, done)

        for number in range(60):
            at = rng.randrange(len(content)) if number >= 48 else number
            is_refused(content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1:], f"byte {at}")
        for number in range(40):
            a, b = sorted(rng.sample(range(len(places)), 2))
            (a0, a1), (b0, b1) = places[a], places[b]
            is_refused(content[:a0] + content[a1:], f"record {a} dropped")
            is_refused(content[:a1] + content[a0:a1] + content[a1:], f"record {a} twice")
            is_refused(content[:a0] + content[b0:b1] + content[a1:b0] + content[a0:a1] + content[b1:], f"records {a} and {b} exchanged")
            is_refused(content[: rng.choice([a0, a0 + 5, a1 - 1])], f"cut at {a}")
        bad.write_bytes(content)
        expect(criu("verify", "-D", bad, "--encrypt", secret))
        target.verify()
    with case("plain streams: damaged ones are refused or read, nothing else") as work, Target(work, megabytes=1) as target:
        content = dump(target, work, "-R").read_bytes()
        places = records(content, False)
        rng = random.Random(4)
        bad, said = work / "bad", {0: 0, 1: 0}
        for number in range(160):
            changed = bytearray(content)
            if number % 4 == 0:
                del changed[rng.randrange(len(changed)):]
            else:
                at, end = rng.choice(places)
                for _ in range(rng.randint(1, 3)):
                    changed[at + rng.randrange(24 if number % 2 else min(end - at, 64))] = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            bad.write_bytes(changed)
            done = criu("verify", "-D", bad)
            assert done.returncode in said and (done.returncode == 0 or ("Error" in done.stderr and "Bug" not in done.stderr)), (number, done)
            assert number % 4 or done.returncode == 1, number
            said[done.returncode] += 1
        assert said[1] > 60, said
        for name in (b"../../x", b"a/b", b"parent", b".hidden", b"", b"a\0b"):
            header = struct.pack("<IIIIQ", 1, len(name), 0, 0, 0) + name
            bad.write_bytes(content[:48] + header)
            assert "cannot be" in expect(criu("verify", "-D", bad), 1), name
        bad.write_bytes(content[:48] + struct.pack("<IIIIQ", 2, 0xFFFFFFFF, 0, 0, 0))
        assert "impossible" in expect(criu("verify", "-D", bad), 1)
        target.verify()


def cut():
    with case("the reader of a stream goes away: the tree goes on, nothing stays") as work, Target(work, megabytes=48) as target:
        for size in (0, 100, 1 << 20, 20 << 20):
            tool = subprocess.Popen([CRIU, "dump", "-t", str(target.pid), "-D", "-", "-W", work, "-o", "dump.log", "-v4"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            left = size
            while left:
                left -= len(tool.stdout.read(min(left, 65536)))
            tool.stdout.close()
            assert tool.wait(LIMIT) == 1, "no error"
            assert b"Broken pipe" in tool.stderr.read()
            tool.stderr.close()
            target.verify()
    with case("a dump into a stream that nobody reads is ended by SIGTERM, or killed: the tree goes on") as work, Target(work, megabytes=48) as target:
        for number in (signal.SIGTERM, signal.SIGKILL):
            tool = subprocess.Popen([CRIU, "dump", "-t", str(target.pid), "-D", "-", "-W", work, "-o", "dump.log", "-v4"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            tool.stdout.read(1 << 20)
            tool.send_signal(number)
            assert tool.wait(LIMIT) == -number
            tool.stdout.close()
            target.verify()


class Streamer:
    """One end of the protocol, from the reference: requests [length, {1: name}], on a restore the answer [length, {1: exists}],
    then an end of a pipe by SCM_RIGHTS."""

    def __init__(self, work, serve=None, behave=""):
        self.files, self.serve, self.behave, self.problem, self.asked = {}, serve, behave, None, []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.path = work / ("streamer-serve.sock" if serve is not None else "streamer-capture.sock")
        self.listener.bind(str(self.path))
        self.listener.listen(1)
        self.listener.settimeout(LIMIT)
        self.readers = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _exactly(self, peer, size):
        data = b""
        while len(data) < size:
            some = peer.recv(size - len(data))
            if not some:
                raise EOFError
            data += some
        return data

    def _name(self, peer):
        size = struct.unpack("<I", self._exactly(peer, 4))[0]
        body = self._exactly(peer, size)
        assert body[0] == 0x0A and size < 200, body
        length, at = (body[1], 2) if body[1] < 128 else (body[1] & 127 | body[2] << 7, 3)
        assert at + length == size
        return body[at:].decode()

    def _descriptor(self, peer):
        data, control, _, _ = peer.recvmsg(1, socket.CMSG_SPACE(4))
        assert len(data) == 1 and control, "no descriptor"
        fds = array.array("i")
        fds.frombytes(control[0][2][:4])
        return fds[0]

    def _collect(self, name, fd):
        with os.fdopen(fd, "rb") as pipe:
            self.files[name] = pipe.read()

    def _run(self):
        try:
            peer, _ = self.listener.accept()
            peer.settimeout(LIMIT)
            with peer:
                while True:
                    name = self._name(peer)
                    assert name not in self.asked, f"{name} twice"
                    self.asked.append(name)
                    if self.serve is None:
                        fd = self._descriptor(peer)
                        if self.behave == "drop":
                            os.close(fd)
                            return
                        reader = threading.Thread(target=self._collect, args=(name, fd))
                        reader.start()
                        self.readers.append(reader)
                        continue
                    if self.behave == "nonsense":
                        peer.sendall(struct.pack("<I", 1 << 30))
                        return
                    if self.behave == "short":
                        peer.sendall(b"\2\0")
                        return
                    exists = name in self.serve
                    peer.sendall(struct.pack("<I", 2) + bytes([8, exists]))
                    if exists:
                        fd = self._descriptor(peer)
                        with os.fdopen(fd, "wb") as pipe:
                            pipe.write(self.serve.pop(name))
        except EOFError:
            pass
        except Exception as error:  # noqa: BLE001
            self.problem = error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.thread.join(LIMIT)
        for reader in self.readers:
            reader.join(LIMIT)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def streamer():
    for made in ([], ["-c"]):
        with case(f"criu-image-streamer takes a dump and gives it back {' '.join(made)}") as work, Target(work, megabytes=24, children=1) as target:
            with Streamer(work) as capture:
                expect(criu("dump", "-t", target.pid, "-D", work, "--stream", "-o", "dump.log", "-v4", *made))
            assert not capture.problem, capture.problem
            target.reap()
            assert not list(work.glob("*.img")) and "inventory.img" in capture.files and capture.asked[-1] == "inventory.img", (list(work.iterdir()), capture.asked)
            assert sum(len(content) for name, content in capture.files.items() if name.startswith("pages-")) > 200000
            # What came is a directory of images like any other.
            images = folder(work / "written")
            for name, content in capture.files.items():
                (images / name).write_bytes(content)
            assert "2 processes" in expect(criu("verify", "-D", images))
            with Streamer(work, serve=dict(capture.files)) as serve:
                expect(criu("restore", "-d", "-D", work, "--stream", "-o", "restore.log", "-v4"))
            assert not serve.problem, serve.problem
            target.verify()
    with case("criu-image-streamer goes away in a dump: the tree goes on") as work, Target(work) as target:
        with Streamer(work, behave="drop"):
            assert "Broken pipe" in expect(criu("dump", "-t", target.pid, "-D", work, "--stream"), 1)
        target.verify()
    with case("criu-image-streamer says nonsense, or has not everything: refused, nothing stays") as work, Target(work) as target:
        with Streamer(work) as capture:
            expect(criu("dump", "-t", target.pid, "-D", work, "--stream", "-o", "dump.log", "-v4"))
        target.reap()
        for behave, said in (("nonsense", "an answer of"), ("short", "too early")):
            with Streamer(work, serve=dict(capture.files), behave=behave):
                text = expect(criu("restore", "-d", "-D", work, "--stream"), 1)
                assert said in text, text
        for missing in ("pages-1.img", f"core-{target.pid}.img", "pstree.img"):
            files = {name: content for name, content in capture.files.items() if name != missing}
            with Streamer(work, serve=files) as serve:
                assert missing.split(".")[0] in expect(criu("restore", "-d", "-D", work, "--stream"), 1), missing
            assert not serve.problem, serve.problem
        assert not target.alive()
        with Streamer(work, serve=dict(capture.files)):
            expect(criu("restore", "-d", "-D", work, "--stream"))
        target.verify()


def main():
    there_and_back("of a tree")
    there_and_back("of compressed memory", "-c")
    there_and_back("encrypted", "--encrypt", "KEY", back=["--encrypt", "KEY"])
    there_and_back("compressed by zstd and encrypted", "--compress=zstd", "--encrypt", "KEY", back=["--encrypt", "KEY"])
    through_a_pipe()
    live()
    pre_dumped()
    refused()
    wrong_keys()
    damaged()
    cut()
    streamer()
    finish()


main()
