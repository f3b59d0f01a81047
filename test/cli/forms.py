#!/usr/bin/env python3
"""Forms in which CRIU 4.2 writes what we also write in extensions of our own: without these it comes back too.

usage: forms.py CRIU
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

CRIU = os.path.abspath(sys.argv[1])
PROGRAM = """
import os, socket, sys, time
socket6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
FREEBIND, RECVPKTINFO = 78, 49
for option in (FREEBIND, RECVPKTINFO):
    socket6.setsockopt(socket.IPPROTO_IPV6, option, 1)
os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0))
print("ready", flush=True)
while True:
    time.sleep(0.02)
    options = [socket6.getsockopt(socket.IPPROTO_IPV6, option) for option in (FREEBIND, RECVPKTINFO)]
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(f"{options} {os.sched_getscheduler(0):#x}")
    os.rename(sys.argv[1] + ".new", sys.argv[1])
"""
WANTED = "[1, 1] 0x40000003"


def edit(path, change):
    """Changes an image by way of its JSON."""
    text = subprocess.run([CRIU, "crit", "decode", "-i", path], capture_output=True, text=True, check=True).stdout
    image = json.loads(text)
    change(image["entries"])
    path.unlink()
    subprocess.run([CRIU, "crit", "encode", "-o", path], input=json.dumps(image), text=True, check=True)


def forget_socket_extension(entries):
    for entry in entries:
        if "isk" in entry:
            entry["isk"].pop("ext", None)


def forget_thread_extension(entries):
    for entry in entries:
        entry["thread_core"].pop("ext", None)


def lose_mapping_of_pages(entries):
    """The first page run lies where no mapping is; entry 0 is the head."""
    entries[1]["vaddr"] = "0x1000"


def dump(folder):
    """A checkpoint of the program, which has ended, and where it says what it sees."""
    output, images = pathlib.Path(folder) / "said", pathlib.Path(folder) / "images"
    images.mkdir()
    with subprocess.Popen([sys.executable, "-c", PROGRAM, output], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, start_new_session=True, cwd="/") as target:
        target.stdout.readline()
        subprocess.run([CRIU, "dump", "-t", str(target.pid), "-D", images, "--skip-fd", "1"], check=True)
    output.unlink(missing_ok=True)
    return target.pid, output, images


def restore(pid, output, images):
    """What the restored program says, or what the restore does."""
    done = subprocess.run([CRIU, "restore", "-d", "-D", images], capture_output=True, text=True)
    deadline = time.monotonic() + 5
    while not output.exists() and done.returncode == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    said = output.read_text() if output.exists() else done.stderr
    if done.returncode == 0:
        os.kill(pid, signal.SIGKILL)
    return said


def without_extensions():
    with tempfile.TemporaryDirectory() as folder:
        pid, output, images = dump(folder)
        edit(images / "files.img", forget_socket_extension)
        edit(images / f"core-{pid}.img", forget_thread_extension)
        said = restore(pid, output, images)
        return said == WANTED, said


def pages_without_mapping():
    with tempfile.TemporaryDirectory() as folder:
        pid, output, images = dump(folder)
        edit(images / f"pagemap-{pid}.img", lose_mapping_of_pages)
        said = restore(pid, output, images)
        return "outside of all mappings" in said, said


TESTS = {"IPv6 FREEBIND and RECVPKTINFO, and reset on fork, as CRIU writes them": without_extensions,
         "pages that belong to no mapping are refused": pages_without_mapping}


def main():
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    failed = 0
    for name, test in TESTS.items():
        passed, said = test()
        print(f"{'ok' if passed else 'not ok'} {name}{'' if passed else f': {said!r}'}")
        failed += not passed
    return failed != 0


sys.exit(main())
