"""The sampler's own check: everything that sampler.c has set up is there, seen from outside and through its descriptors.

look() only looks; use() reads what waits, and lets the tasks act."""

import array
import ctypes
import errno
import fcntl
import os
import pathlib
import re
import signal
import socket
import struct
import sys
import termios
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


def memory(pid, address, size):
    """Bytes of a task's memory."""
    with open(f"/proc/{pid}/mem", "rb") as file:
        file.seek(address)
        return file.read(size)


def look_at_tree(check):
    """Ids, states and names of all tasks."""
    wanted = {ROOT: ("S", ROOT, ROOT, 0), ZOMBIE: ("Z", ROOT, ROOT, 0), LEADER: ("S", LEADER, LEADER, 5),
              STOPPED: ("T", ROOT, ROOT, 0), MEMBER: ("S", MEMBER, LEADER, 5)}
    parents = {ZOMBIE: ROOT, LEADER: ROOT, STOPPED: ROOT, MEMBER: LEADER}
    for pid, facts in wanted.items():
        fields = text(f"/proc/{pid}/stat").rpartition(") ")[2].split()
        check.equal(f"state, group, session, nice of {pid}", (fields[0], int(fields[2]), int(fields[3]), int(fields[16])), facts)
        if pid in parents:
            check.equal(f"parent of {pid}", int(fields[1]), parents[pid])
    check.equal("exit code of the zombie", int(text(f"/proc/{ZOMBIE}/stat").split()[-1]), 3 << 8)
    check.equal("threads", sorted(map(int, os.listdir(f"/proc/{ROOT}/task"))), [ROOT, *WORKERS])
    for tid in WORKERS:
        check.equal(f"name of {tid}", text(f"/proc/{ROOT}/task/{tid}/comm"), "worker\n")
        # pthread_sigmask() leaves out KILL, STOP and the two of libc.
        check.has(f"mask of {tid}", text(f"/proc/{ROOT}/task/{tid}/status"), "^SigBlk:\tfffffffe7ffbfeff$")
    status = text(f"/proc/{ROOT}/status")
    for line in ("Umask:\t0027", "SigBlk:\t0000001000000800", "ShdPnd:\t0000001000000000", "SigCgt:\t0000000100000200"):
        check.has("status", status, f"^{line}$")
    check.equal("SIGPIPE is ignored", int(re.search(r"SigIgn:\t(\w+)", status)[1], 16) >> signal.SIGPIPE - 1 & 1, 1)
    check.equal("working directory", os.readlink(f"/proc/{ROOT}/cwd"), str(check.work))
    check.has("POSIX timer", text(f"/proc/{ROOT}/timers"), rf"^ID: 0\nsignal: 10/0*9\nnotify: signal/pid.{ROOT}\nClockID: 1$")


def look_at_memory(check):
    """Contents, advice and locks of the mappings."""
    for pid in (ROOT, LEADER, STOPPED, MEMBER):
        check.equal(f"private pages of {pid}", memory(pid, 0x700000000000, 1) + memory(pid, 0x700000005000, 1), b"\1\2")
        check.equal(f"shared page of {pid}", memory(pid, 0x700000100000, 7), b"shared\0")
        check.equal(f"page over a file of {pid}", memory(pid, 0x700000300000, 2), b"\0\3")
    flags = {}
    for line in text(f"/proc/{ROOT}/smaps").split("\n"):
        if head := re.match(r"([0-9a-f]+)-[0-9a-f]+ (\S+)", line):
            start, rights = int(head[1], 16), head[2]
        elif line.startswith("VmFlags:"):
            flags[start] = (rights, line.split()[1:])
    for start, rights, flag in ((0x700000000000, "rw-p", "lo"), (0x700000008000, "---p", "mr"), (0x70000000C000, "rw-p", "dc"),
                                (0x700000100000, "rw-s", "sh"), (0x700000200000, "rw-s", "sh"), (0x700000300000, "rw-p", "rd"),
                                (0x700000400000, "rw-p", "nr")):
        found = flags.get(start, ("nothing", []))
        check.equal(f"rights of {start:#x}", found[0], rights)
        check.equal(f"{flag} of {start:#x}", flag in found[1], True)


