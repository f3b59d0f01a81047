"""A peer of the page protocols, written from the description of what CRIU 4.2 sends and expects.

It shares nothing with the program: other language, own reading of the messages. Whatever it does not expect ends it
with an exception.
"""
import os
import socket
import struct

PAGE = 4096
ADD, HOLE, OPEN, OPEN2, PARENT, ADD_F, GET, CLOSE, FORCE_CLOSE = 1, 2, 3, 4, 5, 6, 7, 0x1023, 0x1024
PE_PARENT, PE_LAZY, PE_PRESENT = 1, 2, 4
TASK, SHMEM = 1, 2


def pack(command, pages=0, address=0, obj=0, flags=0, narrow=False):
    """A message: 32 bytes, or the 24 of before 4.2."""
    word = command | flags << 16
    return struct.pack("=IIQQ", word, pages, address, obj) if narrow else struct.pack("=IIQQQ", word, 0, pages, address, obj)


def unpack(data):
    """(command, flags, pages, address, object) of 32 bytes."""
    word, padding, pages, address, obj = struct.unpack("=IIQQQ", data)
    assert padding == 0, data.hex()
    return word & 0xFFFF, word >> 16, pages, address, obj


def task(pid):
    return pid << 8 | TASK


def shmem(number):
    return number << 8 | SHMEM


def receive(sock, size):
    data = bytearray()
    while len(data) < size:
        part = sock.recv(min(size - len(data), 1 << 20))
        if not part:
            raise EOFError(f"{len(data)} of {size} bytes")
        data += part
    return bytes(data)


class Sender:
    """A dump that sends memory."""

    def __init__(self, sock, narrow=False):
        self.sock, self.narrow = sock, narrow

    def send(self, command, **fields):
        self.sock.sendall(pack(command, narrow=self.narrow, **fields))

    def open(self, obj):
        self.send(OPEN2, obj=obj)
        return receive(self.sock, 1)[0]

    def parent(self, obj):
        self.send(PARENT, obj=obj)
        return struct.unpack("=i", receive(self.sock, 4))[0]

    def add(self, obj, address, data, flags=PE_PRESENT):
        self.send(ADD_F, pages=len(data) // PAGE, address=address, obj=obj, flags=flags)
        self.sock.sendall(data)

    def hole(self, obj, address, pages, flags=PE_PARENT):
        self.send(ADD_F, pages=pages, address=address, obj=obj, flags=flags)

    def close(self, command=CLOSE):
        self.send(command)
        return struct.unpack("=i", receive(self.sock, 4))[0]


class Server:
    """A page server for one dump: keeps {object: [(address, flags, pages, bytes)]} and what was said, in order."""

    def __init__(self, has_parent=(), cut_after=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.objects, self.said, self.has_parent, self.cut_after = {}, [], set(has_parent), cut_after
        self.closed = False

    def run(self, sock=None):
        given = sock is not None
        sock = sock or self.listener.accept()[0]
        current, taken = None, 0
        while True:
            try:
                message = receive(sock, 32)
            except EOFError:
                break
            command, flags, pages, address, obj = unpack(message)
            self.said.append(command)
            if command == OPEN2:
                assert (flags, pages, address) == (0, 0, 0)
                current = obj
                self.objects[obj] = []
                sock.sendall(bytes([obj in self.has_parent]))
            elif command == PARENT:
                sock.sendall(struct.pack("=i", obj in self.has_parent))
            elif command == ADD_F:
                assert obj == current, "a run of an object that is not open"
                assert flags in (4, 6, 1, 2, 3) and pages and address % PAGE == 0
                runs = self.objects[obj]
                assert not runs or runs[-1][0] + runs[-1][2] * PAGE <= address, "runs are not ascending"
                data = receive(sock, pages * PAGE) if flags & PE_PRESENT else b""
                runs.append((address, flags, pages, data))
                taken += pages
                if self.cut_after is not None and taken >= self.cut_after:
                    sock.close()
                    return
            elif command in (CLOSE, FORCE_CLOSE):
                assert message == struct.pack("=I", command) + bytes(28)
                sock.sendall(bytes(4))
                self.closed = True
                if given or command == FORCE_CLOSE:
                    return
            else:
                raise AssertionError(f"command {command:#x}")
        sock.close()


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at


def fields(data):
    """{number: value} of a message with nothing but varints."""
    out, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        assert key & 7 == 0, "not a varint"
        out[key >> 3], at = read_varint(data, at)
    return out


def pagemap(folder, kind, number):
    """(pages id, [(address, flags, pages, bytes)]) of an image."""
    data = (folder / f"pagemap-{kind}{number}.img").read_bytes()
    assert data[:8] == struct.pack("=II", 0x54564319, 0x56084025), data[:8].hex()
    at, entries = 8, []
    while at < len(data):
        size = struct.unpack_from("=I", data, at)[0]
        entries.append(fields(data[at + 4 : at + 4 + size]))
        at += 4 + size
    head, runs = entries[0], []
    pages_file = folder / f"pages-{head[1]}.img"
    content, offset = pages_file.read_bytes() if pages_file.exists() else b"", 0
    for entry in entries[1:]:
        flags = entry.get(4, PE_PARENT if entry.get(3) else PE_PRESENT)
        pages = entry.get(5, entry.get(2, 0))
        size = pages * PAGE if flags & PE_PRESENT else 0
        assert offset + size <= len(content), "the pages file is too short"
        runs.append((entry[1], flags, pages, content[offset : offset + size]))
        offset += size
    return head[1], runs


def write_pagemap(folder, kind, number, pages_id, runs):
    """The other direction: runs of (address, flags, pages, bytes)."""

    def varint(value):
        out = bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes(out + bytes([value]))

    def message(values):
        body = b"".join(varint(number << 3) + varint(value) for number, value in values)
        return struct.pack("=I", len(body)) + body

    data = struct.pack("=II", 0x54564319, 0x56084025) + message([(1, pages_id)])
    for address, flags, pages, _ in runs:
        data += message([(1, address), (2, 0), (4, flags), (5, pages)])
    (folder / f"pagemap-{kind}{number}.img").write_bytes(data)
    (folder / f"pages-{pages_id}.img").write_bytes(b"".join(content for *_, content in runs))


def pages_of(seed, count):
    """Contents that no other place has."""
    return b"".join(struct.pack("=QQ", seed, i) * (PAGE // 16) for i in range(count))


def random_pages(count):
    return os.urandom(count * PAGE)
