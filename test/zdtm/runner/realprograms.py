"""Drivers of real programs: each starts one from Debian's packages, uses it over the checkpoint, and checks every answer.

A driver that runs a script of test/realprog waits for its READY line and expects PASS as the last one.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from . import cycle, description

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

    def while_dead(self):
        """After the dump, while nothing of the program is left."""

    def after_restore(self, root):
        """After each restore."""

    def verify(self, root):
        """Last check; ends the program."""
        self.end(root)

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


class Perl(Script):
    """Perl with a child over a socket pair and alarms."""

    needs = ["command:perl"]
    command = ["perl", SCRIPTS / "loop.pl"]


class Java(Script):
    """Java with threads and the default garbage collector."""

    needs = ["command:java", "command:javac"]
    command = ["java", "-Xmx256m", "-cp", ".", "Counter"]
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
        rules = "all: a.o b.o c.o d.o\n%.o: %.cc\n\tg++ -O1 -c $< -o $@\n"
        for folder in (self.work, self.work / "reference"):
            folder.mkdir(exist_ok=True)
            (folder / "Makefile").write_text(rules)
            for name in "abcd":
                (folder / f"{name}.cc").write_text(
                    f"#include <regex>\n#include <map>\nbool {name}(const std::string &s) {{ return std::regex_match(s, std::regex(\"{name}+\")); }}\n")
        environment = {key: value for key, value in os.environ.items() if "CCACHE" not in key}
        subprocess.run(["make", "-s", "-j2"], cwd=self.work / "reference", check=True, timeout=self.timeout, env=environment,
                       stdout=subprocess.DEVNULL)
        root = self.launch(["make", "-j2"], env=environment)
        time.sleep(0.7)
        return root

    def verify(self, root):
        status = self.wait_end(root)
        if status:
            raise cycle.Failure(f"make ended with wait status {status:#x}: {self.words()}")
        for name in "abcd":
            found, wanted = ((folder / f"{name}.o").read_bytes() for folder in (self.work, self.work / "reference"))
            if found != wanted:
                raise cycle.Failure(f"{name}.o differs from that of an undisturbed run")


class Redis(Driver):
    """redis-server with data; a client's connection lives through the checkpoint."""

    needs = ["command:redis-server", "tcp_repair"]
    opts = ["--tcp-established"]
    keys = 20000
    client = None

    def start(self):
        port = self.free_port()
        root = self.launch(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                            "--io-threads", "2"])
        self.wait_for(lambda: self.answers(port), "redis")
        self.client = socket.create_connection(("127.0.0.1", port), timeout=self.timeout)
        request = b"".join(b"SET key%d value%d\r\n" % (i, i) for i in range(self.keys))
        for at in range(0, len(request), 1 << 16):
            self.client.sendall(request[at : at + (1 << 16)])
        answers = b""
        while len(answers) < 5 * self.keys:
            answers += self.client.recv(1 << 16)
        self.command("MULTI", b"+OK\r\n")
        self.command("INCR transaction", b"+QUEUED\r\n")
        return root

    def answers(self, port):
        """True once the server answers."""
        try:
            return self.ask(port, b"PING\r\n") == b"+PONG\r\n"
        except OSError:
            return False

    def command(self, text, wanted):
        """One command over the living connection."""
        self.client.sendall(text.encode() + b"\r\n")
        self.expect(self.receive(self.client, wanted[-2:]), wanted, text)

    def after_restore(self, root):
        self.command("INCR transaction", b"+QUEUED\r\n")

    def verify(self, root):
        self.client.sendall(b"EXEC\r\n")
        answer = self.client.recv(65536)
        if not answer.startswith(b"*") or b":1\r\n" not in answer:
            raise cycle.Failure(f"EXEC: {answer!r}")
        self.command("DBSIZE", b":%d\r\n" % (self.keys + 1))
        for i in range(0, self.keys, 997):
            value = f"value{i}".encode()
            self.client.sendall(f"GET key{i}\r\n".encode())
            self.expect(self.client.recv(100), b"$%d\r\n%s\r\n" % (len(value), value), f"key{i}")
        self.client.close()
        self.end(root)


