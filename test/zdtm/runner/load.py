"""Servers under load: clients outside of the tree go on asking through the checkpoint, and count every answer."""

import os
import shutil
import socket
import threading

from . import cycle
from .realprograms import Driver


class Client(threading.Thread):
    """One connection that is never idle. `ask` sends some requests, reads their answers and checks them."""

    def __init__(self, port, ask, timeout):
        super().__init__(daemon=True)
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.stream = self.socket.makefile("rb")
        self.ask = ask
        self.rounds = 0
        self.error = None
        self.stopping = False

    def run(self):
        try:
            while not self.stopping:
                self.ask(self, self.rounds)
                self.rounds += 1
        except (OSError, cycle.Failure) as error:
            self.error = error

    def line(self, wanted):
        """The next line must be this one."""
        line = self.stream.readline()
        if line != wanted:
            raise cycle.Failure(f"round {self.rounds}: the answer is {line[:200]!r} instead of {wanted!r}")

    def end(self):
        """Ends after its round."""
        self.stopping = True
        self.join()
        self.socket.close()


class Loaded(Driver):
    """Common part: several clients, and ten dumps that leave the server running before the one that ends it."""

    opts = ["--tcp-established"]
    skip_observe = [".*"]
    rehearsals = 10
    count = 4

    def start_clients(self, port):
        """All of them; each must have got some answers."""
        self.members = [Client(port, self.ask, self.timeout) for _ in range(self.count)]
        for number, client in enumerate(self.members):
            client.number = number
            client.start()
        self.progress("at the start")

    def ask(self, client, number):
        """Sends requests and checks the answers."""
        raise NotImplementedError

    def progress(self, when):
        """Every client gets answers."""
        marks = [client.rounds for client in self.members]

        def moved():
            failed = next((client.error for client in self.members if client.error), None)
            if failed:
                raise cycle.Failure(f"{when}: {failed}")
            return all(client.rounds > mark + 1 for client, mark in zip(self.members, marks))

        self.wait_for(moved, f"answers {when}")

    def after_rehearsal(self, root):
        self.progress("after a dump that leaves it running")

    def after_restore(self, root):
        self.progress("after the restore")

    def verify(self, root):
        self.progress("at the end")
        for client in self.members:
            client.end()
        if any(client.error for client in self.members):
            raise cycle.Failure(str([client.error for client in self.members]))
        self.end(root)


class RedisLoad(Loaded):
    """redis-server with 200 MB of data and pipelined clients, whose counters must never jump."""

    needs = ["command:redis-server", "tcp_repair"]
    pipeline = 64

    def start(self):
        port = self.free_port()
        root = self.launch(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                            "--enable-debug-command", "local"])
        self.wait_for(lambda: self.answers(port, b"PING"), "redis")
        if not self.answers(port, b"DEBUG POPULATE 350000 key 512"):
            raise cycle.Failure("redis does not take the data")
        self.start_clients(port)
        return root

    def answers(self, port, command):
        """True once the server says yes."""
        try:
            return self.ask_once(port, command + b"\r\n") in (b"+PONG\r\n", b"+OK\r\n")
        except OSError:
            return False

    def ask_once(self, port, request):
        """One request over a fresh connection."""
        return Driver.ask(self, port, request)

    def ask(self, client, number):
        client.socket.sendall(b"INCR counter%d\r\n" % client.number * self.pipeline)
        for step in range(self.pipeline):
            client.line(b":%d\r\n" % (number * self.pipeline + step + 1))


class NginxLoad(Loaded):
    """nginx with two workers: each request gets its own answer, and one only."""

    needs = ["command:nginx", "tcp_repair"]
    pipeline = 16

    def start(self):
        port = self.free_port()
        (self.work / "nginx.conf").write_text(f"""
            daemon off; user root; worker_processes 2; pid {self.work}/nginx.pid; error_log {self.work}/error.log;
            events {{ worker_connections 64; }}
            http {{ access_log off; client_body_temp_path {self.work}/t1; proxy_temp_path {self.work}/t2;
                    fastcgi_temp_path {self.work}/t3; uwsgi_temp_path {self.work}/t4; scgi_temp_path {self.work}/t5;
                    server {{ listen 127.0.0.1:{port}; keepalive_timeout 1000; keepalive_requests 100000000;
                              location / {{ return 200 "$arg_n\n"; }} }} }}""")
        root = self.launch([shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-p", str(self.work), "-c",
                            str(self.work / "nginx.conf")])
        self.wait_for(lambda: self.listens(port), "nginx")
        self.start_clients(port)
        return root

    @staticmethod
    def listens(port):
        """True once somebody takes connections."""
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            return False

    def ask(self, client, number):
        names = [b"%d-%d-%d" % (client.number, number, step) for step in range(self.pipeline)]
        client.socket.sendall(b"".join(b"GET /?n=%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % name for name in names))
        for name in names:
            client.line(b"HTTP/1.1 200 OK\r\n")
            while client.stream.readline() not in (b"\r\n", b""):
                pass
            client.line(name + b"\n")
