"""Drivers of real programs: each starts one from Debian's packages, uses it over the checkpoint, and checks every answer.

A driver that runs a script of test/realprog waits for its READY line and expects PASS as the last one.
"""

import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

from . import cycle

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "realprog"


class Driver:
    """Common part. Subclasses say what they need and how the program is started and asked."""

    needs = []
    opts = []
    flags = []
    skip_observe = ["maps", "fds", "timers", "status\\.(SigPnd|ShdPnd|VmLck)"]
    timeout = 60.0

    def __init__(self, work, timeout):
        self.work, self.timeout = work, timeout
        self.out = work / "out"

    # What the runner calls.

    def start(self):
        """Starts the program; returns the pid of its root once it is in use."""
        raise NotImplementedError

    def before_dump(self, root):
        """Right before each dump."""

    passed = []  # descriptors that the restore inherits
    rehearsals = 0  # dumps that leave the program running before each that ends it

    def after_rehearsal(self, root):
        """After each of them."""

    def dump_options(self):
        """More options for the next dump."""
        return []

    def restore_options(self):
        """More options for the next restore."""
        return []

    def while_dead(self):
        """After the dump, while nothing of the program is left."""

    def edit_images(self, root, decode, images):
        """Between dump and restore. `decode`: an image file as the JSON of crit; `images`: their directory."""

    def after_restore(self, root):
        """After each restore."""

    def verify(self, root):
        """Last check; ends the program."""
        self.end(root)

    def clients(self):
        """Pids of processes of the driver outside of the tree."""
        return []

    # What subclasses use.

    def launch(self, command, **settings):
        """Starts a command in a session of its own, with all standard files away from the terminal."""
        output = open(self.out, "ab")
        with output:
            process = subprocess.Popen(command, cwd=self.work, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       start_new_session=True, **settings)
        return process.pid

    def wait_for(self, condition, what):
        """Polls until condition() is true."""
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        raise cycle.Failure(f"{what} did not happen: {self.words()}")

    def words(self):
        """What the program has printed."""
        return self.out.read_text(errors="replace")[-2000:] if self.out.exists() else ""

    def wait_end(self, root):
        """Waits until the root is gone, whoever its parent is; returns its wait status or None."""
        def gone():
            try:
                pid, status = os.waitpid(root, os.WNOHANG)
                return (status,) if pid else None
            except ChildProcessError:
                return (None,) if not os.path.exists(f"/proc/{root}") else None
        return self.wait_for(gone, "the end of the program")[0]

    def end(self, root, number=signal.SIGTERM):
        """Signal and wait."""
        os.kill(root, number)
        return self.wait_end(root)

    def expect_pass(self):
        """Last line of the output."""
        lines = self.words().strip().split("\n")
        if lines[-1] != "PASS" or any("FAIL" in line for line in lines):
            raise cycle.Failure(f"program says: {self.words()}")

    def ask(self, port, request, answer_end=b"\n"):
        """One request over a fresh connection."""
        with socket.create_connection(("127.0.0.1", port), timeout=self.timeout) as client:
            client.sendall(request)
            return self.receive(client, answer_end)

    @staticmethod
    def receive(client, end=b"\n"):
        """Bytes up to and including `end`, or to the end of the stream."""
        data = b""
        while not data.endswith(end):
            part = client.recv(65536)
            if not part:
                break
            data += part
        return data

    def expect(self, found, wanted, what):
        """Fails with both values."""
        if found != wanted:
            raise cycle.Failure(f"{what}: {found!r} instead of {wanted!r}")

    def free_port(self):
        """A port that nobody listens on now."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]


class Script(Driver):
    """A script of test/realprog; SIGTERM ends it."""

    command = []

    def start(self):
        root = self.launch([str(word) for word in self.command], **self.settings())
        self.wait_for(lambda: "READY" in self.words(), "READY")
        time.sleep(0.1)
        return root

    def settings(self):
        """More arguments for the start."""
        return {}

    def verify(self, root):
        time.sleep(0.1)
        self.end(root)
        self.expect_pass()


class PythonThreads(Script):
    """Python with threads, a child and a pipe."""

    needs = ["command:python3"]
    command = ["/usr/bin/python3", SCRIPTS / "threads.py"]


class Throttled(PythonThreads):
    """The same, stopped and continued from outside all the time, as by cpulimit: also in the middle of a dump."""

    rehearsals = 3
    throttle = None
    # Whether it is stopped at the moment that counts is chance.
    skip_observe = [".*"]

    def start(self):
        root = super().start()
        self.ending = threading.Event()
        self.throttle = threading.Thread(target=self.stop_and_go, args=[root], daemon=True)
        self.throttle.start()
        return root

    def stop_and_go(self, root):
        """Half of the time stopped; not a child of the tree, which would stop it as well."""
        while not self.ending.is_set():
            for number in (signal.SIGSTOP, signal.SIGCONT):
                try:
                    os.kill(root, number)
                except ProcessLookupError:
                    pass  # it is an image now
                time.sleep(0.005)

    def verify(self, root):
        self.ending.set()
        self.throttle.join()
        super().verify(root)


class Perl(Script):
    """Perl with a child over a socket pair and alarms."""

    needs = ["command:perl"]
    command = ["perl", SCRIPTS / "loop.pl"]


class Java(Script):
    """Java with threads and the default garbage collector."""

    needs = ["command:java", "command:javac"]
    command = ["java", "-Xmx256m", "-cp", ".", "Counter"]
    # Its performance data file is locked.
    opts = ["--file-locks"]
    # Threads of the collector and the compiler come and go.
    skip_observe = [".*"]

    def start(self):
        subprocess.run(["javac", "-d", self.work, SCRIPTS / "Counter.java"], check=True, timeout=self.timeout)
        return super().start()


class StopFile(Script):
    """A script that a file named "stop" ends."""

    def verify(self, root):
        (self.work / "stop").touch()
        self.wait_end(root)
        self.expect_pass()


class BashPipeline(StopFile):
    """A bash loop that feeds a pipeline."""

    needs = ["command:bash"]
    command = ["bash", SCRIPTS / "pipeline.sh"]
    # Programs come and go in the loop.
    skip_observe = [".*"]


class Sqlite(StopFile):
    """sqlite3 with an open transaction."""

    needs = ["command:sqlite3"]
    command = ["bash", SCRIPTS / "transaction.sh"]
    opts = ["--file-locks"]
    skip_observe = [".*"]


class Echo(Script):
    """A server that answers lines with their number, asked over one connection that lives through the checkpoint."""

    opts = ["--tcp-established"]
    client = None
    number = 0

    def start(self):
        root = super().start()
        port = int(self.words().split("READY")[1].split()[0])
        self.client = socket.create_connection(("127.0.0.1", port), timeout=self.timeout)
        self.talk()
        return root

    def talk(self):
        """One line over the living connection."""
        self.client.sendall(f"line {self.number}\n".encode())
        self.expect(self.receive(self.client), f"{self.number} line {self.number}\n".encode(), "answer")
        self.number += 1

    def before_dump(self, root):
        self.talk()

    def while_dead(self):
        # Data that arrive while nobody is there must be there afterwards.
        self.client.sendall(f"line {self.number}\n".encode())

    def after_restore(self, root):
        self.expect(self.receive(self.client), f"{self.number} line {self.number}\n".encode(), "answer after restore")
        self.number += 1
        self.talk()

    def verify(self, root):
        self.talk()
        self.client.close()
        super().verify(root)


class Asyncio(Echo):
    """Python asyncio with a live TCP client and a subprocess."""

    needs = ["command:python3", "tcp_repair"]
    command = ["/usr/bin/python3", SCRIPTS / "asyncio_server.py"]


class Node(Echo):
    """Node.js with timers, a worker thread and a live TCP client."""

    needs = ["command:node", "tcp_repair"]
    command = ["node", SCRIPTS / "server.js"]


class Compile(Driver):
    """make -j2 in the middle of compiling: its result is that of an undisturbed run."""

    needs = ["command:make", "command:g++"]
    skip_observe = [".*"]

    def start(self):
        rules = "all: a.o b.o c.o d.o e.o f.o\n%.o: %.cc\n\tg++ -O1 -c $< -o $@\n"
        for folder in (self.work, self.work / "reference"):
            folder.mkdir(exist_ok=True)
            (folder / "Makefile").write_text(rules)
            for name in "abcdef":
                (folder / f"{name}.cc").write_text(
                    f"#include <map>\n#include <string>\nstd::map<std::string, int> {name}(const std::string &s) {{ return {{{{s, 1}}}}; }}\n")
        environment = {key: value for key, value in os.environ.items() if "CCACHE" not in key}
        subprocess.run(["make", "-s", "-j2"], cwd=self.work / "reference", check=True, timeout=self.timeout, env=environment,
                       stdout=subprocess.DEVNULL)
        root = self.launch(["make", "-j2"], env=environment)
        time.sleep(0.5)
        return root

    def verify(self, root):
        status = self.wait_end(root)
        if status:
            raise cycle.Failure(f"make ended with wait status {status:#x}: {self.words()}")
        for name in "abcdef":
            found, wanted = ((folder / f"{name}.o").read_bytes() for folder in (self.work, self.work / "reference"))
            if found != wanted:
                raise cycle.Failure(f"{name}.o differs from that of an undisturbed run")
