#!/usr/bin/env python3
"""The page server and dumps to one, each against a peer that knows only the protocol, and against each other.

usage: page_server_test.py CRIU
"""
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
import peer  # noqa: E402
from peer import PAGE, PE_LAZY, PE_PARENT, PE_PRESENT  # noqa: E402
from scene import CRIU, PageServer, Target, case, criu, ended, expect, finish, folder, free_port, start, state_of, until  # noqa: E402


def server_takes(narrow):
    with case(f"server: what a dump of {'4.1' if narrow else '4.2'} sends") as work:
        server = PageServer(work)
        with server.connect() as sock:
            sender = peer.Sender(sock, narrow)
            first, second, third = peer.random_pages(1), peer.random_pages(5), peer.random_pages(700)
            assert sender.open(peer.shmem(21360)) == 0
            sender.add(peer.shmem(21360), 0x1000, first)
            assert sender.open(peer.task(205478)) == 0
            sender.add(peer.task(205478), 0x4A2000, second)
            sender.add(peer.task(205478), 0x10000000, third, PE_LAZY | PE_PRESENT)
            sender.hole(peer.task(205478), 0x7F0000000000, 3, PE_LAZY)
            assert sender.close() == 0
        server.ended()
        number, runs = peer.pagemap(work, "shmem-", 21360)
        assert number == 65537 and runs == [(0x1000, PE_PRESENT, 1, first)], runs
        number, runs = peer.pagemap(work, "", 205478)
        assert number == 65538, number
        assert runs == [(0x4A2000, 4, 5, second), (0x10000000, 6, 700, third), (0x7F0000000000, 2, 3, b"")]


