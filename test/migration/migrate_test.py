#!/usr/bin/env python3
"""criu migrate and criu receive: a tree moves from here into a network and pid namespace of its own, over a pair of
network devices; connections that are cut at every stage, and other ends that talk nonsense.

usage: migrate_test.py CRIU
"""
import contextlib
import ctypes
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from pki import authority, certificate, options  # noqa: E402
from scene import CRIU, LIMIT, Target, case, criu, expect, finish, folder, state_of, until  # noqa: E402

HERE, THERE, PORT = "10.213.0.1", "10.213.0.2", 9100
HELLO, ROUND, TAKEN, LAST, READY, GO, RUNNING, FAILED = 0x4D495247, 1, 2, 3, 4, 5, 6, 7


def run(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=LIMIT)


class Destination:
    """`criu receive` beside an init of its own, in namespaces that end with it."""

    def __init__(self, work, *more, disk=""):
        self.images = folder(work / f"there-{time.monotonic_ns()}")
        self.disk = disk
        if disk:
            run("mount", "-t", "tmpfs", "-o", f"size={disk}", "tmpfs", self.images)
        self.log = self.images / "receive.log"
        read, write = os.pipe()
        ready_read, ready_write = os.pipe()
        # The first line: the network is there. Then the tool, then whoever it has restored.
        script = f"read go; ip link set lo up; ip addr add {THERE}/24 dev there; ip link set there up; {CRIU} receive -D {self.images} -o receive.log -v4 --address {THERE} --port {PORT} --status-fd {ready_write} {' '.join(map(str, more))}; echo $? > {self.images}/code; read end"
        self.process = subprocess.Popen(["unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script], stdin=read, pass_fds=[ready_write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(read), os.close(ready_write)
        self.control = write
        self.init = until(self._init, "its init")
        subprocess.run(["ip", "link", "del", "here"], capture_output=True, timeout=LIMIT)
        run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", self.init)
        run("ip", "addr", "add", f"{HERE}/24", "dev", "here")
        run("ip", "link", "set", "here", "up")
        os.write(write, b"go\n")
        assert os.read(ready_read, 2) == b"\0", self.text()
        os.close(ready_read)

    def _init(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        if not children or os.readlink(f"/proc/{children[0]}/ns/net") == os.readlink("/proc/self/ns/net"):
            return None
        return int(children[0])

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def code(self):
        """Of the tool, when it has ended."""
        return int(until(lambda: (self.images / "code").exists() and (self.images / "code").read_text().strip(), "criu receive ends"))

    def send_signal(self, pid, name):
        return subprocess.run(["nsenter", "-t", str(self.init), "-p", "-m", "sh", "-c", f"kill -{name} {pid}"], capture_output=True, timeout=LIMIT).returncode == 0

    def states(self, pids):
        text = subprocess.run(["nsenter", "-t", str(self.init), "-p", "-m", "sh", "-c", "; ".join(f"sed 's/.*) \\(.\\) .*/\\1/' /proc/{pid}/stat 2>/dev/null || echo -" for pid in pids)], capture_output=True, text=True, timeout=LIMIT).stdout
        return text.split()

    def rest(self):
        return sorted(path.name for path in self.images.iterdir() if path.name.startswith("round"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.control)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        self.process.wait(LIMIT)
        subprocess.run(["ip", "link", "del", "here"], capture_output=True, timeout=LIMIT)
        if self.disk:
            run("umount", self.images)


def verify_there(target, destination):
    target.asked += 1
    for pid in target.pids:
        assert destination.send_signal(pid, "USR1"), f"{pid} is not there"
    until(lambda: len(target.lines("good")) + len(target.lines("bad")) >= target.asked * target.count, "the target checks itself")
    assert not target.lines("bad"), target.lines("bad")


def migrate(target, work, *more, code=0, port=PORT, host=THERE):
    done = criu("migrate", "-t", target.pid, "-D", work, "-o", "migrate.log", "-v4", "--to", f"{host}:{port}", *more)
    assert done.returncode == code, f"{done.returncode}: {done.stderr}"
    return done.stderr + (work / "migrate.log").read_text()


def moves():
    for more, there in (([], []), (["-c"], []), ([], ["--instant"])):
        with case(f"a tree moves {' '.join(more + there)}") as work, Target(work, megabytes=64, children=2) as target, Destination(work, *there) as destination:
            said = migrate(target, work, *more)
            assert "runs on the other side" in said and "round 2" in said, said
            print("#", said.split("it stood ")[1].split("\n")[0], flush=True)
            target.reap()
            assert destination.code() == 0, destination.text()
            verify_there(target, destination)
            verify_there(target, destination)
            assert destination.rest() == []
            assert not list(work.glob("*.img"))


def over_tls():
    authority("ca")
    authority("other")
    certificate("good", "ca", f"IP:{HERE},IP:{THERE}")
    certificate("foreign", "other", f"IP:{HERE},IP:{THERE}")
    # The address that either side checks is that of the destination.
    with case("a tree moves over TLS") as work, Target(work, megabytes=32, children=1) as target, Destination(work, *options()) as destination:
        migrate(target, work, *options())
        target.reap()
        assert destination.code() == 0, destination.text()
        verify_there(target, destination)
    for name, there, here in (("a source of another authority", options(), options("foreign", "other")), ("a source without TLS", options(), []), ("a destination without TLS", [], options())):
        with case(f"{name}: refused, the tree goes on") as work, Target(work) as target, Destination(work, *there) as destination:
            tool = subprocess.Popen([CRIU, "migrate", "-t", str(target.pid), "-D", work, "-o", "migrate.log", "-v4", "--to", f"{THERE}:{PORT}", *map(str, here)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                assert tool.wait(LIMIT) == 1
            finally:
                tool.kill()
            assert destination.code() == 1 and destination.rest() == []
            target.verify()


def refused():
    with case("nobody there, or somebody else: the tree goes on") as work, Target(work) as target:
        assert "Connection refused" in migrate(target, work, code=1, host="127.0.0.1", port=9)
        target.verify()
        assert "where to" in expect(criu("migrate", "-t", target.pid), 1)
        assert "HOST:PORT" in expect(criu("migrate", "-t", target.pid, "--to", "nowhere"), 1)
    with case("a tree whose pids are taken there: it says so, and the tree goes on here") as work, Target(work) as target, Destination(work) as destination:
        # The name space's next pids are forced onto those of the tree.
        subprocess.run(["nsenter", "-t", str(destination.init), "-p", "-m", "sh", "-c", f"echo {target.pid - 1} > /proc/sys/kernel/ns_last_pid; sleep 60 & sleep 60 & :"], timeout=LIMIT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        said = migrate(target, work, code=1)
        assert "the other side says" in said and str(target.pid) in said, said
        assert destination.code() == 1 and destination.rest() == []
        target.verify()


class Proxy:
    """Between both ends. `cut(direction, so_far, data)` returns how much of the data passes before all is cut, or None."""

    def __init__(self, cut):
        self.cut, self.passed, self.broken = cut, {"there": 0, "back": 0}, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LIMIT)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            source, _ = self.listener.accept()
            destination = socket.create_connection((THERE, PORT), timeout=LIMIT)
        except OSError:
            return
        with source, destination:
            ends = {source: (destination, "there"), destination: (source, "back")}
            open_ends = set(ends)
            while open_ends:
                for end in select.select(list(open_ends), [], [], LIMIT)[0]:
                    other, direction = ends[end]
                    try:
                        data = end.recv(65536)
                        if not data:
                            open_ends.discard(end)
                            other.shutdown(socket.SHUT_WR)
                            continue
                        most = self.cut(direction, self.passed[direction], data)
                        other.sendall(data if most is None else data[:most])
                        self.passed[direction] += len(data)
                        if most is not None:
                            self.broken = True
                            return
                    except OSError:
                        return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.thread.join(LIMIT)


def at_byte(direction, place):
    return lambda where, so_far, data: max(0, place - so_far) if where == direction and so_far + len(data) >= place else None


class Words:
    """Cuts at a word of the destination, or before Go."""

    def __init__(self, word, passes):
        self.word, self.passes, self.ready = word, passes, False

    def __call__(self, direction, so_far, data):
        if direction == "back":
            # Hello and a version, then words.
            words = [struct.unpack_from("<I", data, at)[0] for at in range(8 if so_far == 0 else 0, len(data) - 3, 4)]
            self.ready |= READY in words
            return (len(data) if self.passes else 0) if self.word in words else None
        if self.ready and self.word == GO and data == struct.pack("<I", GO):
            return 4 if self.passes else 0
        return None


def settle(target, destination, code):
    """After a cut: where the tree runs. Never at both ends."""
    there = destination.code()
    here = [state_of(pid) for pid in target.pids]
    states = destination.states(target.pids) if there == 0 else ["-"] * target.count
    runs_here, runs_there = all(s in "SR" and s for s in here), all(s in "SR" for s in states)
    assert not (any(s in "SR" and s for s in here) and any(s in "SR" for s in states)), (here, states)
    assert destination.rest() == []
    return runs_here, runs_there, here


def cuts():
    total = {}
    with case("what a migration sends, counted") as work, Target(work, megabytes=16) as target, Destination(work) as destination:
        with Proxy(lambda *_: None) as proxy:
            migrate(target, work, host="127.0.0.1", port=proxy.port)
        total.update(proxy.passed)
        assert destination.code() == 0
        verify_there(target, destination)
        target.reap()
    places = [("there", at) for at in (0, 4, 7, 8, 10, 13, 60, 100, 5000, total["there"] // 3, total["there"] * 4 // 5, total["there"] - 5000, total["there"] - 100, total["there"] - 30)]
    places += [("back", at) for at in (0, 5, 8, 9, 12)]
    with case(f"cut at {len(places)} places before Go: the tree runs here as before") as work, Target(work, megabytes=16) as target:
        for direction, at in places:
            with Destination(work) as destination, Proxy(at_byte(direction, at)) as proxy:
                said = migrate(target, work, code=1, host="127.0.0.1", port=proxy.port)
                assert "Bug" not in said, said
                target.verify()
                runs_here, runs_there, here = settle(target, destination, 1)
                assert runs_here and not runs_there, (direction, at, here)
    with case("Ready is lost: the tree runs here") as work, Target(work, megabytes=16) as target, Destination(work) as destination, Proxy(Words(READY, False)) as proxy:
        migrate(target, work, code=1, host="127.0.0.1", port=proxy.port)
        target.verify()
        assert settle(target, destination, 1)[:2] == (True, False)
    with case("Go is lost: the tree stands here, runs nowhere, and goes on when told") as work, Target(work, megabytes=16, children=1) as target, Destination(work) as destination, Proxy(Words(GO, False)) as proxy:
        said = migrate(target, work, code=1, host="127.0.0.1", port=proxy.port)
        assert "--resume-here" in said and "has not said" in said, said
        assert destination.code() == 1
        assert [state_of(pid) for pid in target.pids] == ["T"] * 2
        expect(criu("migrate", "-t", target.pid, "--resume-here"))
        target.verify()
    with case("Running is lost: the tree stands here and runs there") as work, Target(work, megabytes=16, children=1) as target, Destination(work) as destination, Proxy(Words(RUNNING, False)) as proxy:
        said = migrate(target, work, code=1, host="127.0.0.1", port=proxy.port)
        assert "--resume-here" in said, said
        runs_here, runs_there, here = settle(target, destination, 1)
        assert runs_there and here == ["T"] * 2, here
        verify_there(target, destination)


def killed():
    with case("the source is killed while it copies ahead: the tree runs here, nothing is there") as work, Target(work, megabytes=64) as target, Destination(work) as destination:
        with Proxy(lambda *_: time.sleep(0.02)) as proxy:
            tool = subprocess.Popen([CRIU, "migrate", "-t", str(target.pid), "-D", work, "-o", "migrate.log", "-v4", "--to", f"127.0.0.1:{proxy.port}"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until(lambda: proxy.passed["there"] > 4 << 20, "memory on its way")
            tool.kill()
            tool.wait(LIMIT)
        assert destination.code() == 1 and destination.rest() == []
        target.verify()
    with case("SIGTERM of the source: the same, with an error") as work, Target(work, megabytes=64) as target, Destination(work) as destination:
        with Proxy(lambda *_: time.sleep(0.02)) as proxy:
            tool = subprocess.Popen([CRIU, "migrate", "-t", str(target.pid), "-D", work, "-o", "migrate.log", "-v4", "--to", f"127.0.0.1:{proxy.port}"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until(lambda: proxy.passed["there"] > 4 << 20, "memory on its way")
            tool.terminate()
            assert tool.wait(LIMIT) == -signal.SIGTERM
        assert destination.code() == 1 and destination.rest() == []
        target.verify()
    with case("the destination is killed: the tree runs here") as work, Target(work, megabytes=64) as target:
        with Destination(work) as destination, Proxy(lambda *_: time.sleep(0.02)) as proxy:
            tool = subprocess.Popen([CRIU, "migrate", "-t", str(target.pid), "-D", work, "-o", "migrate.log", "-v4", "--to", f"127.0.0.1:{proxy.port}"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until(lambda: proxy.passed["there"] > 4 << 20, "memory on its way")
            os.kill(destination.init, signal.SIGKILL)
            assert tool.wait(LIMIT) == 1
        target.verify()


def left_over():
    with case("what a killed destination has left is not taken for what comes") as work, Target(work) as target, Destination(work) as destination:
        (destination.images / "round-1").mkdir()
        (destination.images / "round-1" / "core-1.img").write_text("of somebody else")
        said = migrate(target, work, code=1)
        assert "round-1" in said and destination.code() == 1, said
        assert "another folder" in destination.text()
        assert (destination.images / "round-1" / "core-1.img").exists(), "what is not ours is gone"
        target.verify()
    with case("a destination that waits ends when asked to") as work:
        tool = subprocess.Popen([CRIU, "receive", "-D", work, "--port", str(PORT)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: "LISTEN" in subprocess.run(["ss", "-tlnH", f"sport = :{PORT}"], capture_output=True, text=True).stdout, "it listens")
        tool.terminate()
        assert tool.wait(LIMIT) != 0
        assert list(work.iterdir()) == []


def full():
    with case("the destination's disk is full: it says so, and the tree runs here") as work, Target(work, megabytes=64) as target, Destination(work, disk="20m") as destination:
        said = migrate(target, work, code=1)
        assert "the other side says" in said and "No space left" in said, said
        assert destination.code() == 1 and destination.rest() == []
        target.verify()


def nonsense():
    with case("other ends that talk nonsense are refused") as work, Target(work) as target:
        for answer in (b"", b"x" * 8, struct.pack("<II", HELLO, 2), struct.pack("<III", HELLO, 1, GO), struct.pack("<II", FAILED, 1 << 30), struct.pack("<II", FAILED, 4) + b"\x1b[2J"):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                def serve():
                    peer, _ = listener.accept()
                    with peer, contextlib.suppress(OSError):
                        peer.sendall(answer)
                        peer.shutdown(socket.SHUT_WR)
                        while peer.recv(65536):
                            pass

                thread = threading.Thread(target=serve)
                thread.start()
                said = migrate(target, work, code=1, host="127.0.0.1", port=listener.getsockname()[1])
                assert "Bug" not in said and "\x1b" not in said, said
                thread.join(LIMIT)
            target.verify()
    head = struct.pack("<II", HELLO, 1)
    stream = b"CRIUSTRM" + struct.pack("<II", 1, 0) + bytes(32)
    for name, words in (("nothing", b""), ("noise", b"y" * 100), ("another version", struct.pack("<II", HELLO, 9)), ("a word that is none", head + struct.pack("<I", 99)), ("no stream", head + struct.pack("<I", LAST) + b"z" * 64), ("a stream that is cut", head + struct.pack("<I", ROUND) + stream), ("an empty last round", head + struct.pack("<I", LAST) + stream + struct.pack("<IIIIQ", 4, 0, 0, 0, 0)), ("a file outside", head + struct.pack("<I", LAST) + stream + struct.pack("<IIIIQ", 1, 7, 0, 0, 0) + b"../evil")):
        with case(f"criu receive is told {name}: refused, and nothing stays") as work, Destination(work) as destination:
            with socket.create_connection((THERE, PORT)) as peer:
                with contextlib.suppress(ConnectionError):
                    peer.sendall(words)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(4096):
                        pass
            assert destination.code() == 1 and destination.rest() == [] and "Bug" not in destination.text(), destination.text()
            assert not (destination.images / "evil").exists()


def main():
    if ctypes.CDLL(None).unshare(0x40000000):  # CLONE_NEWNET: the devices of this test are nobody else's
        raise OSError("unshare")
    run("ip", "link", "set", "lo", "up")
    moves()
    over_tls()
    refused()
    cuts()
    killed()
    left_over()
    full()
    nonsense()
    finish()


main()
