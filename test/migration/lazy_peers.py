"""Peers of lazy restores that know only the protocol: a daemon, a server of images, and one who asks."""
import ctypes
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import threading

import peer
from peer import PAGE
from scene import CRIU, LIMIT


class PeerDaemon:
    """A daemon that knows only the protocol: it answers faults, a page each, from images of its own reading."""

    COPY, ZEROPAGE = 0xC028AA03, 0xC020AA04

    def __init__(self, images):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(images / "lazy-pages.socket"))
        self.listener.listen(10)
        self.images, self.faults, self.error, self.ended_well = images, 0, None, False
        self.wake, self.quit = os.pipe()
        self.thread = threading.Thread(target=self.guarded)
        self.thread.start()

    def guarded(self):
        try:
            self.serve()
        except Exception as error:  # noqa: BLE001 - told to the test
            self.error = error

    def serve(self):
        sock = self.listener.accept()[0]
        tasks = len(re.findall(r'"pid":', subprocess.run([CRIU, "crit", "decode", "-i", self.images / "pstree.img"], capture_output=True, text=True, check=True).stdout))
        memory = {}
        for _ in range(tasks):
            pid = struct.unpack("=i", peer.receive(sock, 4))[0]
            if pid < 0:
                continue
            data, fds, _, _ = socket.recv_fds(sock, 1, 4)
            assert len(data) == 1 and len(fds) == 1
            pages = {}
            for address, flags, count, content in peer.pagemap(self.images, "", pid)[1]:
                for i in range(count):
                    if flags & peer.PE_LAZY:
                        pages[address + i * PAGE] = content[i * PAGE : (i + 1) * PAGE]
            memory[fds[0]] = pages
        poll = select.poll()
        for fd in [self.wake, sock.fileno(), *memory]:
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.wake:
                    for other in memory:
                        os.close(other)
                    return
                if fd == sock.fileno():
                    end = sock.recv(4)
                    assert end == b"FTSR", end
                    self.ended_well = True
                    poll.unregister(sock)
                    continue
                try:
                    message = os.read(fd, 32)
                except BlockingIOError:
                    continue
                self.message(fd, message, memory, poll)

    def message(self, fd, message, memory, poll):
        event = message[0]
        first, second, third = struct.unpack_from("=QQQ", message, 8)
        pages = memory[fd]
        if event == 0x12:  # page fault: flags, address
            address = second & ~(PAGE - 1)
            self.faults += 1
            self.put(fd, address, pages.get(address))
        elif event == 0x13:  # fork: the child's descriptor
            child = struct.unpack_from("=I", message, 8)[0]
            memory[child] = dict(pages)
            poll.register(child, select.POLLIN)
        elif event == 0x14:  # remap: from, to, length
            taken = {address: pages.pop(address) for address in list(pages) if first <= address < first + third}
            pages.update({address - first + second: content for address, content in taken.items()})
        else:  # remove, unmap: start, end
            for address in [address for address in pages if first <= address < second]:
                del pages[address]

    def put(self, fd, address, content):
        try:
            if content is None:
                fcntl.ioctl(fd, self.ZEROPAGE, bytearray(struct.pack("=QQQq", address, PAGE, 0, 0)))
            else:
                buffer = ctypes.create_string_buffer(content, PAGE)
                fcntl.ioctl(fd, self.COPY, bytearray(struct.pack("=QQQQq", address, ctypes.addressof(buffer), PAGE, 0, 0)))
        except FileExistsError:
            pass

    def stop(self):
        """Everything that was needed has been there: closing is no harm to what was touched."""
        os.write(self.quit, b"x")
        self.thread.join(LIMIT)
        if self.error:
            raise self.error
        assert self.ended_well


class ImageServer:
    """A page server for lazy restores that knows only the protocol."""

    def __init__(self, images, most=1 << 20, cut_after=None):
        self.memory = {}
        for image in images.glob("pagemap-[0-9]*.img"):
            pid = int(image.stem.split("-")[1])
            self.memory[pid] = [run for run in peer.pagemap(images, "", pid)[1]]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.most, self.cut_after, self.asked, self.closed, self.error = most, cut_after, 0, False, None
        self.thread = threading.Thread(target=self.guarded)
        self.thread.start()

    def guarded(self):
        try:
            self.serve()
        except Exception as error:  # noqa: BLE001 - told to the test
            self.error = error

    def serve(self):
        sock = self.listener.accept()[0]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            command, flags, pages, address, obj = peer.unpack(peer.receive(sock, 32))
            if command == peer.CLOSE:
                sock.sendall(bytes(4))
                self.closed = True
                assert sock.recv(1) == b""
                sock.close()
                return
            assert command == peer.GET and flags == 0 and pages > 0 and address % PAGE == 0
            self.asked += 1
            if self.cut_after is not None and self.asked > self.cut_after:
                sock.close()
                return
            start, _, count, content = next(run for run in self.memory[obj] if run[0] <= address < run[0] + run[2] * PAGE)
            given = min(pages, count - (address - start) // PAGE, self.most)
            data = content[address - start : address - start + given * PAGE]
            sock.sendall(peer.pack(peer.ADD_F, pages=given, address=address, obj=obj, flags=peer.PE_PRESENT) + data)


def make_remote(source, images):
    """Images as `dump --lazy-pages` leaves them: what may come later is not there. Returns how much that is."""
    images.mkdir()
    left = 0
    for image in source.iterdir():
        if image.suffix == ".img" and not re.match(r"pages-|pagemap-[0-9]", image.name):
            (images / image.name).write_bytes(image.read_bytes())
    for image in source.glob("pagemap-shmem*.img"):
        number = peer.pagemap(source, "shmem-", int(image.stem.split("-")[2]))[0]
        (images / f"pages-{number}.img").write_bytes((source / f"pages-{number}.img").read_bytes())
    for image in source.glob("pagemap-[0-9]*.img"):
        pid = int(image.stem.split("-")[1])
        number, runs = peer.pagemap(source, "", pid)
        kept = [(address, 2, count, b"") if flags & 2 else (address, flags, count, content) for address, flags, count, content in runs]
        left += sum(count for _, flags, count, _ in runs if flags & 2)
        peer.write_pagemap(images, "", pid, number, kept)
    return left


class Asker:
    """The asking side of a lazy restore that knows only the protocol."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))

    def ask(self, pid, address, pages):
        self.sock.sendall(peer.pack(peer.GET, pages=pages, address=address, obj=pid))

    def answer(self):
        command, flags, pages, address, pid = peer.unpack(peer.receive(self.sock, 32))
        assert (command, flags) == (peer.ADD_F, peer.PE_PRESENT)
        return pid, address, peer.receive(self.sock, pages * PAGE)

    def end(self):
        self.sock.sendall(peer.pack(peer.CLOSE))
        assert peer.receive(self.sock, 4) == bytes(4)
        self.sock.close()
