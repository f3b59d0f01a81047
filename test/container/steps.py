"""What the tests of this folder share: commands, conditions, and how results are told."""
import pathlib
import subprocess
import time

LIMIT = 20  # seconds for anything to happen


class Failure(Exception):
    pass


def check(condition, why):
    if not condition:
        raise Failure(why)


def wait_for(condition, what):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise Failure(f"{what}: not within {LIMIT} s")


def run(*command):
    done = subprocess.run([str(word) for word in command], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60)
    return done.returncode, done.stdout


def must(*command):
    status, output = run(*command)
    check(status == 0, f"{' '.join(map(str, command))}: {status}: {output.strip()}")
    return output


def has_ended(pid):
    """It may go while its file is being read."""
    try:
        return "State:\tZ" in pathlib.Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
