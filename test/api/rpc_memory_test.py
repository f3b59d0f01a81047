#!/usr/bin/env python3
"""Requests to `criu swrk` about memory ahead of a dump and on its way elsewhere: page servers, pre-dumps.

usage: rpc_memory_test.py --criu CRIU --pycriu FOLDER --rpc-pb2 FILE
"""
import os
import socket
import struct
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import support  # noqa: E402
from support import Worker, converse, expect, images, request, target, ticks  # noqa: E402


def ask(wanted):
    return support.ask(GIVEN, rpc, wanted)


# ---- page servers --------------------------------------------------------------------------------------------------

def close_message(command=0x1023):
    return struct.pack("=IIQQQ", command, 0, 0, 0, 0)


def send_page(sock, pid, page):
    """One page of one process, as the protocol wants it."""
    sock.sendall(struct.pack("=IIQQQ", 4, 0, 0, 0, pid << 8 | 1))
    expect("the server has no parent", sock.recv(1) == b"\0")
    sock.sendall(struct.pack("=IIQQQ", 6 | 4 << 16, 0, 1, 0x10000, pid << 8 | 1) + page)


def page_servers():
    page = os.urandom(4096)
    for kind in (rpc.PAGE_SERVER, rpc.PAGE_SERVER_CHLD):
        name = rpc.criu_req_type.Name(kind)
        with images() as (folder, fd):
            worker = Worker(GIVEN.criu)
            answer, _, _ = converse(rpc, worker.socket, request(rpc, kind, fd, keep_open=True))
            expect(f"{name} answers when it listens", answer.type == rpc.PAGE_SERVER and answer.success and answer.ps.pid > 0
                   and answer.ps.port > 0, answer)
            pid = answer.ps.pid
            with socket.create_connection(("127.0.0.1", answer.ps.port)) as sock:
                send_page(sock, 77, page)
                sock.sendall(close_message())
                expect(f"{name} takes pages", sock.recv(4) == bytes(4))
            if kind == rpc.PAGE_SERVER_CHLD:
                answer, _, _ = converse(rpc, worker.socket, rpc.criu_req(type=rpc.WAIT_PID, pid=pid))
                expect(f"{name} can be waited for", answer.success and answer.status == 0, answer)
            else:
                worker.socket.close()
            expect(f"{name}: its worker ends well", worker.end() == 0)
            expect(f"{name} ends", support.wait_for(lambda: not os.path.exists(f"/proc/{pid}")))
            expect(f"{name} has written the page", (folder / "pages-65537.img").read_bytes() == page)
    with images() as (folder, fd):
        ours, theirs = socket.socketpair()
        worker = Worker(GIVEN.criu, pass_fds=[theirs.fileno()])
        wanted = request(rpc, rpc.PAGE_SERVER_CHLD, fd, keep_open=True)
        wanted.opts.ps.fd = theirs.fileno()
        answer, _, _ = converse(rpc, worker.socket, wanted)
        expect("a page server on a given socket has no port", answer.success and answer.ps.port == 0, answer)
        send_page(ours, 78, page)
        ours.sendall(close_message(0x1024))
        expect("it takes pages", ours.recv(4) == bytes(4))
        answer, _, _ = converse(rpc, worker.socket, rpc.criu_req(type=rpc.WAIT_PID, pid=answer.ps.pid))
        expect("and ends, the socket being whole", answer.success and answer.status == 0, answer)
        worker.end()
    with images() as (folder, fd), images() as (remote, remote_fd), target() as process:
        worker = Worker(GIVEN.criu)
        answer, _, _ = converse(rpc, worker.socket, request(rpc, rpc.PAGE_SERVER_CHLD, remote_fd, keep_open=True))
        wanted = request(rpc, rpc.DUMP, fd, pid=process.pid, leave_running=True)
        wanted.opts.ps.address, wanted.opts.ps.port = "127.0.0.1", answer.ps.port
        dumped, _, _, code = ask(wanted)
        expect("a dump by request sends its pages", dumped.success and code == 0, dumped)
        expect("which are there, and not here", list(remote.glob("pages-*")) and not list(folder.glob("pages-*")))
        answer, _, _ = converse(rpc, worker.socket, rpc.criu_req(type=rpc.WAIT_PID, pid=answer.ps.pid))
        expect("its server has ended well", answer.success and answer.status == 0, answer)
        worker.end()


