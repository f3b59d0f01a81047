"""Drivers of servers from Debian's packages, and the list of all drivers."""

import os
import shutil
import socket
import subprocess

from . import cycle, description
from .foreign_vdso import ForeignVdso
from .inherited import InheritedDescriptors
from .load import NginxLoad, RedisLoad
from .moreservers import Haproxy, Mosquitto, Stress, TlsServer
from .plugged import Plugin
from .postgres import Postgres
from .sanitized import Sanitized, ThreadSanitizer
from .realprograms import Asyncio, BashPipeline, Compile, Driver, Java, Node, Perl, PythonThreads, Sqlite, Throttled


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


DRIVERS = (PythonThreads, Perl, BashPipeline, Compile, Sqlite, Java, Asyncio, Node, Redis, Memcached, Nginx, Postgres, Tmux, ForeignVdso,
           InheritedDescriptors, NginxLoad, Plugin, RedisLoad, Throttled, TlsServer, Haproxy, Mosquitto, Stress, Sanitized, ThreadSanitizer)


def tests():
    """Descriptions of all drivers."""
    found = []
    for driver in DRIVERS:
        name = "".join("_" + c.lower() if c.isupper() else c for c in driver.__name__).strip("_")
        found.append(description.Description(f"real/{name}", None, opts=driver.opts, needs=driver.needs, flags=driver.flags,
                                             timeout=driver.timeout, real=driver))
    return found
