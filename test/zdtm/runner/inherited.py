"""A program whose descriptors lead out of its tree: the caller keeps them (--external) and gives others (--inherit-fd)."""

import os
import pty
import select
import socket
import tty

from . import cycle
from .realprograms import SCRIPTS, Driver


class Outside:
    """One set of objects: what the program has at its end, and what the test has at the other."""

    def __init__(self, work, name):
        self.terminal, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.socket, self.peer = socket.socketpair()
        self.path, self.fifo_path = work / f"{name}.file", work / f"{name}.fifo"
        self.file = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        os.mkfifo(self.fifo_path)
        self.fifo = os.open(self.fifo_path, os.O_RDWR)
        self.reader, self.writer = os.pipe()
        self.memory = os.memfd_create(name)

    def ends(self):
        """The program's, in the order in which it wants them."""
        return [self.peer.fileno(), self.slave, self.file, self.fifo, self.writer, self.memory]

    def keys(self):
        """How CRIU calls each of them."""
        terminal, file = os.fstat(self.slave), os.fstat(self.file)
        with open(f"/proc/self/fdinfo/{self.file}", encoding="ascii") as info:
            mount = next(int(line.split()[1]) for line in info if line.startswith("mnt_id:"))
        return [f"socket:[{os.fstat(self.peer.fileno()).st_ino}]", f"tty[{terminal.st_rdev:x}:{terminal.st_dev:x}]",
                f"file[{mount:x}:{file.st_ino:x}]", str(self.fifo_path).lstrip("/"),
                f"pipe:[{os.fstat(self.writer).st_ino}]", f"memfd:{os.readlink(f'/proc/self/fd/{self.memory}')[7:-10]}"]

    def options(self):
        """For the dump. Pipes, FIFOs and memfds need none."""
        keys = self.keys()
        return ["--external", keys[0].replace("socket:", "unix"), "--external", keys[1], "--external", keys[2]]

    def said(self):
        """The next line through each way."""
        streams = [self.terminal, self.fifo, self.reader]
        lines = []
        for stream in streams:
            if not select.select([stream], [], [], 5)[0]:
                raise cycle.Failure(f"nothing arrives through way {len(lines) + 1} of {len(streams)}")
            lines.append(os.read(stream, 100).decode())
        return lines + [self.path.read_text()[-len(lines[0]):], os.pread(self.memory, len(lines[0]), 0).decode()]


class InheritedDescriptors(Driver):
    """Sockets, terminals, files, FIFOs, pipes and memfds that the caller of the restore gives."""

    needs = ["command:python3"]
    flags = ["nosibling"]
    skip_observe = ["maps", "fds", "timers", "shared.file"]

    def start(self):
        self.outside = Outside(self.work, "first")
        self.count = 1
        root = self.launch(["/usr/bin/python3", SCRIPTS / "repeat.py", *map(str, self.outside.ends())],
                           pass_fds=self.outside.ends())
        self.say("before")
        return root

    def say(self, line):
        """The program repeats it to everything it has."""
        self.outside.socket.sendall(f"{line}\n".encode())
        self.outside.socket.settimeout(self.timeout)
        if self.receive(self.outside.socket) != b"ok\n":
            raise cycle.Failure(f"the program does not answer: {self.words()}")
        if any(said != f"{line}\n" for said in self.outside.said()):
            raise cycle.Failure("the program's words arrive changed")

    def before_dump(self, root):
        self.next = Outside(self.work, f"next{self.count}")
        self.count += 1

    def dump_options(self):
        self.given = self.outside.keys()
        return self.outside.options()

    def restore_options(self):
        self.outside = self.next
        self.passed = self.outside.ends()
        return [word for fd, key in zip(self.passed, self.given) for word in ("--inherit-fd", f"fd[{fd}]:{key}")]

    def after_restore(self, root):
        self.say(f"after {self.count}")

    def verify(self, root):
        self.end(root)
