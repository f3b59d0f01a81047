#!/usr/bin/env python3
"""Pods of podman, whose containers share namespaces, and containers on a bridge.

usage: pods_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root, podman, runc, the CNI plugins and busybox (static). All of it is done in a
network and a mount namespace of the test's own, where also what CNI writes to /var/lib and /run stays.
"""
import os
import socket
import subprocess
import sys

sys.dont_write_bytecode = True
from engines import Witness, main  # noqa: E402
from podman_test import IMAGE, Podman, number, with_podman  # noqa: E402
from steps import check, wait_for  # noqa: E402

# Whose pid namespace is shared has the dead of all containers to collect.
INFRA = ("--infra-image", IMAGE, "--infra-command", "/bin/init")
COUNT = "i=0; while :; do i=$((i + 1)); echo $i; sleep 0.05; done"
ECHO = "nc -ll -p 7000 -e /bin/cat"


class Pod:
    def __init__(self, podman, shared):
        self.podman, self.shared = podman, shared
        self.id = podman.must("pod", "create", "--name", "pod", *INFRA, "--network", "none", "--share", shared, "--cgroup-parent",
                              podman.group).strip().splitlines()[-1]

    def start(self, name, program):
        self.podman.must("run", "-d", "--name", name, "--pod", "pod", "--cgroup-parent", self.podman.group, IMAGE, "/bin/sh", "-c", program)

    def spaces(self, name):
        pid = self.podman.must("inspect", "-f", "{{.State.Pid}}", name).strip()
        return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in (*self.shared.split(","), "mnt")}

    def packet_filters(self, name):
        pid = self.podman.must("inspect", "-f", "{{.State.Pid}}", name).strip()
        return subprocess.run(["nsenter", "-n", "-t", pid, "nft", "list", "tables"], stdout=subprocess.PIPE, text=True, check=True).stdout

    def wait_for_dead(self, name):
        """Until nobody who has ended keeps a number in the pid namespace of a container."""
        pid = self.podman.must("inspect", "-f", "{{.State.Pid}}", name).strip()
        space = os.readlink(f"/proc/{pid}/ns/pid")

        def dead(process):
            try:
                with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as stat:
                    return stat.read().rpartition(")")[2].split()[0] in "ZX" and os.readlink(f"/proc/{process}/ns/pid") == space
            except OSError:
                return False
        wait_for(lambda: not any(dead(process) for process in os.listdir("/proc") if process.isdigit()), "the dead are collected")

    def take_down(self, name, *options):
        """Saved to an archive, and removed; one that a checkpoint has ended restarts from there only."""
        archive = self.podman.folder / f"{name}.tar"
        self.podman.checkpoint(name, "--export", archive, *options)
        self.podman.must("rm", name)
        return archive

    def bring_back(self, archive, *options):
        self.podman.restore("--import", archive, "--pod", self.id, *options)


def one_by_one(podman, shared="net,ipc,uts"):
    """Each is saved and comes back into what it shares, while the others run."""
    pod = Pod(podman, shared)
    pod.start("one", COUNT)
    pod.start("two", COUNT)
    podman.grows("two")
    before = pod.spaces("one")
    for name, other in (("one", "two"), ("two", "one"), ("one", "two")):
        stopped = number(podman.grows(name))
        archive = pod.take_down(name)
        podman.grows(other)
        if "pid" in shared.split(","):
            pod.wait_for_dead(other)
        pod.bring_back(archive)
        check(number(podman.grows(name)) > stopped, f"{name} has begun anew")
        podman.grows(other)
    after, others = pod.spaces("one"), pod.spaces("two")
    shares = {kind for kind in before if before[kind] == after[kind] == others[kind]}
    check(shares == set(shared.split(",")), f"shared: {shares}")


def all_numbers(podman):
    """With pid namespace: numbers are those of all containers."""
    one_by_one(podman, "net,ipc,uts,pid")


