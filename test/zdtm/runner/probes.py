"""Features that a test may need. Each probe returns None, or the reason why the feature is missing here."""

import ctypes
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile

_libc = ctypes.CDLL(None, use_errno=True)
_REQUIRED_KERNELS = {
    "io_uring_no_mmap": (6, 5, "restoring an io_uring"),
    "guard_pages": (6, 13, "MADV_GUARD_INSTALL"),
    "mseal": (6, 10, "mseal"),
    "droppable": (6, 11, "MAP_DROPPABLE"),
    "pidfd_thread": (6, 9, "PIDFD_THREAD"),
    "mdwe": (6, 3, "PR_SET_MDWE"),
    "memory_merge": (6, 4, "PR_SET_MEMORY_MERGE"),
    "syscall_dispatch": (6, 4, "PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG"),
    "eventfd_semaphore": (6, 5, "eventfd-semaphore in fdinfo"),
}


def _prctl(*arguments):
    return _libc.prctl(*[ctypes.c_ulong(value) for value in arguments + (0,) * (5 - len(arguments))])


def anon_names():
    """Names of anonymous mappings."""
    size = 4096
    _libc.mmap.restype = ctypes.c_void_p
    page = _libc.mmap(None, ctypes.c_size_t(size), 3, 0x22, -1, 0)
    result = _libc.prctl(0x53564D41, ctypes.c_ulong(0), ctypes.c_void_p(page), ctypes.c_ulong(size), b"probe")
    _libc.munmap(ctypes.c_void_p(page), ctypes.c_size_t(size))
    return None if result == 0 else "the kernel has no CONFIG_ANON_VMA_NAME"


def hugetlb():
    """Huge pages that can be reserved."""
    pages = pathlib.Path("/proc/sys/vm/nr_hugepages")
    if not pages.exists():
        return "the kernel has no hugetlb"
    free = int(pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
    return None if free >= 8 else f"{free} free huge pages of 2 MiB, 8 needed: more free memory in one piece"


def thp():
    """Transparent huge pages on request."""
    path = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return None if path.exists() and "[never]" not in path.read_text() else "transparent huge pages are off"


def ksm():
    """Kernel same-page merging."""
    return None if pathlib.Path("/sys/kernel/mm/ksm").exists() else "the kernel has no KSM"


def pkeys():
    """Memory protection keys."""
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    return None if " ospke" in flags else "the CPU has no protection keys"


def avx():
    """AVX registers."""
    return None if " avx " in pathlib.Path("/proc/cpuinfo").read_text() else "the CPU has no AVX"


def avx512():
    """AVX-512 registers."""
    return None if " avx512f" in pathlib.Path("/proc/cpuinfo").read_text() else "the CPU has no AVX-512"


def two_cpus():
    """More than one processor."""
    return None if os.cpu_count() > 1 else "one processor only"


def io_flusher():
    """PR_SET_IO_FLUSHER."""
    if _prctl(57, 1) < 0:
        return "PR_SET_IO_FLUSHER is not permitted (CAP_SYS_RESOURCE)"
    _prctl(57, 0)
    return None


def x86_64():
    """An x86-64 processor."""
    return None if platform.machine() == "x86_64" else "not x86-64"


def programs_of_32_bits():
    """A compiler that makes 32-bit programs, and a kernel that runs them."""
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "program"
        made = subprocess.run(["gcc", "-m32", "-xc", "-", "-o", program], input=b"int main(void) { return 0; }", capture_output=True)
        if made.returncode:
            return "gcc makes no 32-bit programs: install gcc-multilib and libc6-dev-i386"
        try:
            return None if subprocess.run([program], check=False).returncode == 0 else "the kernel runs no 32-bit programs"
        except OSError as error:
            return f"the kernel runs no 32-bit programs: {error.strerror}"


def loginuid():
    """A login uid that can be set."""
    return None if pathlib.Path("/proc/self/loginuid").exists() else "the kernel has no login uids"


def tcp_repair():
    """TCP_REPAIR."""
    import socket

    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, 19, 1)
        except OSError as error:
            return f"TCP_REPAIR: {error.strerror}"
    return None


def ipv6():
    """IPv6 on loopback."""
    return None if pathlib.Path("/proc/net/if_inet6").exists() else "no IPv6"


def udplite():
    """UDP-Lite, which newer kernels have no more."""
    import socket

    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136).close()
    except OSError as error:
        return f"UDP-Lite: {error.strerror}"
    return None


def mptcp():
    """Multipath TCP."""
    import socket

    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
    except OSError as error:
        return f"MPTCP: {error.strerror}"
    return None


def memfd_secret():
    """Secret memory."""
    descriptor = _libc.syscall(447, 0)
    if descriptor < 0:
        return f"memfd_secret: {os.strerror(ctypes.get_errno())}"
    os.close(descriptor)
    return None


def tun():
    """The tun device."""
    return None if pathlib.Path("/dev/net/tun").exists() else "no /dev/net/tun"


def _kernel(name):
    major, minor, what = _REQUIRED_KERNELS[name]
    here = tuple(int(word) for word in platform.release().split("-")[0].split(".")[:2])
    return None if here >= (major, minor) else f"{what} needs Linux {major}.{minor}"


def _command(name):
    return None if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") else f"{name} is not installed"


def missing(names):
    """Reason of the first feature that is missing, or None. Names: a probe, "command:NAME", or a path."""
    for name in names:
        if name.startswith("/"):
            if not os.path.exists(name):
                return f"there is no {name}"
            continue
        if name.startswith("command:"):
            reason = _command(name[8:])
        elif name in _REQUIRED_KERNELS:
            reason = _kernel(name)
        else:
            reason = globals()[name]()
        if reason:
            return reason
    return None