def server_takes_compressed():
    with case("server: compressed pages, as criu-dev sends them, are kept as they are") as work:
        server = PageServer(work)
        with server.connect() as sock:
            sender, raw = peer.Sender(sock), peer.random_pages(2)
            assert sender.open(peer.task(7)) == 0
            sender.add_compressed(peer.task(7), 0x100000, [peer.lz4_of(b"a"), b"", raw[:PAGE], peer.lz4_of(b"b")])
            sender.add_compressed(peer.task(7), 0x200000, [raw[:PAGE], raw[PAGE:]], PE_LAZY | PE_PRESENT)
            sender.add(peer.task(7), 0x300000, raw)
            sender.add_compressed(peer.task(7), 0x400000, [peer.lz4_of(b"c")] * 1200)
            assert sender.close() == 0
        server.ended()
        head, runs = peer.entries(work / "pagemap-7.img")
        content = (work / f"pages-{head[1]}.img").read_bytes()
        sizes = [len(peer.lz4_of(b"a")), 0, PAGE, len(peer.lz4_of(b"b"))]
        blocks = [peer.fields(run[6]) if 6 in run else None for run in runs]
        assert [peer.varints(b[1]) if b else None for b in blocks[:3]] == [sizes, None, None], blocks
        assert (blocks[0][2], blocks[0][3]) == (sum(sizes), 1)
        assert [(run[1], run[4], run[5]) for run in runs[:4]] == [
            (0x100000, 4, 4), (0x200000, 8 | 6, 2), (0x300000, 4, 2), (0x400000, 4, 512)], runs
        assert sum(run[5] for run in runs[3:]) == 1200
        aligned = -(-sum(sizes) // PAGE) * PAGE
        assert content[: sizes[0]] == peer.lz4_of(b"a") and content[aligned : aligned + 4 * PAGE] == raw + raw
    with case("dump --compress: to a server that knows only the protocol") as work:
        images = folder(work / "images")
        with Target(work, children=1) as target:
            server = peer.Server()
            thread = threading.Thread(target=server.run)
            thread.start()
            dump(images, target, "--compress", "--port", server.port)
            thread.join(10)
            target.reap()
            assert server.closed and peer.ADD_F_COMPRESSED in server.said
            for number, (obj, runs) in enumerate(server.objects.items(), 1):
                peer.write_pagemap(images, "" if obj & 0xFF == peer.TASK else "shmem-", obj >> 8, number, runs)
            expect(criu("restore", "-D", images, "-d", "-o", "restore.log", "-v4"))
            target.verify()
    with case("dump --compress=zstd --page-server is refused") as work:
        with Target(work) as target:
            out = expect(criu("dump", "-D", work, "-t", target.pid, "--page-server", "--port", 9, "--compress=zstd"), 1)
            assert "lz4 only" in out, out
            target.verify()


def server_legacy():
    with case("server: commands and object types of old senders") as work:
        server = PageServer(work)
        with server.connect() as sock:
            sender = peer.Sender(sock, narrow=True)
            page = peer.random_pages(1)
            for number, legacy in enumerate((10, 11, 16, 17), 100):
                sender.send(peer.OPEN, obj=number << 8 | legacy)
                sender.send(peer.ADD, pages=1, address=0x5000, obj=number << 8 | legacy)
                sock.sendall(page)
            for number, legacy in enumerate((27, 28, 29, 32, 33, 34), 200):
                sender.send(peer.ADD, pages=1, address=0x5000, obj=number << 8 | legacy)  # without OPEN
                sock.sendall(page)
            assert sender.close() == 0
        server.ended()
        for number in range(100, 104):
            assert peer.pagemap(work, "", number)[1] == [(0x5000, PE_PRESENT, 1, page)]
        for number in range(200, 206):
            assert peer.pagemap(work, "shmem-", number)[1] == [(0x5000, PE_PRESENT, 1, page)]


def server_parent():
    with case("server: holes are looked up in its own parent") as work:
        old, new = folder(work / "old"), folder(work / "new")
        peer.write_pagemap(old, "", 77, 1, [(0x10000, 4, 4, bytes(4 * PAGE)), (0x14000, 1, 2, b"")])
        (new / "parent").symlink_to("../old")
        server = PageServer(new)
        with server.connect() as sock:
            sender = peer.Sender(sock)
            assert sender.parent(peer.task(77)) == 1 and sender.parent(peer.task(78)) == 0
            assert sender.parent(peer.shmem(77)) == 0
            assert sender.open(peer.task(77)) == 1
            sender.hole(peer.task(77), 0x11000, 5)
            assert sender.close() == 0
        server.ended()
        assert peer.pagemap(new, "", 77)[1] == [(0x11000, PE_PARENT, 5, b"")]


def refuses(name, text, say, prepare=None):
    """`say(sender)` says something wrong: the server ends with 1 and says why, and the connection ends."""
    with case(f"server: {name}") as work:
        if prepare:
            prepare(work)
        server = PageServer(work)
        with server.connect() as sock:
            say(peer.Sender(sock))
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        server.ended(1)
        log = (work / "server.log").read_text()
        assert text in log, log


def server_refuses():
    task = peer.task(5)

    def opened(then):
        def say(sender):
            sender.open(task)
            then(sender)

        return say

    def with_parent(work):
        old = folder(work / "old")
        peer.write_pagemap(old, "", 5, 1, [(0x10000, 4, 2, bytes(2 * PAGE)), (0x13000, 4, 2, bytes(2 * PAGE))])
        (work / "parent").symlink_to("old")

    def leave(sender):
        sender.add(task, 0x1000, peer.random_pages(3))
        sender.sock.shutdown(socket.SHUT_WR)

    def more(sender):
        sender.close()
        sender.sock.sendall(b"x")

    def cut(sender):
        sender.sock.sendall(peer.pack(peer.ADD_F, pages=5, address=0, obj=task, flags=4) + bytes(100))
        sender.sock.shutdown(socket.SHUT_WR)

    def half(sender):
        sender.sock.sendall(peer.pack(peer.ADD_F, pages=5, address=0, obj=task, flags=4)[:20])
        sender.sock.shutdown(socket.SHUT_WR)

    def run(pages, address, flags):
        return opened(lambda s: s.send(peer.ADD_F, pages=pages, address=address, obj=task, flags=flags))

    refuses("the sender leaves without CLOSE", "without saying that this was all", opened(leave))
    refuses("more behind the end", "Unexpected data", more)
    refuses("an end in the middle of pages", "in the middle of pages", opened(cut))
    refuses("an end in the middle of a message", "in the middle of a message", opened(half))
    refuses("an unknown command", "Unknown command 99", opened(lambda s: s.send(99)))
    refuses("an unknown type", "unknown type 5", lambda s: s.send(peer.OPEN2, obj=7 << 8 | 5))
    refuses("no pid", "is no pid", lambda s: s.send(peer.OPEN2, obj=1 << 60 | 1))
    refuses("GET", "asks for pages", lambda s: s.send(peer.GET, pages=1, address=0x1000, obj=5))
    refuses("flags 0", "flags 0x0", run(1, 0x1000, 0))
    refuses("flags 5", "flags 0x5", run(1, 0x1000, 5))
    refuses("flags 8", "flags 0xc", run(1, 0x1000, 12))
    refuses("a compressed page that is larger than one", "of 4097 bytes", opened(lambda s: s.add_compressed(task, 0x1000, [bytes(4097)])))
    refuses("a run without pages", "without pages", run(0, 0x1000, 4))
    refuses("an address inside of a page", "no run of pages", run(1, 0x1001, 4))
    refuses("a run past the end", "no run of pages", run(1 << 60, 0x1000, 4))
    refuses("runs that descend", "higher addresses", opened(lambda s: (s.hole(task, 0x5000, 1, PE_LAZY), s.hole(task, 0x4000, 1, PE_LAZY))))
    refuses("a hole without a parent", "has none", opened(lambda s: s.hole(task, 0x5000, 1)))
    refuses("a hole that the parent has as well", "0x12000", opened(lambda s: s.hole(task, 0x11000, 3)), with_parent)


def server_again():
    with case("server: an object that is opened again begins anew") as work:
        server = PageServer(work)
        with server.connect() as sock:
            sender, page = peer.Sender(sock), peer.random_pages(2)
            sender.open(peer.task(9))
            sender.add(peer.task(9), 0x1000, peer.random_pages(2))
            sender.open(peer.task(9))
            sender.add(peer.task(9), 0x8000, page)
            sender.close()
        server.ended()
        assert peer.pagemap(work, "", 9)[1] == [(0x8000, PE_PRESENT, 2, page)]


def server_given_socket():
    for command in (peer.CLOSE, peer.FORCE_CLOSE):
        with case(f"server: a given socket stays open behind {command:#x}") as work:
            ours, theirs = socket.socketpair()
            server = start("page-server", "-D", work, "--ps-socket", theirs.fileno(), pass_fds=[theirs.fileno()])
            sender, page = peer.Sender(ours), peer.random_pages(2)
            sender.open(peer.task(9))
            sender.add(peer.task(9), 0x1000, page)
            assert sender.close(command) == 0
            ended(server)
            assert peer.pagemap(work, "", 9)[1] == [(0x1000, PE_PRESENT, 2, page)]
            theirs.sendall(b"still open")
            assert ours.recv(100) == b"still open"


def server_daemon():
    with case("server: --daemon and --pidfile") as work:
        port = free_port()
        expect(criu("page-server", "-D", work, "--port", port, "--daemon", "--pidfile", "pid", "-o", "s.log", "-v4"))
        pid = int((work / "pid").read_text())
        assert state_of(pid) not in ("", "Z")
        with socket.create_connection(("127.0.0.1", port)) as sock:
            assert peer.Sender(sock).close() == 0
        until(lambda: state_of(pid) in ("", "Z"), "the server ends")
    with case("server: a port that is taken") as work:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            out = expect(criu("page-server", "-D", work, "--port", taken.getsockname()[1]), 1)
            assert "Address already in use" in out, out
    with case("server: listens for this host alone, unless told") as work:
        server = PageServer(work)
        listening = subprocess.run(["ss", "-Hltn", f"sport = :{server.port}"], capture_output=True, text=True, check=True).stdout
        assert f"127.0.0.1:{server.port}" in listening, listening
        server.process.terminate()
        server.process.wait()
    with case("server: a full disk") as work:
        disk = folder(work / "disk")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=True)
        try:
            server = PageServer(disk, log=work / "server.log")
            with server.connect() as sock:
                sender = peer.Sender(sock)
                sender.open(peer.task(9))
                try:
                    sender.add(peer.task(9), 0x1000, peer.random_pages(4096))
                    sender.close()
                    raise AssertionError("the server took it all")
                except (ConnectionError, EOFError):
                    pass
            server.ended(1)
            assert "No space left" in (work / "server.log").read_text()
        finally:
            subprocess.run(["umount", disk], check=True)


