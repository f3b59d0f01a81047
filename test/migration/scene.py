"""What the tests of this folder share: the tool, a target whose memory checks itself, and how results are told."""
import atexit
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CRIU = os.path.abspath(sys.argv[1])
HERE = pathlib.Path(__file__).resolve().parent
failures = []
LIMIT = 30


def report(name, problem=""):
    print(f"{'not ok' if problem else 'ok'} {name}" + (f": {problem}" if problem else ""), flush=True)
    if problem:
        failures.append(name)


@contextlib.contextmanager
def case(name):
    """A test with a folder of its own: an exception is its failure."""
    with tempfile.TemporaryDirectory(prefix="migration-") as folder:
        try:
            yield pathlib.Path(folder)
            report(name)
        except Exception as error:  # noqa: BLE001 - whatever it was, the others go on
            import traceback

            traceback.print_exc()
            logs = "".join(f"\n  {log.name}: {line}" for log in pathlib.Path(folder).glob("**/*.log") for line in log.read_text(errors="replace").splitlines()[-6:])
            report(name, f"{type(error).__name__}: {error}{logs}")


def until(condition, what, limit=LIMIT):
    """Polls, as there is nothing to wait for."""
    end = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.005)
    return value


def criu(*args, **options):
    return subprocess.run([CRIU, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT * 4, **options)


def start(*args, **options):
    return subprocess.Popen([CRIU, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def expect(done, code=0):
    out = (done.stdout or "") + (getattr(done, "stderr", "") or "")
    assert done.returncode == code, f"exit code {done.returncode}, expected {code}: {out}"
    return out


def ended(process, code=0):
    """Waits for a process of ours."""
    out = process.communicate(timeout=LIMIT)[0]
    assert process.returncode == code, f"exit code {process.returncode}, expected {code}: {out}"
    return out


def scratch(prefix):
    """A folder for the whole run, gone with it."""
    made = tempfile.mkdtemp(prefix=prefix)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def folder(path):
    path.mkdir()
    return path


_program = None


def program():
    global _program
    if not _program:
        built = scratch("migration-target-")
        _program = f"{built}/target"
        subprocess.run(["cc", "-O1", "-Wall", "-o", _program, HERE / "target.c"], check=True)
    return _program


class Target:
    """A tree of it: with children its root comes first. Ended by pid when the block ends, wherever it was restored."""

    def __init__(self, work, megabytes=8, children=0):
        self.log = work / "target.txt"
        self.process = subprocess.Popen([program(), self.log, str(megabytes), str(children)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.pid = self.process.pid
        self.count = children + 1
        until(lambda: len(self.lines("ready")) == self.count, "the target is ready")
        self.pids = sorted(int(line.split()[0]) for line in self.lines("ready"))
        self.asked = 0

    def lines(self, word):
        return [line for line in (self.log.read_text() if self.log.exists() else "").splitlines() if line.split()[1:2] == [word]]

    def verify(self):
        """All its memory is right: it says so itself."""
        self.asked += 1
        for pid in self.pids:
            os.kill(pid, signal.SIGUSR1)
        until(lambda: len(self.lines("good")) + len(self.lines("bad")) == self.asked * self.count, "the target checks itself")
        assert not self.lines("bad"), self.lines("bad")

    def alive(self):
        return [pid for pid in self.pids if state_of(pid) not in ("", "Z")]

    def reap(self):
        self.process.wait(timeout=LIMIT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=LIMIT)
        until(lambda: not self.alive(), "the target ends")


def state_of(pid):
    """One letter, nothing if there is no such process."""
    try:
        return re.sub(r".*\) (.) .*", r"\1", pathlib.Path(f"/proc/{pid}/stat").read_text().strip())
    except (FileNotFoundError, ProcessLookupError):
        return ""


def free_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class PageServer:
    """`criu page-server` of ours that somebody can connect to already."""

    def __init__(self, images, *more, log="server.log"):
        read, write = os.pipe()
        self.port = free_port()
        self.process = start("page-server", "-D", images, "-W", images, "-o", log, "-v4", "--port", self.port, "--status-fd", write, *more, pass_fds=[write])
        os.close(write)
        told = os.read(read, 2)
        os.close(read)
        assert told == b"\0", f"status-fd: {told!r} {self.process.communicate()[0] if not told else ''}"

    def connect(self):
        import socket

        return socket.create_connection(("127.0.0.1", self.port))

    def ended(self, code=0):
        return ended(self.process, code)


def finish():
    print(f"{len(failures)} failed" if failures else "all passed")
    sys.exit(1 if failures else 0)
