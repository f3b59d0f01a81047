"""What the check of the sampler needs: its tasks, their descriptors and memory, and a list of what is wrong."""

import ctypes
import fcntl
import os
import pathlib
import re
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "zdtm"))
from runner import kernel  # pylint: disable=wrong-import-position

ROOT, ZOMBIE, LEADER, STOPPED, MEMBER = 883, 887, 888, 889, 890
WORKERS = (885, 886)
MASTER, SLAVE = 42, 43  # in LEADER and MEMBER
_libc = ctypes.CDLL(None, use_errno=True)
F_SEAL_GROW, F_GET_SEALS, F_GETPIPE_SZ = 4, 1034, 1032


class Check:
    """Collects what is wrong. `gone` are the descriptors that could not be restored yet."""

    def __init__(self, home, gone):
        self.work, self.gone = home / "work", gone
        self.wrong, self.count = [], 0
        self.udp_port = 0  # that the kernel had given to fd 38

    def equal(self, what, found, wanted):
        self.count += 1
        if found != wanted:
            self.wrong.append(f"{what}: {found!r} instead of {wanted!r}")

    def has(self, what, text, pattern):
        self.count += 1
        if not re.search(pattern, text, re.M):
            self.wrong.append(f"{what}: no {pattern!r} in {text!r}")


def descriptor(number, pid=ROOT):
    """A descriptor of ours that shares the description."""
    task = os.pidfd_open(pid)
    fd = _libc.syscall(438, task, number, 0)  # pidfd_getfd
    os.close(task)
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"descriptor {number} of {pid}")
    return fd


def read_available(fd, size=4096):
    """What waits in it, without ever blocking; our description is the task's: its flags are put back."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return b""
    finally:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)


def own_socket(number):
    """The socket behind a number."""
    return socket.socket(fileno=descriptor(number))


def text(path):
    """A file of /proc."""
    return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")


def fdinfo(number, pid=ROOT):
    """What the kernel tells about a descriptor."""
    return text(f"/proc/{pid}/fdinfo/{number}")


def wait_until(condition):
    """Whether it comes true within five seconds."""
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def stat(pid):
    """Fields of /proc/PID/stat from the state on; "-" for one that is gone."""
    try:
        return text(f"/proc/{pid}/stat").rpartition(") ")[2].split()
    except OSError:
        return "-"


def memory(pid, address, size):
    """Bytes of a task's memory."""
    with open(f"/proc/{pid}/mem", "rb") as file:
        file.seek(address)
        return file.read(size)
