#!/usr/bin/env python3
"""`criu service`: start and end, many clients, and what it does not do for clients who are not root.

usage: service_test.py --criu CRIU --pycriu FOLDER --rpc-pb2 FILE
"""
import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import support  # noqa: E402
from support import converse, expect, request, target, ticks  # noqa: E402

NOBODY = 65534


class Service:
    """A running service in a folder of its own."""

    def __init__(self, folder, *more):
        self.path = folder / "socket"
        ready, theirs = os.pipe()
        os.set_inheritable(theirs, True)
        self.process = subprocess.Popen([GIVEN.criu, "service", "-W", folder, "--address", "socket", "--pidfile", "pid", "-o",
                                         "service.log", "-v4", "--status-fd", str(theirs), *more], pass_fds=[theirs])
        os.close(theirs)
        self.ready = os.read(ready, 2)
        os.close(ready)
        self.pid = int((folder / "pid").read_text())

    def connect(self):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(str(self.path))
        client.settimeout(60)
        return client

    def children(self):
        return pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        code = self.process.wait()
        support.wait_for(lambda: not os.path.exists(f"/proc/{self.pid}"))
        return code


def version(client):
    answer, _, _ = converse(rpc, client, rpc.criu_req(type=rpc.VERSION))
    client.close()
    return answer is not None and answer.success


def start_and_end(folder):
    service = Service(folder)
    expect("it says that it is ready", service.ready == b"\0" and service.pid == service.process.pid, service.ready)
    expect("it answers", version(service.connect()))
    expect("anybody may connect", os.stat(service.path).st_mode & 0o777 == 0o666)
    expect("it ends", service.end() == 0 and not service.path.exists())
    service = Service(folder, "--daemon")
    expect("as a daemon", service.pid != service.process.pid and service.process.wait() == 0 and version(service.connect()))
    service.end()
    (folder / "socket").write_text("")
    done = subprocess.run([GIVEN.criu, "service", "-W", folder, "--address", "socket"], capture_output=True, text=True)
    expect("a file in its way is not removed", done.returncode == 1 and "no socket" in done.stderr and (folder / "socket").exists(), done)
    (folder / "socket").unlink()


def descriptors_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def many_clients(service):
    before = descriptors_of(service.pid)
    expect("1000 requests one after the other", all(version(service.connect()) for _ in range(1000)))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(version(service.connect()))) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect("50 at once", answers == [True] * 50, answers)
    expect("nothing is left of them", support.wait_for(lambda: not service.children()) and descriptors_of(service.pid) == before,
           (service.children(), descriptors_of(service.pid), before))


def dump_and_restore(service, folder):
    fd = os.open(folder, os.O_RDONLY)
    with target() as process:
        answer, _, told = converse(rpc, service.connect(), request(rpc, rpc.DUMP, fd, pid=process.pid, notify_scripts=True))
        expect("a dump", answer.success and process.wait() == -9 and len(told) == 3, answer)
        answer, _, told = converse(rpc, service.connect(), request(rpc, rpc.RESTORE, fd))
        expect("a restore", answer.success and answer.restore.pid == process.pid and ticks(process), answer)
        for field, change in (("rst_sibling", lambda o: setattr(o, "rst_sibling", True)),
                              ("inherit_fd", lambda o: o.inherit_fd.add(key="a", fd=0)), ("ps.fd", lambda o: setattr(o.ps, "fd", 0))):
            wanted = request(rpc, rpc.RESTORE, fd)
            change(wanted.opts)
            answer, _, _ = converse(rpc, service.connect(), wanted)
            expect(f"{field} is refused", answer.cr_errno == 56 and "not allowed in standalone service" in answer.cr_errmsg, answer)
        worker_dies(service, process, fd)
    os.close(fd)


def worker_dies(service, process, fd):
    for hook in ("pre-dump", "query-ext-files", "post-dump"):
        client = service.connect()
        client.send(request(rpc, rpc.DUMP, fd, pid=process.pid, notify_scripts=True).SerializeToString())
        while True:
            answer = rpc.criu_resp()
            answer.ParseFromString(client.recv(10000))
            if answer.notify.script == hook:
                break
            client.send(rpc.criu_req(type=rpc.NOTIFY, notify_success=True).SerializeToString())
        for child in service.children():
            os.kill(int(child), signal.SIGKILL)
        client.close()
        expect(f"the worker is killed at {hook}: the tree goes on", ticks(process))


