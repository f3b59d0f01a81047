"""Drivers of more real programs: a TLS server, a proxy with threads, a message broker, kernel stressors."""

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess

from . import cycle
from .realprograms import Driver

PATH = os.environ["PATH"] + ":/usr/sbin"


def connected(port):
    """A connection, or None while nobody listens."""
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=Driver.timeout)
    except OSError:
        return None


class TlsServer(Driver):
    """openssl s_server; the client's TLS session lives through the checkpoint."""

    needs = ["command:openssl", "tcp_repair"]
    opts = ["--tcp-established"]
    client = None

    def start(self):
        port, key, certificate = self.free_port(), self.work / "key", self.work / "certificate"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", key, "-out", certificate, "-subj",
                        "/CN=test"], check=True, capture_output=True, timeout=self.timeout)
        root = self.launch(["openssl", "s_server", "-rev", "-accept", f"127.0.0.1:{port}", "-key", key, "-cert", certificate, "-quiet"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.client = context.wrap_socket(self.wait_for(lambda: connected(port), "openssl"))
        self.talk()
        return root

    def talk(self):
        """One line over the living session."""
        self.client.sendall(b"hello\n")
        self.expect(self.receive(self.client), b"olleh\n", "answer")

    def after_restore(self, root):
        self.talk()

    def verify(self, root):
        self.talk()
        self.client.close()
        self.end(root)


class Haproxy(Driver):
    """haproxy, master and worker with threads, with a kept-alive connection."""

    needs = ["command:haproxy", "tcp_repair"]
    opts = ["--tcp-established"]
    # The master may still be at setting itself up when the worker answers.
    skip_observe = [".*"]
    client = None

    def start(self):
        port = self.free_port()
        (self.work / "configuration").write_text(
            "global\n nbthread 2\ndefaults\n mode http\n timeout client 60s\n timeout server 60s\n timeout connect 5s\n"
            f"frontend f\n bind 127.0.0.1:{port}\n http-request return status 200 content-type text/plain string hello\n")
        root = self.launch([shutil.which("haproxy", path=PATH), "-W", "-db", "-f", str(self.work / "configuration")])
        self.wait_for(lambda: connected(port), "haproxy").close()
        self.client = http.client.HTTPConnection("127.0.0.1", port, timeout=self.timeout)
        self.get()
        return root

    def get(self):
        """One request over the living connection."""
        self.client.request("GET", "/")
        answer = self.client.getresponse()
        self.expect((answer.status, answer.read()), (200, b"hello"), "answer")

    def after_restore(self, root):
        self.client.auto_open = 0  # the old connection, or none
        self.get()

    def verify(self, root):
        self.get()
        self.client.close()
        self.end(root)


class Mosquitto(Driver):
    """mosquitto with a subscriber that lives through the checkpoint and misses no message."""

    needs = ["command:mosquitto", "command:mosquitto_sub", "tcp_repair"]
    opts = ["--tcp-established"]
    subscriber, sent = None, 0

    def start(self):
        self.port = self.free_port()
        (self.work / "configuration").write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        root = self.launch([shutil.which("mosquitto", path=PATH), "-c", str(self.work / "configuration")])
        self.wait_for(lambda: self.publish("up") == 0, "mosquitto")
        with open(self.work / "received", "wb") as output:
            self.subscriber = subprocess.Popen(["mosquitto_sub", "-p", str(self.port), "-t", "topic"], stdout=output, stderr=output)
        self.wait_for(lambda: self.publish("topic") == 0 and self.received(), "the first message")
        return root

    def publish(self, topic):
        """Sends the next message; returns the client's exit status."""
        self.sent += 1
        return subprocess.run(["mosquitto_pub", "-p", str(self.port), "-t", topic, "-m", str(self.sent)], capture_output=True,
                              timeout=self.timeout, check=False).returncode

    def received(self):
        """Messages that the subscriber has got."""
        return [int(word) for word in (self.work / "received").read_text().split()]

    def clients(self):
        return [self.subscriber.pid]

    def exchange(self):
        """One message to the subscriber; it has got all since its first one."""
        self.expect(self.publish("topic"), 0, "exit status of mosquitto_pub")
        self.wait_for(lambda: self.sent in self.received(), "a message")
        got = self.received()
        self.expect(got, list(range(got[0], self.sent + 1)), "messages")

    def after_restore(self, root):
        self.exchange()

    def verify(self, root):
        self.exchange()
        self.subscriber.send_signal(signal.SIGTERM)
        self.subscriber.wait(self.timeout)
        self.end(root)


class Stress(Driver):
    """stress-ng with several kinds of system calls: it verifies what they do."""

    needs = ["command:stress-ng"]
    opts = ["--link-remap", "--file-locks", "--ghost-limit", "1G"]
    skip_observe = [".*"]
    rehearsals = 1
    kinds = ["remap", "pty", "eventfd", "sigq", "itimer", "lockofd", "msg"]

    def start(self):
        command = ["stress-ng", "--verify", "--timeout", "4", "--temp-path", str(self.work)]
        root = self.launch(command + [word for kind in self.kinds for word in (f"--{kind}", "1")])
        self.wait_for(lambda: "dispatching hogs: 1" in self.words(), "stress-ng")
        return root

    def verify(self, root):
        self.wait_end(root)
        if "successful run completed" not in self.words() or ": fail:" in self.words():
            raise cycle.Failure(f"stress-ng says: {self.words()}")
