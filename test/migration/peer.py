"""A peer of the page protocols, written from the description of what CRIU 4.2 sends and expects.

It shares nothing with the program: other language, own reading of the messages. Whatever it does not expect ends it
with an exception.
"""
import os
import socket
import struct

PAGE = 4096
ADD, HOLE, OPEN, OPEN2, PARENT, ADD_F, GET, CLOSE, FORCE_CLOSE = 1, 2, 3, 4, 5, 6, 7, 0x1023, 0x1024
ADD_F_COMPRESSED = 8
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


def lz4_of(letter):
    """A page of one letter as a raw block of LZ4: a literal, a match of it at distance 1, five literals."""
    extra = PAGE - 6 - 4 - 15
    return b"\x1f" + letter + b"\x01\x00" + b"\xff" * (extra // 255) + bytes([extra % 255]) + b"\x50" + letter * 5


def unpack_lz4(block):
    """The contents of a raw block of LZ4."""
    out, at = bytearray(), 0

    def length(start):
        nonlocal at
        total = start
        if start == 15:
            while True:
                at += 1
                total += block[at - 1]
                if block[at - 1] != 255:
                    break
        return total

    while at < len(block):
        token = block[at]
        at += 1
        literals = length(token >> 4)
        out += block[at : at + literals]
        at += literals
        if at == len(block):
            break
        distance = block[at] | block[at + 1] << 8
        at += 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-distance])
    return bytes(out)


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

    def add_compressed(self, obj, address, pages, flags=PE_PRESENT):
        """`pages`: of each what is sent: nothing for zeroes, a page, or a block of LZ4."""
        self.send(ADD_F_COMPRESSED, pages=len(pages), address=address, obj=obj, flags=flags)
        for page in pages:
            self.sock.sendall(struct.pack("=I", len(page)) + page)

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
            elif command in (ADD_F, ADD_F_COMPRESSED):
                assert obj == current, "a run of an object that is not open"
                assert flags in (4, 6, 1, 2, 3) and pages and address % PAGE == 0
                runs = self.objects[obj]
                assert not runs or runs[-1][0] + runs[-1][2] * PAGE <= address, "runs are not ascending"
                assert command == ADD_F or flags & PE_PRESENT
                if command == ADD_F_COMPRESSED:
                    data = b"".join(self.compressed_page(sock) for _ in range(pages))
                else:
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


    @staticmethod
    def compressed_page(sock):
        size = struct.unpack("=I", receive(sock, 4))[0]
        assert size <= PAGE
        data = receive(sock, size)
        page = data if size == PAGE else unpack_lz4(data) if size else bytes(PAGE)
        assert len(page) == PAGE
        return page


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
    """{number: value} of a message with varints, and bytes."""
    out, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        else:
            assert key & 7 == 0, "neither a varint nor bytes"
        out[key >> 3] = value
    return out


def varints(data):
    """Packed numbers."""
    out, at = [], 0
    while at < len(data):
        value, at = read_varint(data, at)
        out.append(value)
    return out


def entries(path):
    """(head, [fields]) of a pagemap."""
    data = path.read_bytes()
    assert data[:8] == struct.pack("=II", 0x54564319, 0x56084025), data[:8].hex()
    at, found = 8, []
    while at < len(data):
        size = struct.unpack_from("=I", data, at)[0]
        found.append(fields(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return found[0], found[1:]


def pagemap(folder, kind, number):
    """(pages id, [(address, flags, pages, bytes)]) of an image."""
    head, found = entries(folder / f"pagemap-{kind}{number}.img")
    runs = []
    pages_file = folder / f"pages-{head[1]}.img"
    content, offset = pages_file.read_bytes() if pages_file.exists() else b"", 0
    for entry in found:
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