def connected(podman):
    """One of two containers that are connected is saved and comes back: the other end notices nothing, no lock stays."""
    pod = Pod(podman, "net,ipc")
    pod.start("server", ECHO)
    pod.start("client", f"sleep 0.3; ({COUNT}) | nc 127.0.0.1 7000")
    for name in ("client", "server", "client"):
        podman.grows("client")
        archive = pod.take_down(name, "--tcp-established")
        pod.bring_back(archive, "--tcp-established")
        podman.grows("client")
        check("CRIU" not in pod.packet_filters("server"), f"{name}: a lock is left")


def whole(podman):
    """All of a pod, and the pod itself, go; in a new one they come back."""
    pod = Pod(podman, "net,ipc,uts")
    pod.start("one", COUNT)
    pod.start("two", COUNT)
    stopped = {name: number(podman.grows(name)) for name in ("one", "two")}
    archives = [pod.take_down(name) for name in stopped]
    podman.must("pod", "rm", "-f", "-t", "0", "pod")
    podman.gone.append(pod.id)
    pod = Pod(podman, "net,ipc,uts")
    for archive in archives:
        pod.bring_back(archive)
    for name, before in stopped.items():
        check(number(podman.grows(name)) > before, f"{name} has begun anew")
    check(pod.spaces("one")["net"] == pod.spaces("two")["net"], "they share nothing any more")


def answers(address):
    with socket.create_connection((address, 7000), timeout=10) as connection:
        connection.sendall(b"hello\n")
        return connection.recv(6) == b"hello\n"


def bridge(podman):
    """A container on podman's bridge, and clones of it with addresses of their own: all of them answer."""
    def address(name):
        return podman.must("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name).strip()

    podman.start("original", "--network", "podman", program=f"{ECHO} & {COUNT}")
    check(wait_for(lambda: answers(address("original")), "it answers"), "never")
    archive = podman.folder / "archive.tar"
    podman.checkpoint("original", "--leave-running", "--export", archive)
    names = ["one", "two", "three"]
    for name in names:
        podman.restore("--import", archive, "--name", name)
    for name in ("original", *names):
        podman.grows(name)
        check(answers(address(name)), f"{name} does not answer at {address(name)}")
    addresses = {address(name) for name in ("original", *names)}
    check(len(addresses) == 4, f"addresses: {addresses}")
    own = address("original")
    podman.must("rm", "-f", "-t", "0", "original")
    podman.restore("--import", archive)
    check(address("original") == own and answers(own), f"it comes back at {address('original')}, was at {own}")


TESTS = {"one by one": one_by_one, "with pid namespace": all_numbers, "connected to each other": connected, "a whole pod": whole,
         "on a bridge": bridge}


def with_pods(test):
    def tried(podman):
        podman.gone = []
        try:
            test(podman)
        finally:
            pods = podman.run("pod", "ps", "-q", "--no-trunc")[1].split()
            podman.run("pod", "rm", "-f", "-t", "0", "--all")
            for pod in [*pods, *podman.gone]: # podman leaves those of a pod in some hierarchies
                Witness.remove_groups(f"{podman.group}/{pod}", ["conmon"])
    return with_podman(tried)


def apart():
    """This program again, in namespaces of its own."""
    script = 'ip link set lo up && mkdir -p /var/lib/cni /run/netns && mount -t tmpfs cni /var/lib/cni && mount -t tmpfs netns /run/netns && mount --make-shared /run/netns && exec "$@"'
    return subprocess.run(["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, *sys.argv],
                          env={**os.environ, "CRIU_TEST_APART": "yes"}).returncode


if __name__ == "__main__":
    if os.geteuid() == 0 and "CRIU_TEST_APART" not in os.environ:
        sys.exit(apart())
    sys.exit(main("pods", {name: with_pods(test) for name, test in TESTS.items()},
                  ["/usr/bin/podman", "/usr/sbin/runc", "/bin/busybox", "/usr/lib/cni/bridge", "/usr/sbin/nft"],
                  "the packages podman, runc, containernetworking-plugins, nftables and busybox-static"))