def look_at_files(check):
    """Paths, positions, flags, locks."""
    files = {3: ("plain.txt", 4, os.O_RDWR), 4: ("append.log", 4, os.O_WRONLY | os.O_APPEND), 5: ("ghost.dat (deleted)", 16, os.O_RDWR),
             6: ("linked (deleted)", 0, os.O_RDWR), 7: ("", 0, os.O_DIRECTORY), 8: ("plain.txt", 0, os.O_PATH),
             13: ("plain.txt", 0, os.O_RDWR), 14: ("plain.txt", 0, os.O_RDWR), 19: ("fifo", 0, os.O_RDWR),
             41: ("mapped.bin", 0, os.O_RDWR)}
    for pid in (ROOT, LEADER, STOPPED, MEMBER):
        for number, (name, position, flags) in files.items():
            path = str(check.work / name) if name else str(check.work)
            check.equal(f"fd {number} of {pid}", os.readlink(f"/proc/{pid}/fd/{number}"), path)
            info = fdinfo(number, pid)
            check.has(f"position of fd {number} of {pid}", info, rf"^pos:\t{position}$")
            kept = int(re.search(r"flags:\t(\d+)", info)[1], 8) & ~(0o100000 | 0o2000000)
            check.equal(f"flags of fd {number} of {pid}", kept, flags)
        check.equal(f"fd 20 of {pid} is 3", kernel.kcmp(pid, pid, "file", 3, 20), True)
        check.equal(f"fd 3 of {pid} is the root's", kernel.kcmp(ROOT, pid, "file", 3, 3), True)
        check.equal(f"fd 13 of {pid} is not 3", kernel.kcmp(pid, pid, "file", 3, 13), False)
    check.has("close-on-exec of fd 20", fdinfo(20), r"^flags:\t0?2100002$")
    check.equal("status", os.readlink(f"/proc/{ROOT}/fd/11"), f"/proc/{ROOT}/status")
    check.equal("a namespace", os.readlink(f"/proc/{ROOT}/fd/12"), os.readlink("/proc/self/ns/uts"))
    check.equal("the file with another name", os.fstat(descriptor(6)).st_ino, os.stat(check.work / "linked2").st_ino)
    check.equal("no link is left", sorted(os.listdir(check.work)),
                sorted(["append.log", "fifo", "linked2", "mapped.bin", "plain.txt", "sock"]))
    for number, pattern in ((4, r"FLOCK  ADVISORY  WRITE"), (13, r"POSIX  ADVISORY  WRITE .* 2 4$"), (14, r"OFDLCK ADVISORY  READ .* 8 8$")):
        check.has(f"lock of fd {number}", fdinfo(number), pattern)


def look_at_event_objects(check):
    """Counters, masks, times, watches."""
    check.has("eventfd", fdinfo(21), r"^eventfd-count: +7$")  # CRIU does not tell that it is a semaphore
    check.has("signalfd", fdinfo(22), "sigmask:\t0000000000000800")
    check.has("timerfd", fdinfo(23), r"clockid: 1\n(.*\n)*it_value: \((99\d), \d+\)\nit_interval: \(5, 0\)")
    for number, events in ((15, "80000019"), (21, "19")):
        check.has("epoll", fdinfo(24), rf"tfd: +{number} events: +{events} data: 1122334455667788")
    if 25 not in check.gone:
        inode = os.stat(check.work).st_ino
        check.has("inotify", fdinfo(25), rf"^inotify wd:1 ino:{inode:x} .* mask:300 ignored_mask:0")
    blob = descriptor(26)
    check.equal("memfd", (os.pread(blob, 99, 0), os.lseek(blob, 0, os.SEEK_CUR)), (b"memfd contents", 14))
    check.equal("seals", fcntl.fcntl(blob, F_GET_SEALS), F_SEAL_GROW)
    check.has("pidfd", fdinfo(27), rf"^Pid:\t{ROOT}$")


