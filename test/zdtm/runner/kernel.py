"""System calls that Python 3.11 has no function for."""

import ctypes
import errno
import fcntl
import os
import socket
import struct

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWNET = 0x40000000
CLONE_NEWPID = 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MOUNT_ATTR_RDONLY = 1
SYS_KCMP = 312
SYS_MOUNT_SETATTR = 442
SYS_GET_ROBUST_LIST = 274
SYS_IOPRIO_GET = 252
KCMP_KINDS = {"file": 0, "vm": 1, "files": 2, "fs": 3, "sighand": 4, "sysvsem": 6}


def _check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags):
    """unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd):
    """setns(2)."""
    _check(_libc.setns(fd, 0), "setns")


def mount(source, target, kind, flags, data=None):
    """mount(2)."""
    encode = lambda text: text.encode() if text else None
    result = _libc.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data))
    _check(result, f"mount {target}")


def set_read_only(target):
    """mount_setattr(2): this mount alone, with its other flags as they are."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    _check(_libc.syscall(SYS_MOUNT_SETATTR, -100, target.encode(), 0, attributes, len(attributes)), f"mount_setattr {target}")


def unmount(target):
    """umount(2), even if something is still open there."""
    _check(_libc.umount2(target.encode(), 2), f"umount {target}")


def prctl(option, value):
    """prctl(2) with one argument."""
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl")


def loopback_up():
    """Sets the loopback interface of the current network namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, 0x8913, request))[1]  # SIOCGIFFLAGS
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", flags | 1))  # SIOCSIFFLAGS, IFF_UP


def kcmp(pid1, pid2, kind, index1=0, index2=0):
    """True if both tasks share the resource; None if the kernel cannot say."""
    result = _libc.syscall(SYS_KCMP, pid1, pid2, KCMP_KINDS[kind], ctypes.c_ulong(index1), ctypes.c_ulong(index2))
    return None if result < 0 else result == 0


def robust_list(tid):
    """Address of the thread's robust futex list."""
    head, length = ctypes.c_void_p(), ctypes.c_size_t()
    if _libc.syscall(SYS_GET_ROBUST_LIST, tid, ctypes.byref(head), ctypes.byref(length)) < 0:
        return errno.errorcode.get(ctypes.get_errno(), "?")
    return hex(head.value or 0)


def ioprio(tid):
    """I/O priority word of the thread."""
    return _libc.syscall(SYS_IOPRIO_GET, 1, tid)
