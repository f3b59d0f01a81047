"""Everything that sampler.c has set up is there, seen from outside and through its descriptors: nothing is changed."""

import fcntl
import os
import re
import signal
import socket

from facts import (F_GET_SEALS, F_SEAL_GROW, LEADER, MEMBER, ROOT, STOPPED, WORKERS, ZOMBIE, descriptor, fdinfo, kernel,
                   memory, own_socket, stat, text, wait_until)


def look_at_tree(check):
    """Ids, states and names of all tasks."""
    wanted = {ROOT: ("S", ROOT, ROOT, 0), ZOMBIE: ("Z", ROOT, ROOT, 0), LEADER: ("S", LEADER, LEADER, 5),
              STOPPED: ("T", ROOT, ROOT, 0), MEMBER: ("S", MEMBER, LEADER, 5)}
    parents = {ZOMBIE: ROOT, LEADER: ROOT, STOPPED: ROOT, MEMBER: LEADER}
    for pid, facts in wanted.items():
        wait_until(lambda pid=pid, state=facts[0]: stat(pid)[0] == state)  # the restore has just let it run
        fields = stat(pid)
        check.equal(f"state, group, session, nice of {pid}", (fields[0], int(fields[2]), int(fields[3]), int(fields[16])), facts)
        if pid in parents:
            check.equal(f"parent of {pid}", int(fields[1]), parents[pid])
    check.equal("exit code of the zombie", int(stat(ZOMBIE)[-1]), 3 << 8)
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
    check.equal("UDP v4", (sockets[38].getsockname(), sockets[38].getpeername()), (("127.0.0.1", check.udp_port), ("127.0.0.1", 18911)))
    if 40 in sockets:
        check.equal("packet socket", sockets[40].getsockname()[1], 3)  # ETH_P_ALL


def look(check):
    """Everything that can be seen without changing it."""
    for part in (look_at_tree, look_at_memory, look_at_files, look_at_event_objects, look_at_sockets):
        part(check)