def killed_at_random(service, folder):
    """Worker, client and service, at any instant."""
    fd = os.open(folder, os.O_RDONLY)
    wanted = request(rpc, rpc.DUMP, fd, leave_running=True)
    with target() as process:
        wanted.opts.pid = process.pid
        for i in range(12):
            client = service.connect()
            client.send(wanted.SerializeToString())
            time.sleep(0.0015 * i)
            for child in service.children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
            client.close()
            if not ticks(process):
                expect(f"the worker is killed after {1.5 * i} ms", False)
                return
        expect("workers are killed at twelve instants: the tree goes on", True)
        for i in range(12):
            child = os.fork()
            if child == 0:
                service.connect().send(wanted.SerializeToString())
                time.sleep(60)
            time.sleep(0.005 + 0.0015 * i)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if not ticks(process):
                expect("the client is killed", False)
                return
        expect("clients are killed at twelve instants: the tree goes on", support.wait_for(lambda: not service.children()))
        client = service.connect()
        support.wait_for(service.children)
        client.send(wanted.SerializeToString())
        os.kill(service.pid, signal.SIGKILL)
        answer = rpc.criu_resp()
        answer.ParseFromString(client.recv(10000))
        expect("the service is killed: its worker goes on", answer.success and ticks(process), answer)
    os.close(fd)


# ---- attacks -------------------------------------------------------------------------------------------------------

def be_as_after_exec():
    """Who has changed user is not dumpable until an exec, and his descriptors are root's."""
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE


def as_nobody(body):
    """What `body` returns, run by a child with nobody's rights."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            be_as_after_exec()
            text = repr(body())
        except BaseException as error:  # noqa: B902 - the child has to end here
            text = repr(("exception", repr(error)))
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        text = said.read()
    os.waitpid(pid, 0)
    return eval(text)  # noqa: S307 - our own text


def ask_as_nobody(service, folder, kind, **options):
    """(success, number, message)"""
    def body():
        fd = options.pop("fd", None)
        fd = os.open(folder, os.O_RDONLY) if fd is None else fd
        answer, _, _ = converse(rpc, service.connect(), request(rpc, kind, fd, **options))
        return (answer.success, answer.cr_errno, answer.cr_errmsg) if answer else (False, 0, "closed")
    return as_nobody(body)


def attacks(service, folder):
    own = folder / "nobody"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    os.chmod(folder, 0o755)
    secret = folder / "secret"
    secret.write_text("kept")
    secret.chmod(0o600)
    closed = folder / "closed"
    closed.mkdir(0o700)
    with target() as other:
        said = ask_as_nobody(service, own, rpc.DUMP, pid=other.pid)
        expect("attack: another user's process", not said[0] and ticks(other), said)
        said = ask_as_nobody(service, own, rpc.DUMP, pid=1)
        expect("attack: init", not said[0], said)
    with target(user=NOBODY, group=NOBODY, extra_groups=[]) as mine:
        said = ask_as_nobody(service, own, rpc.DUMP, pid=mine.pid, config_file=str(secret))
        expect("attack: config_file", said[1] == 56 and "config_file" in said[2] and "kept" not in said[2], said)
        said = ask_as_nobody(service, own, rpc.DUMP, pid=mine.pid, fd=-1, images_dir=str(closed))
        expect("attack: a folder that he may not write", not said[0] and not os.listdir(closed), said)
        said = ask_as_nobody(service, own, rpc.DUMP, pid=mine.pid, fd=999)
        expect("attack: a descriptor that he has not got", said[1] == 56, said)
        (own / "criu.log").unlink()
        (own / "criu.log").symlink_to(secret)
        said = ask_as_nobody(service, own, rpc.DUMP, pid=mine.pid)
        expect("attack: a link as log", not said[0] and secret.read_text() == "kept", said)
        (own / "criu.log").unlink()
        (own / "inventory.img").symlink_to(secret)
        said = ask_as_nobody(service, own, rpc.DUMP, pid=mine.pid, leave_running=True)
        expect("attack: a link as image", secret.read_text() == "kept", said)
        with contextlib.suppress(FileNotFoundError):
            (own / "inventory.img").unlink()
        said = ask_as_nobody(service, own, rpc.DUMP, pid=mine.pid)
        expect("his own process is dumped", said[0] and mine.wait() == -9, said)
        expect("the images are his", os.stat(own / "inventory.img").st_uid == NOBODY)
        forged(service, own, mine)
        said = ask_as_nobody(service, own, rpc.RESTORE)
        expect("and restored", said[0] and ticks(mine), said)
    reused_pid(service, own)
    silent_clients(service)


def edit_core(own, pid, change):
    """core-PID.img of nobody's dump, changed by crit."""
    import json
    core = own / f"core-{pid}.img"
    before = core.read_bytes()
    text = json.loads(subprocess.run([GIVEN.criu, "crit", "decode", "-i", core], capture_output=True, check=True).stdout)
    change(text["entries"][0])
    subprocess.run([GIVEN.criu, "crit", "encode", "-o", core], input=json.dumps(text).encode(), check=True)
    return lambda: core.write_bytes(before)


