"""What the tests of the API share: the package pycriu put together, programs to checkpoint, and a tally."""
import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
failures = []
counts = [0]


def arguments(*more):
    parser = argparse.ArgumentParser()
    for name in ("criu", "pycriu", "rpc-pb2", *more):
        parser.add_argument("--" + name, required=True, type=pathlib.Path)
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: needs root")
        sys.exit(77)
    for name, value in vars(given).items():
        setattr(given, name, value.resolve())
    return given


def load_pycriu(given, folder):
    """The sources and the generated messages lie in different folders."""
    package = pathlib.Path(folder) / "pycriu"
    shutil.copytree(given.pycriu, package)
    shutil.copy(given.rpc_pb2, package)
    sys.path.insert(0, str(folder))
    import pycriu
    return pycriu


def expect(name, condition, details=""):
    counts[0] += 1
    print(f"{'ok' if condition else 'not ok'} {name}{'' if condition else f': {details}'}", flush=True)
    if not condition:
        failures.append(name)


def finish():
    print(f"{counts[0] - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


@contextlib.contextmanager
def target(script="", **how):
    """A Python program that touches a file again and again; ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        tick = pathlib.Path(folder) / "tick"
        tick.touch()
        if "user" in how:
            os.chown(tick, how["user"], how["group"])
        program = script + f"\nimport os, time\nwhile True:\n    os.utime({str(tick)!r})\n    time.sleep(0.005)\n"
        terminal = how.pop("terminal", subprocess.DEVNULL)
        process = subprocess.Popen([*how.pop("prefix", []), "/usr/bin/python3", "-c", program], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, cwd="/", **how)
        process.tick = tick
        process.folder = pathlib.Path(folder)
        wait_for(lambda: ticks(process))
        try:
            yield process
        finally:
            end(process.pid)
            process.poll()


def ticks(process):
    """Whether the program goes on."""
    before = process.tick.stat().st_mtime_ns
    return wait_for(lambda: process.tick.stat().st_mtime_ns != before, 20)


def wait_for(condition, seconds=20):
    end_time = time.monotonic() + seconds
    while time.monotonic() < end_time:
        if condition():
            return True
        time.sleep(0.005)
    return False


def end(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 10)


@contextlib.contextmanager
def images():
    """A folder for images, and a descriptor of it."""
    with tempfile.TemporaryDirectory() as folder:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield pathlib.Path(folder), fd
        finally:
            os.close(fd)


class Worker:
    """`criu swrk`, and our end of its socket."""

    def __init__(self, criu, **how):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen([criu, "swrk", str(theirs.fileno())], pass_fds=[theirs.fileno(), *how.pop("pass_fds", ())],
                                        **how)
        theirs.close()
        self.socket.settimeout(60)

    def end(self):
        """Its exit status."""
        self.socket.close()
        return self.process.wait()


def converse(rpc, sock, request, answers=lambda notify: True):
    """The answer to a request, its size, and the notifications before it. `answers` gives the answer to each
    notification: true, false, a list of externals, or None to close the connection."""
    told = []
    sock.send(request if isinstance(request, bytes) else request.SerializeToString())
    while True:
        data = sock.recv(1 << 20)
        if not data:
            return None, 0, told
        answer = rpc.criu_resp()
        answer.ParseFromString(data)
        if answer.type != rpc.NOTIFY:
            return answer, len(data), told
        told.append((answer.notify.script, answer.notify.pid if answer.notify.HasField("pid") else None))
        said = answers(answer.notify)
        if said is None:
            sock.close()
            return None, 0, told
        reply = rpc.criu_req(type=rpc.NOTIFY, notify_success=bool(said))
        if isinstance(said, list):
            reply.notify_success = True
            reply.opts.images_dir_fd = -1
            reply.opts.external.extend(said)
        sock.send(reply.SerializeToString())


def ask(given, rpc, wanted, answers=lambda notify: True, **how):
    """One request to a worker of its own: the answer, its size, what was notified, the worker's exit code."""
    worker = Worker(given.criu, **how)
    answer, size, told = converse(rpc, worker.socket, wanted, answers)
    return answer, size, told, worker.end()


def request(rpc, kind, fd=-1, keep_open=False, **options):
    out = rpc.criu_req(type=kind)
    if keep_open:
        out.keep_open = True
    out.opts.images_dir_fd = fd
    for name, value in options.items():
        setattr(out.opts, name, value)
    return out
