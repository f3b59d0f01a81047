#!/usr/bin/env python3
"""Page connections over TLS: ours with ours, and each with a peer of another library, good certificates and bad ones.

usage: tls_test.py CRIU
"""
import os
import shutil
import socket
import ssl
import sys
import threading

sys.dont_write_bytecode = True
import peer  # noqa: E402
from peer import PAGE  # noqa: E402
from pki import PKI, authority, certificate, options, revoke  # noqa: E402
from scene import LIMIT, PageServer, Target, case, criu, expect, finish, folder, free_port, start, state_of, until  # noqa: E402

def run_dump(images, target, port, *more):
    return criu("dump", "-D", images, "-o", "dump.log", "-v4", "-t", target.pid, "--page-server", "--port", port, *more)


def ours():
    with case("TLS: dump and page server of ours") as work:
        images, remote = folder(work / "images"), folder(work / "remote")
        with Target(work, megabytes=16) as target:
            server = PageServer(remote, *options())
            expect(run_dump(images, target, server.port, "--address", "localhost", *options()))
            server.ended()
            target.reap()
            for image in remote.glob("pa*.img"):
                shutil.move(image, images)
            expect(criu("restore", "-D", images, "-d"))
            target.verify()
    with case("TLS: lazy restore of ours, from a page server of images of ours") as work:
        with Target(work, megabytes=16, children=1) as target:
            expect(criu("dump", "-D", work, "-t", target.pid))
            target.reap()
            import re

            elsewhere = folder(work / "elsewhere")
            for image in work.glob("*.img"):
                if re.match(r"pagemap-[0-9]", image.name):
                    number, runs = peer.pagemap(work, "", int(image.stem.split("-")[1]))
                    kept = [(a, 2, n, b"") if flags & 2 else (a, flags, n, content) for a, flags, n, content in runs]
                    peer.write_pagemap(elsewhere, "", int(image.stem.split("-")[1]), number, kept)
                elif not image.name.startswith("pages-"):
                    shutil.copy(image, elsewhere)
            for image in work.glob("pagemap-shmem*.img"):
                number = peer.pagemap(work, "shmem-", int(image.stem.split("-")[2]))[0]
                shutil.copy(work / f"pages-{number}.img", elsewhere)
            server = PageServer(work, "--lazy-pages", *options())
            daemon = start("lazy-pages", "-D", elsewhere, "-o", "lazy.log", "-v4", "--page-server", "--port", server.port, *options())
            until(lambda: (elsewhere / "lazy-pages.socket").exists(), "the daemon")
            expect(criu("restore", "-D", elsewhere, "-d", "--lazy-pages"))
            target.verify()
            daemon.communicate(timeout=LIMIT)
            assert daemon.returncode == 0, (elsewhere / "lazy.log").read_text()
            server.ended()


def foreign():
    with case("TLS: a sender of another library") as work:
        server = PageServer(work, *options())
        context = ssl.create_default_context(cafile=PKI / "ca.pem")
        context.load_cert_chain(PKI / "good.pem", PKI / "good.key")
        with context.wrap_socket(server.connect(), server_hostname="localhost") as sock:
            sender, pages = peer.Sender(sock), peer.random_pages(300)
            assert sender.open(peer.task(9)) == 0
            sender.add(peer.task(9), 0x1000, pages)
            assert sender.close() == 0
        server.ended()
        assert peer.pagemap(work, "", 9)[1] == [(0x1000, 4, 300, pages)]
    with case("TLS: a server of another library; a message is a record of its own") as work:
        images = folder(work / "images")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=PKI / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(PKI / "good.pem", PKI / "good.key")
        server = peer.Server()
        with Target(work) as target:
            records = []

            def serve():
                sock = context.wrap_socket(server.listener.accept()[0], server_side=True)
                real = sock.recv

                def recv(size):
                    part = real(1 << 16)
                    records.append(len(part))
                    rest.extend(part)
                    out = bytes(rest[:size])
                    del rest[:size]
                    return out

                class Whole:
                    """Gives what is asked for, and takes whole records."""

                    def recv(self, size):
                        if rest:
                            out = bytes(rest[:size])
                            del rest[:size]
                            return out
                        return recv(size)

                    def __getattr__(self, name):
                        return getattr(sock, name)

                rest = bytearray()
                server.run(Whole())
                server.closed and sock.close()

            thread = threading.Thread(target=serve)
            thread.start()
            expect(run_dump(images, target, server.port, "--address", "localhost", *options()))
            thread.join(LIMIT)
            assert server.closed and len(server.objects) == 2
            assert all(size == 32 or size % PAGE == 0 for size in records), sorted(set(records))


def bad(name, text, server_options, dump_options, server_text=None):
    """The dump fails with a word, its target goes on, and so does nobody else."""
    with case(f"TLS: {name}: the source goes on") as work:
        images, remote = folder(work / "images"), folder(work / "remote")
        with Target(work) as target:
            server = PageServer(remote, *server_options)
            done = run_dump(images, target, server.port, *dump_options)
            assert done.returncode == 1 and text in done.stderr, done.stderr
            server.process.terminate() if server.process.poll() is None and server_text is None else None
            server.process.wait(LIMIT)
            assert server.process.returncode != 0
            if server_text:
                log = (remote / "server.log").read_text()
                assert server_text in log, log
            target.verify()
            assert not list(images.glob("*.img")) and not list(remote.glob("*.img"))


def main():
    authority("ca")
    authority("other")
    certificate("good", "ca", "DNS:localhost,IP:127.0.0.1")
    certificate("named", "ca", "DNS:elsewhere.example")
    certificate("stranger", "other", "DNS:localhost,IP:127.0.0.1")
    certificate("revoked", "ca", "DNS:localhost,IP:127.0.0.1")
    revoke("revoked", "ca")
    ours()
    foreign()
    local = ["--address", "localhost"]
    bad("a server of another name", "certificate of the other end", options("named"), local + options())
    bad("a server of another authority", "certificate of the other end", options("stranger", "other"), local + options())
    bad("a revoked server", "revoked", options("revoked"), local + options("good", "ca", "--tls-cacrl", PKI / "crl.pem"))
    bad("a certificate that is not there", "--tls-cert", options(), local + options("missing"))
    bad("an authority that is not there", "--tls-cacert", options(), local + options("good", "missing"))
    bad("a server without TLS", "", [], local + options(), "Unknown command")
    with case("TLS: a dump without it, to a server with it: the source goes on") as work:
        images, remote = folder(work / "images"), folder(work / "remote")
        with Target(work) as target:
            server = PageServer(remote, *options())
            done = run_dump(images, target, server.port)
            assert done.returncode == 1, done
            server.ended(1)
            target.verify()
    with case("TLS: a client of another authority is refused") as work:
        images, remote = folder(work / "images"), folder(work / "remote")
        with Target(work) as target:
            server = PageServer(remote, *options())
            done = run_dump(images, target, server.port, "--address", "localhost", *options("stranger"))
            assert done.returncode == 1, done
            server.ended(1)
            assert "certificate of the other end" in (remote / "server.log").read_text()
            target.verify()
    with case("TLS: another name is no matter with --tls-no-cn-verify, nor without an address") as work:
        with Target(work) as target:
            for number, more in enumerate((["--address", "localhost", "--tls-no-cn-verify"], [])):
                images, remote = folder(work / f"images{number}"), folder(work / f"remote{number}")
                server = PageServer(remote, *options("named"))
                expect(run_dump(images, target, server.port, "-R", *more, *options()))
                server.ended()
    finish()


try:
    main()
finally:
    shutil.rmtree(PKI)