class Memcached(Driver):
    """memcached with data and a living connection."""

    needs = ["command:memcached", "tcp_repair"]
    opts = ["--tcp-established"]
    client = None

    def start(self):
        port = self.free_port()
        root = self.launch(["memcached", "-u", "root", "-p", str(port), "-l", "127.0.0.1", "-U", "0"])
        self.client = self.wait_for(lambda: self.connect(port), "memcached")
        for i in range(500):
            value = b"v" * i
            self.client.sendall(b"set key%d 7 0 %d\r\n%s\r\n" % (i, len(value), value))
            self.expect(self.receive(self.client), b"STORED\r\n", "set")
        return root

    def connect(self, port):
        """A connection, or None while nobody listens."""
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=self.timeout)
        except OSError:
            return None

    def verify(self, root):
        for i in range(0, 500, 7):
            self.client.sendall(b"get key%d\r\n" % i)
            self.expect(self.receive(self.client, b"END\r\n"), b"VALUE key%d 7 %d\r\n%s\r\nEND\r\n" % (i, i, b"v" * i), f"key{i}")
        self.client.close()
        self.end(root)


class Nginx(Driver):
    """nginx, master and workers, with a kept-alive connection."""

    needs = ["command:nginx", "tcp_repair"]
    opts = ["--tcp-established"]
    client = None

    def start(self):
        port = self.free_port()
        (self.work / "index.html").write_text("hello from nginx\n")
        (self.work / "nginx.conf").write_text(f"""
            daemon off; user root; worker_processes 2; pid {self.work}/nginx.pid; error_log {self.work}/error.log;
            events {{ worker_connections 64; }}
            http {{ access_log {self.work}/access.log; client_body_temp_path {self.work}/t1; proxy_temp_path {self.work}/t2;
                    fastcgi_temp_path {self.work}/t3; uwsgi_temp_path {self.work}/t4; scgi_temp_path {self.work}/t5;
                    server {{ listen 127.0.0.1:{port}; root {self.work}; keepalive_timeout 1000; keepalive_requests 100000; }} }}""")
        root = self.launch([shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-p", str(self.work), "-c",
                            str(self.work / "nginx.conf")])
        self.client = self.wait_for(lambda: Memcached.connect(self, port), "nginx")
        self.get()
        return root

    def get(self):
        """One request over the living connection."""
        self.client.sendall(b"GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = self.receive(self.client, b"hello from nginx\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise cycle.Failure(f"nginx answers {answer!r}: {self.words()}")

    def before_dump(self, root):
        self.get()

    def after_restore(self, root):
        self.get()

    def verify(self, root):
        self.get()
        self.client.close()
        self.end(root)


class Tmux(Driver):
    """tmux with a shell that has a variable, asked by tmux clients."""

    needs = ["command:tmux", "command:bash"]
    skip_observe = [".*"]

    def tmux(self, *words):
        """Runs a client; returns its output."""
        done = subprocess.run(["tmux", "-S", str(self.work / "socket"), "-f", "/dev/null", *words], capture_output=True, text=True,
                              timeout=self.timeout, check=False, cwd=self.work, env=os.environ | {"TERM": "xterm"})
        if done.returncode:
            raise cycle.Failure(f"tmux {words[0]}: {done.stderr}")
        return done.stdout

    def start(self):
        self.tmux("new-session", "-d", "-x", "80", "-y", "24", "-s", "test", "bash --norc")
        self.tmux("send-keys", "-t", "test", "secret=4711; echo up-$((secret + 1))", "Enter")
        self.wait_for(lambda: "up-4712" in self.tmux("capture-pane", "-p", "-t", "test"), "the shell's answer")
        return int(self.tmux("display-message", "-p", "#{pid}"))

    def verify(self, root):
        self.tmux("send-keys", "-t", "test", "echo still-$((secret + 2))", "Enter")
        self.wait_for(lambda: "still-4713" in self.tmux("capture-pane", "-p", "-t", "test"), "the shell's answer after restore")
        self.tmux("kill-server")
        self.wait_end(root)


DRIVERS = (PythonThreads, Perl, BashPipeline, Compile, Sqlite, Java, Asyncio, Node, Redis, Memcached, Nginx, Tmux)


def tests():
    """Descriptions of all drivers."""
    found = []
    for driver in DRIVERS:
        name = "".join("_" + c.lower() if c.isupper() else c for c in driver.__name__).strip("_")
        found.append(description.Description(f"real/{name}", None, opts=driver.opts, needs=driver.needs, flags=driver.flags,
                                             timeout=driver.timeout, real=driver))
    return found