def forged(service, own, mine):
    def root(entry):
        for name in ("uid", "euid", "suid", "fsuid"):
            entry["thread_core"]["creds"][name] = 0

    def capable(entry):
        entry["thread_core"]["creds"]["cap_prm"] = entry["thread_core"]["creds"]["cap_eff"] = [0, 1 << 8]

    for name, change in (("root's identity", root), ("CAP_CHECKPOINT_RESTORE", capable)):
        undo = edit_core(own, mine.pid, change)
        said = ask_as_nobody(service, own, rpc.RESTORE)
        expect(f"attack: images with {name}", not said[0] and not os.path.exists(f"/proc/{mine.pid}"), said)
        undo()
    who = own / "who"

    def body():
        wanted = request(rpc, rpc.RESTORE, os.open(own, os.O_RDONLY))
        wanted.opts.exec_cmd.extend(["/bin/sh", "-c", f"id -u > {who}; grep CapPrm /proc/self/status >> {who}; env >> {who}"])
        answer, _, _ = converse(rpc, service.connect(), wanted)
        return answer.success
    expect("exec_cmd runs", as_nobody(body))
    support.wait_for(lambda: who.exists() and "PATH" in who.read_text())
    text = who.read_text() if who.exists() else ""
    expect("attack: exec_cmd has his rights only", text.startswith(f"{NOBODY}\nCapPrm:\t0000000000000000\n") and "HOME" not in text, text)
    support.end(mine.pid)


def reused_pid(service, own):
    """Who has connected is gone, and a child of his goes on with the socket: the number may be another's by now."""
    def body():
        client = service.connect()
        fd = os.open(own, os.O_RDONLY)
        read, write = os.pipe()
        if os.fork():
            os._exit(0)
        time.sleep(0)
        support.wait_for(lambda: os.getppid() == 1 or True)
        while os.path.exists(f"/proc/{parent_of[0]}") and open(f"/proc/{parent_of[0]}/stat").read().split()[2] != "Z":
            pass
        answer, _, _ = converse(rpc, client, request(rpc, rpc.DUMP, fd, pid=1))
        os.close(read)
        os.close(write)
        return answer.success, answer.cr_errno
    parent_of = [0]
    result_r, result_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        be_as_after_exec()
        parent_of[0] = os.getpid()
        os.write(result_w, repr(body()).encode())
        os._exit(0)
    os.close(result_w)
    os.waitpid(pid, 0)
    with os.fdopen(result_r) as said:
        text = said.read()
    expect("attack: the process that has connected is gone", text == "(False, 56)", text)


def silent_clients(service):
    """One user cannot keep others out by connections that say nothing."""
    def body():
        clients = [service.connect() for _ in range(40)]
        time.sleep(0)
        closed = 0
        for client in clients[32:]:
            client.settimeout(20)
            closed += client.recv(10) == b""
        return closed
    closed = as_nobody(body)
    expect("attack: many connections that say nothing", closed == 8, closed)
    expect("others are served all the same", version(service.connect()))


GIVEN = support.arguments()
with tempfile.TemporaryDirectory() as name:
    pycriu = support.load_pycriu(GIVEN, name)
    rpc = pycriu.rpc
    work = pathlib.Path(name) / "work"
    work.mkdir()
    start_and_end(work)
    running = Service(work)
    os.chmod(name, 0o755)
    (work / "images").mkdir()
    try:
        many_clients(running)
        dump_and_restore(running, work / "images")
        attacks(running, work)
    finally:
        running.end()
    doomed = Service(work)
    killed_at_random(doomed, work / "images")
    doomed.process.wait()
sys.exit(support.finish())
