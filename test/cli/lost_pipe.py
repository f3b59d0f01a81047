#!/usr/bin/env python3
"""A program whose standard output is a pipe to somebody outside of the tree: a restore says that nobody reads it any more,
before the program is ended by SIGPIPE, and says nothing where the caller gives another one.

usage: lost_pipe.py CRIU
"""
import os
import re
import signal
import subprocess
import sys
import tempfile

CRIU = os.path.abspath(sys.argv[1])
PROGRAM = """
import time
while True:
    print("here", flush=True)
    time.sleep(0.02)
"""
WARNING = r"descriptor 1 is a pipe whose reader was outside of the tree: .*SIGPIPE.*--inherit-fd fd\[N\]:pipe:\[(\d+)\]"


def restore(images, *options, **more):
    """What it says."""
    done = subprocess.run([CRIU, "restore", "-d", "-D", images, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          check=True, **more)
    return done.stderr


def main():
    """Both ways."""
    with tempfile.TemporaryDirectory() as images:
        with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              start_new_session=True, cwd="/") as target:
            target.stdout.readline()
            subprocess.run([CRIU, "dump", "-t", str(target.pid), "-D", images], check=True)
        said = re.search(WARNING, restore(images))
        if not said:
            sys.exit("a restore does not say that the reader of the pipe is gone")
        ours, theirs = os.pipe()
        # The first one has ended by SIGPIPE, or does so soon; its pid has to be free.
        for _ in range(500):
            if not os.path.exists(f"/proc/{target.pid}"):
                break
            signal.sigtimedwait([], 0.02)
        said = restore(images, "--inherit-fd", f"fd[{theirs}]:pipe:[{said[1]}]", pass_fds=[theirs])
        os.close(theirs)
        heard = os.read(ours, 5)
        os.kill(target.pid, signal.SIGKILL)
        if heard != b"here\n" or "reader was outside" in said:
            sys.exit(f"with a pipe of the caller's: {heard!r}, {said!r}")
    print("2 passed, 0 failed")


main()
