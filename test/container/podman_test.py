#!/usr/bin/env python3
"""Containers of podman: checkpoint, restore, archives that are restored under other names.

usage: podman_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root, podman, runc and busybox (static), no network. Podman's storage, its state
and its locks lie in a folder of the test; its control groups lie below one of the test's, which goes at the end.
"""
import os
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
from engines import Rootfs, Witness, engine_path, main  # noqa: E402
from steps import check, wait_for  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])
IMAGE = "localhost/criu-test:1"
COUNT = "i=0; while :; do i=$((i + 1)); echo $i $(cat /kept 2>/dev/null); echo $i > /tmp/log; sleep 0.05; done"
CONNECTED = "nc -ll -p 7000 -e /bin/cat & sleep 0.2; i=0; while :; do i=$((i + 1)); echo $i; sleep 0.05; done | nc 127.0.0.1 7000"

# Locks in files: those in /dev/shm are one for all podmans of a machine. Limits that nobody needs a capability for.
SETTINGS = """
[engine]
lock_type = "file"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
"""


class Podman:
    def __init__(self, folder):
        self.folder = folder
        (folder / "containers.conf").write_text(SETTINGS)
        self.group = f"/criu-test-podman-{os.getpid()}"
        self.environment = {**os.environ, "PATH": engine_path(folder, CRIU), "CONTAINERS_CONF": str(folder / "containers.conf")}
        self.options = ["--root", folder / "storage", "--runroot", folder / "run", "--tmpdir", folder / "state", "--runtime",
                        "/usr/sbin/runc", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        rootfs = Rootfs(folder / "rootfs")
        subprocess.run(["tar", "-C", rootfs.path, "-cf", folder / "rootfs.tar", "."], check=True)
        self.must("import", folder / "rootfs.tar", IMAGE)

    def run(self, *words):
        done = subprocess.run([str(word) for word in ["podman", *self.options, *words]], text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment, timeout=60)
        return done.returncode, done.stdout

    def must(self, *words):
        status, output = self.run(*words)
        check(status == 0, f"podman {' '.join(map(str, words))}: {status}: {output.strip()}{self.errors()}")
        return output

    def errors(self):
        """What criu has said about it."""
        logs = [*self.folder.glob("*/*/*/userdata/dump.log"), *self.folder.glob("*/*/*/userdata/restore.log")]
        return "".join(f"\n{log.name}: {line}" for log in logs for line in log.read_text().splitlines() if "Error" in line or "Hint" in line)

    def start(self, name, *options, program=COUNT):
        network = () if "--network" in options else ("--network", "none")
        self.must("run", "-d", "--name", name, "--cgroup-parent", self.group, *network, *options, IMAGE, "/bin/sh", "-c", program)
        return self.grows(name)

    def last(self, name):
        lines = self.run("logs", "--tail", "1", name)[1].split("\n")
        return lines[0].strip()

    def grows(self, name):
        """The program goes on: its next line of output."""
        before = self.last(name)
        return wait_for(lambda: (line := self.last(name)) != before and line, f"{name} goes on")

    def checkpoint(self, name, *options):
        return self.must("container", "checkpoint", *options, name)

    def restore(self, *words):
        return self.must("container", "restore", *words)

    def end(self):
        self.run("rm", "-f", "-t", "0", "--all")
        wait_for(lambda: not [pid for pid in os.listdir("/proc") if pid.isdigit() and self.is_ours(pid)], "podman's helpers end")

    def is_ours(self, pid):
        try:
            return str(self.folder) in pathlib.Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            return False


def number(line):
    return int(line.split()[0])


def in_place(podman):
    """checkpoint and restore, twice; a checkpoint that leaves it running, one that is kept; figures of both."""
    podman.start("plain", "--tmpfs", "/scratch", "--volume", f"{podman.folder / 'rootfs'}:/outside:ro", "--read-only")
    for _ in range(2):
        podman.checkpoint("plain")
        stopped = number(podman.last("plain"))
        podman.restore("plain")
        check(number(podman.grows("plain")) > stopped, "it has begun anew")
    podman.checkpoint("plain", "--leave-running")
    podman.grows("plain")
    for figures in (podman.checkpoint("plain", "--print-stats", "--keep"), podman.restore("plain", "--print-stats", "--keep")):
        check("criu_statistics" in figures and "pages_" in figures, f"figures: {figures}")


def clones(podman):
    """One archive, restored under three other names at the same time, while the original runs on."""
    podman.start("original")
    podman.must("exec", "original", "/bin/sh", "-c", "echo kept > /kept; echo memory > /dev/shm/kept")
    wait_for(lambda: podman.last("original").endswith("kept"), "the file is seen")
    archive = podman.folder / "archive.tar"
    podman.checkpoint("original", "--leave-running", "--export", archive)
    for name in ("one", "two", "three"):
        podman.restore("--import", archive, "--name", name)
    for name in ("one", "two", "three", "original"):
        check(podman.grows(name).endswith("kept"), f"{name}: its file system has lost a file")
        check(podman.must("exec", name, "/bin/cat", "/dev/shm/kept").strip() == "memory", f"{name}: /dev/shm is another")
    podman.must("rm", "-f", "-t", "0", "original")
    podman.restore("--import", archive)
    podman.grows("original")


def ahead(podman):
    """A checkpoint whose memory was saved ahead."""
    podman.start("ahead")
    podman.checkpoint("ahead", "--pre-checkpoint")
    podman.grows("ahead")
    podman.checkpoint("ahead", "--with-previous")
    podman.restore("ahead")
    podman.grows("ahead")


SHARED = {"network": "host", "pid": "host", "uts": "host"}


def shared(podman):
    """Namespaces that are the host's stay the host's."""
    for kind, value in SHARED.items():
        name = f"shares-{kind}"
        podman.start(name, f"--{kind}={value}" if kind != "network" else "--network", *([value] if kind == "network" else []))
        podman.checkpoint(name)
        podman.restore(name)
        podman.grows(name)
        pid = podman.must("inspect", "-f", "{{.State.Pid}}", name).strip()
        kernel_name = {"network": "net"}.get(kind, kind)
        check(os.readlink(f"/proc/{pid}/ns/{kernel_name}") == os.readlink(f"/proc/self/ns/{kernel_name}"), f"{kind} is another")
        podman.must("rm", "-f", "-t", "0", name)


def limits(podman):
    """Limits of control groups come back, with a container that may do everything."""
    def groups():
        """Of the hierarchies that podman knows: others may come and go."""
        pid = podman.must("inspect", "-f", "{{.State.Pid}}", "limited").strip()
        return sorted(line.split(":", 1)[1] for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines() if podman.group in line)

    podman.start("limited", "--memory", "64m", "--pids-limit", "50", "--privileged")
    before = groups()
    podman.checkpoint("limited")
    podman.restore("limited")
    podman.grows("limited")
    check(before and groups() == before, f"groups: {groups()}, {before} before")


def own_groups(podman):
    """A cgroup namespace of its own: the container sees its group as the root, also through its mounts."""
    podman.start("grouped", "--cgroupns", "private")

    def look():
        """The order of mounts is not kept."""
        script = "cat /proc/1/cgroup; grep cgroup /proc/self/mountinfo | cut -d ' ' -f 4-"
        return sorted(podman.must("exec", "grouped", "/bin/sh", "-c", script).splitlines())

    before = look()
    check("0::/" in before and podman.group not in str(before), f"the root is not its own: {before}")
    podman.checkpoint("grouped")
    podman.restore("grouped")
    podman.grows("grouped")
    check(look() == before, f"it sees {look()}, {before} before")
    pid = podman.must("inspect", "-f", "{{.State.Pid}}", "grouped").strip()
    check(os.readlink(f"/proc/{pid}/ns/cgroup") != os.readlink("/proc/self/ns/cgroup"), "its cgroup namespace is ours")


def terminal(podman):
    """A terminal, whose master podman gets anew, and which is mounted on /dev/console."""
    podman.start("terminal", "-t", program="i=0; while :; do i=$((i + 1)); echo $i $(tty) $(tty < /dev/console); sleep 0.05; done")
    for _ in range(2):
        podman.checkpoint("terminal")
        podman.restore("terminal")
        line = podman.grows("terminal")
        check(line.split()[1:] == ["/dev/pts/0", "/dev/console"], f"the program says {line}")


def connection(podman):
    """A connection of the container to itself: nobody but criu brings the loopback device up again."""
    podman.start("connected", program=CONNECTED)
    for _ in range(2):
        podman.checkpoint("connected", "--tcp-established")
        podman.restore("connected", "--tcp-established")
        podman.grows("connected")


def refusal(podman):
    """What cannot be saved leaves the container running, and its log says why."""
    podman.start("connected", program=CONNECTED)
    status, _ = podman.run("container", "checkpoint", "connected")
    check(status != 0, "a checkpoint without --tcp-established takes a connection")
    check("--tcp-established" in podman.errors(), f"no word of the option that helps: {podman.errors()}")
    podman.grows("connected")


TESTS = {"checkpoint and restore": in_place, "clones of an archive": clones, "memory saved ahead": ahead, "shared namespaces": shared,
         "limits": limits, "cgroup namespace": own_groups, "terminal": terminal, "own connection": connection, "refusal": refusal}


def with_podman(test):
    def tried(path):
        with Witness() as witness:
            podman = Podman(path)
            try:
                test(podman)
            finally:
                podman.end()
                witness.remove_groups(podman.group, ["conmon"])
    return tried


if __name__ == "__main__":
    sys.exit(main("podman", {name: with_podman(test) for name, test in TESTS.items()}, ["/usr/bin/podman", "/usr/sbin/runc", "/bin/busybox"],
                  "the packages podman, runc and busybox-static"))
