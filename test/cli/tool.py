"""The tool from outside, and what is expected of it: shared by the tests of this folder."""

import os
import re
import subprocess
import sys

CRIU = os.path.abspath(sys.argv[1])
failures = []


def criu(*args, cwd="/", env=None):
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(env or {})}
    return subprocess.run([CRIU, *args], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def expect(name, done, code, out=None, err=None):
    """Exit code, and patterns that must be found in the outputs."""
    wrong = []
    if done.returncode != code:
        wrong.append(f"exit code {done.returncode}, expected {code}")
    for stream, pattern, text in (("stdout", out, done.stdout), ("stderr", err, done.stderr)):
        if pattern is not None and not re.search(pattern, text, re.M):
            wrong.append(f"{stream} lacks {pattern!r}: {text!r}")
    print(f"{'not ok' if wrong else 'ok'} {name}")
    failures.extend(f"{name}: {w}" for w in wrong)
