"""What waits in the sampler's objects is read, and its tasks are made to act."""

import array
import errno
import fcntl
import os
import signal
import socket
import struct
import termios

from facts import (F_GETPIPE_SZ, LEADER, MASTER, MEMBER, ROOT, SLAVE, STOPPED, descriptor, kernel, memory, own_socket,
                   read_available, stat, text, wait_until)


def use_pipes(check):
    """What waits in pipes and in the terminal."""
    check.equal("the deleted file", os.pread(descriptor(5), 99, 0), b"deleted contents")
    first = descriptor(15)
    check.equal("capacity", fcntl.fcntl(first, F_GETPIPE_SZ), 16384)
    for number, data in ((15, b"in the pipe"), (17, b"pkt"), (19, b"fifo data")):
        check.equal(f"fd {number}", read_available(descriptor(number)), data)
    if 251 not in check.gone:
        try:
            os.write(descriptor(251), b"x")
            check.equal("a pipe without a reader", "written", "refused")
        except OSError as error:
            check.equal("a pipe without a reader", error.errno, errno.EPIPE)
    master, slave = descriptor(MASTER, LEADER), descriptor(SLAVE, LEADER)
    check.equal("terminal", os.ttyname(slave), "/dev/pts/0")
    check.equal("not a controlling one", stat(LEADER)[4], "0")
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


def use_tasks(check):
    """The tasks run, share and end."""
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
    check.equal("the stopped task goes on", wait_until(lambda: stat(STOPPED)[0] == "S"), True)
    os.kill(LEADER, signal.SIGTERM)
    check.equal("a child ends", wait_until(lambda: stat(LEADER)[0] == "Z"), True)
    check.equal("its child goes to the subreaper", wait_until(lambda: stat(MEMBER)[1] == str(ROOT)), True)
    for pid in (STOPPED, MEMBER, ROOT):
        os.kill(pid, signal.SIGTERM)
    check.equal("the root ends", wait_until(lambda: stat(ROOT)[0] in "Z-"), True)


def use(check):
    """Reads and acts; the tree has ended afterwards."""
    for part in (use_pipes, use_sockets, use_tasks):
        part(check)