def dump(work, target, *more, code=0, **options):
    done = criu("dump", "-D", work, "-o", "dump.log", "-v4", "-t", target.pid, "--page-server", *more, **options)
    return expect(done, code)


def dump_to_peer():
    with case("dump: to a server that knows only the protocol") as work:
        images = folder(work / "images")
        with Target(work, children=1) as target:
            server = peer.Server()
            thread = threading.Thread(target=server.run)
            thread.start()
            dump(images, target, "--port", server.port)
            thread.join(10)
            target.reap()
            assert server.closed and server.said[-1] == peer.CLOSE
            assert not list(images.glob("pagemap-*")) and not list(images.glob("pages-*"))
            types = sorted(obj & 0xFF for obj in server.objects)
            assert types == [peer.TASK, peer.TASK, peer.SHMEM], types
            # What the peer has kept is enough to bring the tree back.
            out = criu("restore", "-D", images, "-d", "-o", "early.log")
            assert out.returncode == 1 and "page server" in out.stderr, out.stderr
            for number, (obj, runs) in enumerate(server.objects.items(), 1):
                peer.write_pagemap(images, "" if obj & 0xFF == peer.TASK else "shmem-", obj >> 8, number, runs)
            expect(criu("restore", "-D", images, "-d", "-o", "restore.log", "-v4"))
            target.verify()