def stored_processes():
    """pidfd_store_sk: what a round knows of the processes of the one before."""
    with target() as process, images() as (folder, _), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as store:
        def round_of(number, parent, **how):
            (folder / str(number)).mkdir(exist_ok=True)
            fd = os.open(folder / str(number), os.O_RDONLY)
            if parent is not None:
                how["parent_img"] = f"../{parent}"
            answer, _, _, _ = ask(request(rpc, rpc.SINGLE_PRE_DUMP, fd, pid=process.pid, **how))
            os.close(fd)
            return answer, sum(file.stat().st_size for file in (folder / str(number)).glob("pages-*"))
        answer, whole = round_of(0, None, pidfd_store_sk=store.fileno())
        expect("a pre-dump fills the store", answer.success and ticks(process), answer)
        for number in (1, 2):
            answer, size = round_of(number, number - 1, pidfd_store_sk=store.fileno())
            expect(f"round {number} knows the process", answer.success and size < whole / 2, (answer, size, whole))
        numbers, fds, _, _ = socket.recv_fds(store, 100, 8)
        expect("the store holds the process once", numbers == process.pid.to_bytes(4, "little") and len(fds) == 1, (numbers, fds))
        with target() as other:
            stranger = os.pidfd_open(other.pid)
            socket.send_fds(store, [numbers], [stranger])
            os.close(stranger)
            answer, size = round_of(3, 2, pidfd_store_sk=store.fileno())
            expect("another process of that number is written whole", answer.success and size >= whole / 2, (answer, size, whole))
            support.end(other.pid)
        answer, size = round_of(4, 3, pidfd_store_sk=store.fileno())
        expect("which the store knows then", answer.success and size < whole / 2, (answer, size, whole))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as fresh, socket.socket() as wrong:
            answer, _ = round_of(5, 4, pidfd_store_sk=fresh.fileno())
            expect("an empty store beside earlier images is refused", not answer.success and "knows of no process" in answer.cr_errmsg,
                   answer)
            answer, _ = round_of(6, None, pidfd_store_sk=wrong.fileno())
            expect("a socket of another kind is refused", not answer.success and "SOCK_DGRAM" in answer.cr_errmsg, answer)
        answer, _ = round_of(7, None, pidfd_store_sk=999)
        expect("no socket at all", not answer.success and "pidfd_store_sk" in answer.cr_errmsg, answer)
        expect("the process goes on", ticks(process))
        for fd in fds:
            os.close(fd)
        support.end(process.pid)


def pre_dumps():
    """Rounds on one connection, the dump at its end; each names the folder of the one before."""
    with target() as process, images() as (folder, _):
        fds = []
        for number in range(4):
            (folder / str(number)).mkdir()
            fds.append(os.open(folder / str(number), os.O_RDONLY))
        worker = Worker(GIVEN.criu)
        for number in range(2):
            parent = {"parent_img": f"../{number - 1}"} if number else {}
            answer, _, _ = converse(rpc, worker.socket, request(rpc, rpc.PRE_DUMP, fds[number], pid=process.pid, **parent))
            expect(f"pre-dump {number}", answer.success and answer.type == rpc.PRE_DUMP and ticks(process), answer)
        answer, _, _, code = ask(request(rpc, rpc.SINGLE_PRE_DUMP, fds[2], pid=process.pid, parent_img="../1"))
        expect("a single pre-dump", answer.success and answer.type == rpc.SINGLE_PRE_DUMP and code == 0, answer)
        answer, _, _ = converse(rpc, worker.socket, request(rpc, rpc.DUMP, fds[3], pid=process.pid, parent_img="../2"))
        expect("the dump on the same connection", answer.success and answer.type == rpc.DUMP and process.wait() == -9, answer)
        expect("the worker ends then", worker.end() == 0)
        expect("the dump builds on the pre-dumps", os.readlink(folder / "3" / "parent") == "../2")
        answer, _, _, _ = ask(request(rpc, rpc.RESTORE, fds[2]))
        expect("a pre-dump is no checkpoint", not answer.success and "pre-dump" in answer.cr_errmsg, answer)
        answer, _, _, _ = ask(request(rpc, rpc.RESTORE, fds[3]))
        expect("it is restored", answer.success and ticks(process), answer)
        support.end(process.pid)
        for fd in fds:
            os.close(fd)
    with target() as process, images() as (folder, fd):
        worker = Worker(GIVEN.criu)
        answer, _, _ = converse(rpc, worker.socket, request(rpc, rpc.PRE_DUMP, fd, pid=process.pid))
        answer, _, _ = converse(rpc, worker.socket, rpc.criu_req(type=rpc.VERSION))
        expect("after a pre-dump comes another one or a dump", not answer.success and worker.end() == 255, answer)


GIVEN = support.arguments()
with tempfile.TemporaryDirectory() as package:
    rpc = support.load_pycriu(GIVEN, package).rpc
    page_servers()
    pre_dumps()
    stored_processes()
sys.exit(support.finish())
