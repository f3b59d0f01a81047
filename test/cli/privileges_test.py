#!/usr/bin/env python3
"""What an ordinary user may save and restore, with which capabilities: the rows of Documentation/privileges.md.

usage: privileges_test.py CRIU

Each program is dumped and restored by its user with CAP_CHECKPOINT_RESTORE and the capabilities of its row. Without one of them the tool
names it, and the program runs on. Prints `ok NAME` or `not ok NAME: why`. Needs root, to become a user without rights; setpriv, python3.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "container")]
from steps import Failure, check  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])
USER = 54722
BASE = "checkpoint_restore"
LIMIT = 20


def python(code):
    return ["/usr/bin/python3", "-c", f"{code}\nimport time\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)"]


SHELL = ["sh", "-c", "echo ready; exec > /dev/null; while :; do sleep 0.05; done"]
TCP = python("""import socket
server = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(server.getsockname()); peer = server.accept()""")
FILTER = python("""import ctypes, struct
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
assert libc.prctl(22, 2, ctypes.byref(Program(1, ctypes.cast(code, ctypes.c_void_p))), 0, 0) == 0""")
WATCH = python("""import ctypes
libc = ctypes.CDLL(None)
assert libc.inotify_add_watch(libc.inotify_init(), b"/usr/share", 2) > 0""")
HIDDEN = python("import ctypes\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)")
SHARED = python("import mmap, threading\nm = mmap.mmap(-1, 1 << 20); m[0] = 1\nthreading.Thread(target=threading.Event().wait, daemon=True).start()")
DELETED = python("""import mmap, tempfile
f = tempfile.TemporaryFile(dir="/tmp"); f.write(b"x" * 4096); f.flush(); m = mmap.mmap(f.fileno(), 4096); f.close()""")

# name, program, options, capabilities beside the basic one, words of the refusal without the last of them
ROWS = [
    ("a shell and its child", SHELL, [], [], None),
    ("threads and shared memory", SHARED, [], [], None),
    ("a mapped file without a name", DELETED, [], [], None),
    ("a TCP connection, locked", TCP, ["--tcp-established"], ["net_admin"], "CAP_NET_ADMIN"),
    ("a TCP connection", TCP, ["--tcp-established", "--network-lock", "skip"], ["net_admin"], "CAP_NET_ADMIN"),
    ("a seccomp filter", FILTER, [], ["sys_admin"], "CAP_SYS_ADMIN"),
    ("an inotify watch", WATCH, [], ["dac_read_search"], "--irmap-scan-path"),
    ("a program that may not be dumped", HIDDEN, [], ["dac_override", "sys_ptrace"], "CAP_SYS_PTRACE"),
    ("its files", HIDDEN, [], ["sys_ptrace", "dac_override"], "CAP_DAC_OVERRIDE"),
]


def as_user(capabilities, command):
    sets = ",".join(["-all", *("+" + name for name in capabilities)])
    return ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", f"--inh-caps={sets}", f"--ambient-caps={sets}", *command]


def lives(pid):
    try:
        return "State:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def family(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def start(command, work):
    out = work / "ready"
    with open(out, "wb") as output:
        out.chmod(0o666)
        process = subprocess.Popen(["setsid", *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/")
    deadline = time.monotonic() + LIMIT
    while b"ready" not in out.read_bytes():
        check(time.monotonic() < deadline and process.poll() is None, f"it does not start: {out.read_text()}")
        time.sleep(0.02)
    return process


def criu(work, capabilities, *words):
    with open(work / "said", "w+") as said:
        status = subprocess.run(as_user(capabilities, [CRIU, *words, "-D", str(work / "images"), "--unprivileged"]), stdin=subprocess.DEVNULL,
                                stdout=said, stderr=said, cwd="/", timeout=60).returncode
        said.seek(0)
        return status, said.read()


def fresh_images(work):
    shutil.rmtree(work / "images", ignore_errors=True)
    (work / "images").mkdir()
    os.chown(work / "images", USER, USER)


def there_and_back(work, program, options, needed, words):
    process = start(as_user([], program), work)
    try:
        if needed:
            fresh_images(work)
            status, said = criu(work, [BASE, *needed[:-1]], "dump", "-t", str(process.pid), *options)
            check(status != 0 and words in said, f"without {needed[-1]}: {status}: {said}")
            check(process.poll() is None, "the refused dump has ended it")
        fresh_images(work)
        status, said = criu(work, [BASE, *needed], "dump", "-t", str(process.pid), *options)
        check(status == 0, f"dump: {status}: {said}")
        process.wait(timeout=LIMIT)
        status, said = criu(work, [BASE, *needed], "restore", "-d", *options)
        check(status == 0 and lives(process.pid), f"restore: {status}: {said}")
        os.kill(process.pid, 9)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def whole(pid, images, work):
    """By root, without --unprivileged."""
    with open(work / "said", "w+") as said:
        dumped = subprocess.run([CRIU, "dump", "-t", str(pid), "-D", images], stdout=said, stderr=said, timeout=60).returncode
        said.seek(0)
        return dumped, said.read()


def own_user_namespace(work):
    """`unshare --user`, and nothing else: the tree's numbers are those of the machine, which it may not choose itself."""
    process = start(["unshare", "--user", "--map-root-user", *SHELL], work)
    try:
        fresh_images(work)
        status, said = whole(process.pid, work / "images", work)
        check(status == 0, f"dump: {status}: {said}")
        process.wait(timeout=LIMIT)
        with open(work / "said", "w+") as output:
            status = subprocess.run([CRIU, "restore", "-d", "-D", work / "images"], stdout=output, stderr=output, timeout=60).returncode
            output.seek(0)
            check(status == 0 and lives(process.pid), f"restore: {status}: {output.read()}")
        maps = pathlib.Path(f"/proc/{process.pid}/uid_map").read_text().split()
        members = family(process.pid)
        for pid in members:
            os.kill(pid, 9)
        check(maps == ["0", "0", "1"], f"its map: {maps}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def its_threads(work):
    """... of threads too: refused before anything is ended."""
    process = start(["unshare", "--user", "--map-root-user", *SHARED], work)
    try:
        fresh_images(work)
        status, said = whole(process.pid, work / "images", work)
        check(status != 0 and "several threads" in said and process.poll() is None, f"dump: {status}: {said}")
    finally:
        process.kill()
        process.wait()


def main():
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    tests = {name: lambda work, row=row: there_and_back(work, *row) for name, *row in ROWS}
    tests |= {"a user namespace of its own": own_user_namespace, "threads in a user namespace of their own": its_threads}
    failed = 0
    for name, test in tests.items():
        work = pathlib.Path(tempfile.mkdtemp(prefix="criu-privileges-"))
        work.chmod(0o755)
        try:
            test(work)
            print(f"ok privileges: {name}", flush=True)
        except (Failure, subprocess.SubprocessError, OSError) as why:
            failed += 1
            print(f"not ok privileges: {name}: {why}", flush=True)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
