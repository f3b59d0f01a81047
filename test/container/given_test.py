#!/usr/bin/env python3
"""Namespaces that the caller keeps: external ones (--external net[], pid[] and --inherit-fd), and joined ones (--join-ns).

usage: given_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root and iproute2. The namespaces are those of a "pod": a process that sleeps
in them and ends with the test.
"""
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from steps import Failure, check, must, run, wait_for  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])

# Echoes lines over TCP, one connection at a time; FOLDER/up says that it listens.
SERVER = """
import os, socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("10.5.0.1", 7700))
listener.listen()
open(sys.argv[1] + "/up", "w").close()
while True:
    connection, _ = listener.accept()
    while line := connection.recv(100):
        connection.send(line)
"""


def number_of(pid, kind):
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


class Pod:
    """Net, pid and uts namespaces with a process that sleeps in them."""

    def __init__(self):
        script = "hostname pod; ip link set lo up; ip addr add 10.5.0.1/24 dev lo; exec sleep 1000"
        self.starter = subprocess.Popen(["unshare", "-n", "-u", "-p", "-f", "--kill-child", "/bin/sh", "-ec", script],
                                        stdin=subprocess.DEVNULL)
        children = pathlib.Path(f"/proc/{self.starter.pid}/task/{self.starter.pid}/children")
        wait_for(lambda: children.read_text().split(), "the pod starts")
        self.pid = int(children.read_text().split()[0])
        wait_for(lambda: pathlib.Path(f"/proc/{self.pid}/comm").read_text().strip() == "sleep", "the pod is set up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.starter.kill()
        self.starter.wait()

    def open(self, kind):
        return os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY)

    def connect(self):
        """A connection to the server, from a socket of the pod's."""
        home, there = os.open("/proc/self/ns/net", os.O_RDONLY), self.open("net")
        libc = __import__("ctypes").CDLL(None)
        check(libc.setns(there, 0) == 0, "cannot enter the pod")
        try:
            return socket.create_connection(("10.5.0.1", 7700), timeout=10)
        finally:
            libc.setns(home, 0)
            os.close(home)
            os.close(there)