def dump_to_ours(given):
    with case(f"dump: to our own server, {'over a given socket' if given else 'by address and port'}") as work:
        local, remote = folder(work / "local"), folder(work / "remote")
        with Target(work, children=2) as target:
            if given:
                ours, theirs = socket.socketpair()
                server = start("page-server", "-D", remote, "--ps-socket", theirs.fileno(), pass_fds=[theirs.fileno()])
                dump(local, target, "--ps-socket", ours.fileno(), pass_fds=[ours.fileno()])
                ended(server)
            else:
                server = PageServer(remote)
                dump(local, target, "--address", "localhost", "--port", server.port)
                server.ended()
            target.reap()
            for image in remote.glob("pa*.img"):
                shutil.move(image, local)
            expect(criu("restore", "-D", local, "-d", "-o", "restore.log", "-v4"))
            target.verify()
    with case("dump: the server may share its directory") as work:
        images = folder(work / "images")
        with Target(work) as target:
            server = PageServer(images)
            dump(images, target, "--port", server.port)
            server.ended()
            target.reap()
            expect(criu("restore", "-D", images, "-d", "-o", "restore.log", "-v4"))
            target.verify()


def harmless(name, text, act, leave_running=False):
    """However the connection fails: the source goes on, whole, and the directory holds no checkpoint."""
    with case(f"dump: {name}: the source goes on") as work:
        images = folder(work / "images")
        with Target(work, megabytes=32) as target:
            done = act(images, target)
            assert done.returncode == 1, done
            assert text in done.stderr, done.stderr
            until(lambda: state_of(target.pid) == "S", "the target waits as before")
            target.verify()
            assert not (images / "inventory.img").exists()
            assert not list(images.glob("*.img")), list(images.glob("*.img"))


def run_dump(images, target, *more, **options):
    return criu("dump", "-D", images, "-o", "dump.log", "-v4", "-t", target.pid, "--page-server", *more, **options)


def dump_fails():
    harmless("nobody listens", "Connection refused", lambda images, target: run_dump(images, target, "--port", free_port()))
    harmless("without a port", "--port is missing", lambda images, target: run_dump(images, target))

    def cut(images, target):
        server = peer.Server(cut_after=500)
        threading.Thread(target=server.run).start()
        return run_dump(images, target, "--port", server.port)

    harmless("the server closes in the middle", "page connection", cut)

    def killed(images, target):
        server = PageServer(folder(images.parent / "remote"))
        pages = images.parent / "remote"
        end = threading.Thread(target=lambda: (until(lambda: list(pages.glob("pages-*")), "pages come"), os.kill(server.process.pid, signal.SIGKILL)))
        end.start()
        done = run_dump(images, target, "--port", server.port)
        end.join()
        server.process.wait()
        return done

    harmless("the server is killed", "page connection", killed)

    def refuses_at_end(images, target):
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            sock = listener.accept()[0]
            while True:
                command, flags, pages, _, _ = peer.unpack(peer.receive(sock, 32))
                if command == peer.OPEN2:
                    sock.sendall(b"\0")
                if command == peer.ADD_F and flags & PE_PRESENT:
                    peer.receive(sock, pages * PAGE)
                if command == peer.CLOSE:
                    sock.sendall(struct.pack("=i", -28))
                    return

        threading.Thread(target=serve).start()
        return run_dump(images, target, "--port", listener.getsockname()[1])

    harmless("the server says that it failed", "status -28", refuses_at_end)

    with case("dump: killed while the server takes nothing: the source goes on") as work:
        images = folder(work / "images")
        with Target(work, megabytes=64) as target, socket.create_server(("127.0.0.1", 0)) as listener:
            tool = start("dump", "-D", images, "-o", "dump.log", "-v4", "-t", target.pid, "--page-server", "--port", listener.getsockname()[1])
            sock = listener.accept()[0]
            peer.receive(sock, 32)
            sock.sendall(b"\0")
            peer.receive(sock, 32)  # the first run has begun, and nobody reads on
            os.kill(tool.pid, signal.SIGKILL)
            tool.wait()
            target.verify()
            sock.close()
    with case("dump: interrupted while the server takes nothing: the source goes on") as work:
        images = folder(work / "images")
        with Target(work, megabytes=64) as target, socket.create_server(("127.0.0.1", 0)) as listener:
            tool = start("dump", "-D", images, "-t", target.pid, "--page-server", "--port", listener.getsockname()[1])
            sock = listener.accept()[0]
            peer.receive(sock, 32)
            os.kill(tool.pid, signal.SIGTERM)
            tool.communicate(timeout=20)
            target.verify()
            assert not list(images.glob("*.img"))
            sock.close()


def main():
    server_takes(narrow=False)
    server_takes(narrow=True)
    server_takes_compressed()
    server_legacy()
    server_parent()
    server_refuses()
    server_again()
    server_given_socket()
    server_daemon()
    dump_to_peer()
    dump_to_ours(given=False)
    dump_to_ours(given=True)
    dump_fails()
    finish()


main()
