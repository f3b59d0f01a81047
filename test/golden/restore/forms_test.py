#!/usr/bin/env python3
"""Restores images that CRIU 4.2 wrote of forms.c, a program of the forms in which it writes what we write otherwise: stopped
tasks, terminals, leases, shared huge pages, one filter for all threads, options of UDP, sockets in the order it needs.

usage: forms_test.py CRIU
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "zdtm")]

from facts import descriptor, fdinfo, read_available, stat, text, wait_until  # pylint: disable=wrong-import-position
from images import Images  # pylint: disable=wrong-import-position
from runner import isolate, provide  # pylint: disable=wrong-import-position

CRIU = os.path.abspath(sys.argv[1])
SETS = ("forms-nft", "forms-ipt")
SKIPPED = 77
ROOT, CLIENT, TERMINAL_STOP, STOP, BATCH, FIFO, LEADER, THREAD = 701, 703, 704, 705, 706, 707, 708, 709
SCHED_FIFO, SCHED_BATCH, RESET_ON_FORK = 1, 3, 0x40000000
IP_FREEBIND, IP_TTL, IPV6_FREEBIND, IPV6_RECVPKTINFO = 15, 2, 78, 49


class Forms:
    """Facts of the restored tree; collects what is wrong."""

    def __init__(self):
        self.wrong = []

    def equal(self, what, found, wanted):
        """A value."""
        if found != wanted:
            self.wrong.append(f"{what}: {found!r} instead of {wanted!r}")

    def look(self):
        """All of it."""
        for pid, state, group, session in ((ROOT, "S", ROOT, ROOT), (CLIENT, "S", ROOT, ROOT), (TERMINAL_STOP, "T", TERMINAL_STOP, ROOT),
                                           (STOP, "T", ROOT, ROOT), (BATCH, "S", ROOT, ROOT), (FIFO, "S", ROOT, ROOT),
                                           (LEADER, "S", LEADER, LEADER)):
            wait_until(lambda pid=pid, state=state: stat(pid)[0] == state)
            fields = stat(pid)
            self.equal(f"state, group, session of {pid}", (fields[0], int(fields[2]), int(fields[3])), (state, group, session))
        self.equal("threads", sorted(map(int, os.listdir(f"/proc/{ROOT}/task"))), [ROOT, THREAD])
        self.equal("policies", [os.sched_getscheduler(pid) for pid in (BATCH, FIFO)], [SCHED_BATCH | RESET_ON_FORK, SCHED_FIFO])
        self.equal("priority", os.sched_getparam(FIFO).sched_priority, 7)
        self.equal("controlling terminal", (int(stat(LEADER)[4]), int(stat(LEADER)[5])), (136 << 8, LEADER))
        for tid in (ROOT, THREAD):
            self.equal(f"sandbox of {tid}", re.findall(r"^(?:NoNewPrivs|Seccomp|Seccomp_filters):\t(\d)", text(f"/proc/{ROOT}/task/{tid}/status"), re.M),
                       ["1", "2", "1"])
        self.look_at_files()
        self.look_at_sockets()

    def numbers(self, end):
        """Descriptors of the root task on a file."""
        found = []
        for name in os.listdir(f"/proc/{ROOT}/fd"):
            target = os.readlink(f"/proc/{ROOT}/fd/{name}")
            if target.endswith(end):
                found.append(int(name))
        return sorted(found)

    def look_at_files(self):
        """Leases, locks, huge pages."""
        for name, pattern in (("lease-r", r"LEASE +ACTIVE +READ"), ("lease-w", r"LEASE +ACTIVE +WRITE"), ("/flock", r"FLOCK +ADVISORY +READ"),
                              ("/posix", r"POSIX +ADVISORY +WRITE .* 2 4$"), ("/ofd", r"OFDLCK +ADVISORY +READ .* 8 EOF$")):
            info = fdinfo(self.numbers(name)[0], ROOT)
            if not re.search(pattern, info, re.M):
                self.wrong.append(f"{name}: no {pattern!r} in {info!r}")
        maps = [line.split() for line in text(f"/proc/{ROOT}/maps").split("\n") if "anon_hugepage" in line]
        self.equal("shared huge pages", [words[1] for words in maps], ["rw-s"])
        start = int(maps[0][0].split("-")[0], 16)
        with open(f"/proc/{ROOT}/mem", "rb") as file:
            file.seek(start)
            self.equal("their contents", file.read(2), b"\0\5")
        blob = descriptor(self.numbers("/memfd:huge (deleted)")[0], ROOT)
        self.equal("memfd of huge pages", (os.fstat(blob).st_size, os.fstat(blob).st_blksize), (2 << 20, 2 << 20))

    def look_at_sockets(self):
        """What waits in them, and options."""
        waiting, options = [], set()
        for number in range(3, 40):
            try:
                sock = socket.socket(fileno=descriptor(number, ROOT))
            except OSError:
                continue
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                continue
            if sock.type == socket.SOCK_DGRAM and sock.family == socket.AF_INET6:
                options.add(("v6", sock.getsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND), sock.getsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO)))
            elif sock.type == socket.SOCK_DGRAM and sock.family == socket.AF_INET:
                options.add(("v4", sock.getsockopt(socket.IPPROTO_IP, IP_FREEBIND), sock.getsockopt(socket.IPPROTO_IP, IP_TTL)))
            try:
                while data := sock.recv(99, socket.MSG_DONTWAIT):
                    waiting.append(data)
            except (BlockingIOError, ConnectionResetError):
                pass
        self.equal("options", sorted(options), [("v4", 1, 33), ("v6", 1, 1)])
        self.equal("data", sorted(waiting), sorted([b"to server", b"to client", b"first", b"second", b"queued", b"in flight"]))
        master = self.numbers("/ptmx")[0]
        slave = self.numbers("/dev/pts/0")[0]
        self.equal("terminal", (read_available(descriptor(slave, ROOT)), read_available(descriptor(master, ROOT))), (b"pending\n", b"pending\r\n"))


def run(home, name):
    """One set; returns the worker's result as text."""
    images = Images(CRIU, HERE.parent / "baseline" / name, home / "images")
    old, new = f"/srv/golden/{name}", home / "work"
    new.mkdir()
    built = subprocess.run(["gcc", "-O1", "-static", "-w", "-o", new / "forms", HERE.parent / "baseline/forms.c"], capture_output=True,
                           text=True, check=False)
    if built.returncode:
        return json.dumps({"status": "skip", "reason": f"forms.c does not build: {built.stderr[-200:]}"})
    notes = subprocess.run(["readelf", "-n", new / "forms"], capture_output=True, text=True, check=False).stdout
    if images.build_id() not in notes:
        return json.dumps({"status": "skip", "reason": "Debian 12's gcc and libc: forms.c becomes another program here"})
    for file in ("lease-r", "lease-w", "flock", "posix", "ofd"):
        (new / file).touch(0o644)
    for file in ("stream", "dgram"):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(new / file))
        (new / file).unlink()
    images.edit("files.img", lambda entries: json.loads(json.dumps(entries).replace(old, str(new))))

    def inside():
        done = subprocess.run([CRIU, "restore", "-d", "--tcp-established", "--file-locks", "--lower-limits", "-D", images.folder], capture_output=True,
                              text=True, check=False)
        forms = Forms()
        if done.returncode:
            forms.wrong.append(done.stderr)
        else:
            again = home / "again"
            again.mkdir()
            dumped = subprocess.run([CRIU, "dump", "-t", str(ROOT), "--leave-running", "--tcp-established", "--file-locks", "-D", again],
                                    capture_output=True, text=True, check=False)
            forms.equal("dump", (dumped.returncode, dumped.stderr), (0, ""))
            forms.look()
            for pid in (LEADER, FIFO, BATCH, STOP, TERMINAL_STOP, CLIENT, ROOT):
                os.kill(pid, signal.SIGKILL)
        return {"status": "fail" if forms.wrong else "pass", "reason": "\n".join(forms.wrong)}

    worker, channel = isolate.start(inside, False)
    with os.fdopen(channel) as file:
        result = file.read()
    os.waitpid(worker, 0)
    return result


def main():
    if os.geteuid() != 0:
        print("skipped: needs root")
        return SKIPPED
    failed = 0
    with provide.provided({"hugetlb"}):
        for name in SETS:
            with tempfile.TemporaryDirectory(prefix="criu-golden-") as home:
                result = json.loads(run(pathlib.Path(home), name) or "{}")
            if result.get("status") == "skip":
                print(f"skip golden {name}: {result['reason']}")
            else:
                passed = result.get("status") == "pass"
                failed |= not passed
                print(f"ok golden {name}" if passed else f"not ok golden {name}\n{result.get('reason', 'the worker has ended')}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