def start(folder, *words):
    """A session leader with the words as its program. Returns its process."""
    return subprocess.Popen(["setsid", *map(str, words)], cwd=folder, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def restore(images, *options, descriptors=()):
    done = subprocess.run([CRIU, "restore", "-d", "-D", str(images), "--pidfile", f"{images}/pid", *map(str, options)],
                          pass_fds=descriptors, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def read_pid(images):
    file = pathlib.Path(images, "pid")
    return int(file.read_text()) if file.exists() else None


def end(pid):
    if pid:
        run("kill", "-9", pid)


def talks(connection):
    connection.settimeout(10)
    connection.send(b"hello\n")
    return connection.recv(100) == b"hello\n"


def network(folder):
    """A server in the pod's network: its connection goes on, nothing of the network is touched."""
    images, pid = folder / "images", None
    with Pod() as pod:
        server = start(folder, "nsenter", "-n", "-t", pod.pid, "/usr/bin/python3", "-c", SERVER, folder)
        try:
            wait_for((folder / "up").exists, "the server starts")
            with pod.connect() as connection:
                check(talks(connection), "the server does not answer")
                before = must("nsenter", "-n", "-t", pod.pid, "ip", "-o", "addr")
                must(CRIU, "dump", "-t", server.pid, "-D", images, "--tcp-established", "--external", f"net[{number_of(pod.pid, 'net')}]:pod")
                server.wait()
                check(not list(images.glob("netdev-*")), "the pod's network was saved")
                status, output = restore(images, "--tcp-established")
                check(status != 0 and "Unable to find an external net namespace: pod" in output, output)
                fd = pod.open("net")
                status, output = restore(images, "--tcp-established", "--inherit-fd", f"fd[{fd}]:pod", descriptors=(fd,))
                os.close(fd)
                check(status == 0, output)
                pid = read_pid(images)
                check(number_of(pid, "net") == number_of(pod.pid, "net"), "it lives in another network")
                check(talks(connection), "the connection has ended")
                check(must("nsenter", "-n", "-t", pod.pid, "ip", "-o", "addr") == before, "the pod's addresses have changed")
                check("CRIU" not in must("nsenter", "-n", "-t", pod.pid, "nft", "list", "ruleset"), "the pod's network is locked")
        finally:
            server.kill()
            end(pid)


def wrong_kind(folder):
    """What --inherit-fd and --join-ns give has to be a namespace of that kind."""
    images = folder / "images"
    with Pod() as pod:
        tree = start(folder, "nsenter", "-n", "-t", pod.pid, "sleep", "1000")
        wait_for(lambda: pathlib.Path(f"/proc/{tree.pid}/comm").read_text().strip() == "sleep", "the tree starts")
        must(CRIU, "dump", "-t", tree.pid, "-D", images, "--external", f"net[{number_of(pod.pid, 'net')}]:pod")
        tree.wait()
        fd = pod.open("uts")
        status, output = restore(images, "--inherit-fd", f"fd[{fd}]:pod", descriptors=(fd,))
        os.close(fd)
        check(status != 0 and "is not a net namespace" in output, output)
        status, output = restore(images, "--join-ns", f"net:/proc/{pod.pid}/ns/uts")
        check(status != 0, output)


def pids(folder):
    """A process that somebody has put into the pod's pid namespace, whose init is not of the tree."""
    images, pid = folder / "images", None
    with Pod() as pod:
        starter = start(folder, "nsenter", "-p", "-t", pod.pid, "setsid", "sleep", "1000")
        children = pathlib.Path(f"/proc/{starter.pid}/task/{starter.pid}/children")
        wait_for(lambda: children.read_text().split(), "the process starts")
        tree = int(children.read_text().split()[0])
        wait_for(lambda: pathlib.Path(f"/proc/{tree}/comm").read_text().strip() == "sleep", "the process is set up")
        try:
            inner = [line.split()[-1] for line in pathlib.Path(f"/proc/{tree}/status").read_text().splitlines() if line.startswith("NSpid")]
            status, output = run(CRIU, "dump", "-t", tree, "-D", images)
            check(status != 0 and "--external" in output, f"a namespace whose init is outside: {output}")
            must(CRIU, "dump", "-t", tree, "-D", images, "--external", f"pid[{number_of(pod.pid, 'pid')}]:pids")
            starter.wait()
            fd = pod.open("pid")
            status, output = restore(images, "--inherit-fd", f"fd[{fd}]:pids", descriptors=(fd,))
            os.close(fd)
            check(status == 0, output)
            pid = read_pid(images)
            check(number_of(pid, "pid") == number_of(pod.pid, "pid"), "it lives in another pid namespace")
            now = [line.split()[-1] for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid")]
            check(now == inner, f"it has the pid {now} there, not {inner}")
        finally:
            starter.kill()
            end(pid)


def joined(folder):
    """A tree with a network and a host name of its own comes back in the pod's."""
    images, pid = folder / "images", None
    with Pod() as pod:
        tree = start(folder, "unshare", "-n", "-u", "/bin/sh", "-c", "hostname own; exec sleep 1000")
        wait_for(lambda: pathlib.Path(f"/proc/{tree.pid}/comm").read_text().strip() == "sleep", "the tree starts")
        must(CRIU, "dump", "-t", tree.pid, "-D", images)
        tree.wait()
        status, output = restore(images, "--join-ns", f"net:{pod.pid}", "--join-ns", f"uts:/proc/{pod.pid}/ns/uts")
        check(status == 0, output)
        pid = read_pid(images)
        try:
            for kind in ("net", "uts"):
                check(number_of(pid, kind) == number_of(pod.pid, kind), f"it lives in another {kind} namespace")
            check(must("nsenter", "-u", "-t", pod.pid, "hostname").strip() == "pod", "the pod's host name has changed")
            check("10.5.0.1" in must("nsenter", "-n", "-t", pod.pid, "ip", "addr"), "the pod's address is gone")
        finally:
            end(pid)


def joined_from_outside(folder):
    """A tree that lived where the tool does comes back in the pod's network."""
    images, pid = folder / "images", None
    with Pod() as pod:
        tree = start(folder, "sleep", "1000")
        wait_for(lambda: pathlib.Path(f"/proc/{tree.pid}/comm").read_text().strip() == "sleep", "the tree starts")
        must(CRIU, "dump", "-t", tree.pid, "-D", images)
        tree.wait()
        status, output = restore(images, "--join-ns", f"net:{pod.pid}")
        check(status == 0, output)
        pid = read_pid(images)
        check(number_of(pid, "net") == number_of(pod.pid, "net"), "it lives in another network")
        end(pid)


def main():
    failed = 0
    for test in (network, wrong_kind, pids, joined, joined_from_outside):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "images").mkdir()
            try:
                test(folder)
                print(f"ok {test.__name__}")
            except (Failure, OSError, subprocess.SubprocessError) as error:
                failed += 1
                print(f"not ok {test.__name__}: {error}")
    return 1 if failed else 0


sys.exit(main())