def look_at_sockets(check):
    """Addresses, states, options."""
    shape = {28: (socket.AF_UNIX, socket.SOCK_STREAM), 30: (socket.AF_UNIX, socket.SOCK_DGRAM),
             32: (socket.AF_UNIX, socket.SOCK_STREAM), 33: (socket.AF_UNIX, socket.SOCK_SEQPACKET),
             34: (socket.AF_INET, socket.SOCK_STREAM), 35: (socket.AF_INET, socket.SOCK_STREAM),
             36: (socket.AF_INET, socket.SOCK_STREAM), 37: (socket.AF_INET6, socket.SOCK_DGRAM),
             38: (socket.AF_INET, socket.SOCK_DGRAM), 39: (socket.AF_NETLINK, socket.SOCK_RAW), 40: (socket.AF_PACKET, socket.SOCK_RAW)}
    sockets = {number: own_socket(number) for number in shape if number not in check.gone}
    for number, sock in sockets.items():
        check.equal(f"socket {number}", (sock.family, sock.type), shape[number])
    listening = {n: sockets[n].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for n in (32, 33, 34, 35)}
    check.equal("who listens", listening, {32: 1, 33: 1, 34: 1, 35: 0})
    check.equal("names", [sockets[n].getsockname() for n in (32, 33)], ["sock", b"\0abstract-sampler"])
    check.equal("TCP listener", sockets[34].getsockname(), ("127.0.0.1", 18911))
    check.equal("reuse", sockets[34].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR), 1)
    check.equal("client's peer", sockets[35].getpeername(), ("127.0.0.1", 18911))
    check.equal("server's peer", sockets[36].getpeername(), sockets[35].getsockname())
    check.equal("no delay", sockets[35].getsockopt(socket.SOL_TCP, socket.TCP_NODELAY), 1)
    check.equal("keep alive", sockets[36].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
    check.equal("UDP v6", sockets[37].getsockname()[:2], ("::1", 18912))
    check.equal("UDP v4", (sockets[38].getsockname(), sockets[38].getpeername()), (("127.0.0.1", 33455), ("127.0.0.1", 18911)))
    if 40 in sockets:
        check.equal("packet socket", sockets[40].getsockname()[1], 3)  # ETH_P_ALL


def look(check):
    """Everything that can be seen without changing it."""
    for part in (look_at_tree, look_at_memory, look_at_files, look_at_event_objects, look_at_sockets):
        part(check)


def use_pipes(check):
    """What waits in pipes and in the terminal."""
    check.equal("the deleted file", os.pread(descriptor(5), 99, 0), b"deleted contents")
    first = descriptor(15)
    check.equal("capacity", fcntl.fcntl(first, F_GETPIPE_SZ), 16384)
    for number, data in ((15, b"in the pipe"), (17, b"pkt"), (19, b"fifo data")):
        check.equal(f"fd {number}", read_available(descriptor(number)), data)
    try:
        os.write(descriptor(251), b"x")
        check.equal("a pipe without a reader", "written", "refused")
    except OSError as error:
        check.equal("a pipe without a reader", error.errno, errno.EPIPE)
    master, slave = descriptor(MASTER, LEADER), descriptor(SLAVE, LEADER)
    check.equal("terminal", os.ttyname(slave), "/dev/pts/0")
    check.equal("not a controlling one", text(f"/proc/{LEADER}/stat").rpartition(") ")[2].split()[4], "0")
    check.equal("echo, then the line", (read_available(master), read_available(slave)), (b"tty in\r\n", b"tty in\n"))
    check.equal("modes", termios.tcgetattr(slave)[:4], [0o2400, 0o5, 0o277, 0o105073])
    os.write(slave, b"out\n")
    check.equal("output", read_available(master), b"out\r\n")


def use_sockets(check):
    """What waits in sockets; new connections."""
    left, right = own_socket(28), own_socket(29)
    check.equal("unix stream", right.recv(99, socket.MSG_DONTWAIT), b"queued")
    check.equal("its writing side is shut", left.recv(1, socket.MSG_DONTWAIT), b"")
    data, control, _, _ = own_socket(31).recvmsg(99, socket.CMSG_SPACE(4), socket.MSG_DONTWAIT)
    passed = array.array("i")
    for _, _, part in control:
        passed.frombytes(part)
    check.equal("datagram", (data, len(passed)), (b"with fd", 1))
    check.equal("what it carries", [kernel.kcmp(os.getpid(), ROOT, "file", fd, 21) for fd in passed], [True])
    client, server = own_socket(35), own_socket(36)
    check.equal("TCP", server.recv(99, socket.MSG_DONTWAIT), b"to server")
    for sender, receiver, data in ((client, server, b"there"), (server, client, b"and back")):
        sender.settimeout(5)
        receiver.settimeout(5)
        sender.send(data)
        check.equal("TCP goes on", receiver.recv(99), data)
    os.chdir(check.work)
    for number, kind, address in ((32, socket.SOCK_STREAM, "sock"), (33, socket.SOCK_SEQPACKET, "\0abstract-sampler"),
                                  (34, socket.SOCK_STREAM, ("127.0.0.1", 18911))):
        with socket.socket(socket.AF_INET if number == 34 else socket.AF_UNIX, kind) as caller:
            caller.settimeout(5)
            caller.connect(address)
            accepted, _ = own_socket(number).accept()
            caller.send(b"new")
            check.equal(f"connection to socket {number}", accepted.recv(9), b"new")
            accepted.close()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as caller:
        caller.sendto(b"hello", ("::1", 18912))
        check.equal("UDP", own_socket(37).recv(9), b"hello")
    if 25 not in check.gone:
        (check.work / "fresh").touch()
        wd, mask, _, _ = struct.unpack_from("iIII", read_available(descriptor(25)).ljust(16, b"\0"))
        check.equal("inotify", (wd, mask), (1, 0x100))


def wait_until(condition):
    """Whether it comes true within five seconds."""
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def use_tasks(check):
    """The tasks run, share and end."""
    def state(pid):
        try:
            return text(f"/proc/{pid}/stat").rpartition(") ")[2][0]
        except OSError:
            return "-"

    with open(f"/proc/{LEADER}/mem", "r+b") as file:
        file.seek(0x700000100000)
        file.write(b"SHARED")
    check.equal("memory is shared", memory(ROOT, 0x700000100000, 6), b"SHARED")
    with open(f"/proc/{MEMBER}/mem", "r+b") as file:
        file.seek(0x700000000000)
        file.write(b"\7")
    check.equal("private memory is not", memory(LEADER, 0x700000000000, 1), b"\1")
    os.kill(ROOT, signal.SIGUSR1)
    check.equal("a signal is handled", wait_until(lambda: "ShdPnd:\t0000001000000000" in text(f"/proc/{ROOT}/status")), True)
    os.kill(STOPPED, signal.SIGCONT)
    check.equal("the stopped task goes on", wait_until(lambda: state(STOPPED) == "S"), True)
    os.kill(LEADER, signal.SIGTERM)
    check.equal("a child ends", wait_until(lambda: state(LEADER) == "Z"), True)
    parent = lambda: text(f"/proc/{MEMBER}/stat").rpartition(") ")[2].split()[1]
    check.equal("its child goes to the subreaper", wait_until(lambda: parent() == str(ROOT)), True)
    for pid in (STOPPED, MEMBER, ROOT):
        os.kill(pid, signal.SIGTERM)
    check.equal("the root ends", wait_until(lambda: state(ROOT) in "Z-"), True)


def use(check):
    """Reads and acts; the tree has ended afterwards."""
    for part in (use_pipes, use_sockets, use_tasks):
        part(check)
