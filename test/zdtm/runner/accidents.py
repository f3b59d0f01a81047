"""Things that go wrong between dump and restore, and tools that are killed at work."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time

from . import kernel


def kill_after(seconds, number=signal.SIGKILL):
    """A replacement for subprocess.run() that sends the command a deadly signal after some time."""
    def run(command, timeout, **settings):
        process = subprocess.Popen(command, **settings)
        try:
            process.wait(min(seconds, timeout))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            process.wait(timeout)
        return subprocess.CompletedProcess(command, process.returncode)
    return run


def victim_dies_after(pid, seconds):
    """A replacement for subprocess.run() during which a task is killed."""
    def run(command, timeout, **settings):
        process = subprocess.Popen(command, **settings)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(command, process.returncode)
    return run


@contextlib.contextmanager
def small_disk(path, kilobytes):
    """A file system that is full soon."""
    path.mkdir()
    kernel.mount("tmpfs", str(path), "tmpfs", 0, f"size={kilobytes}k")
    try:
        yield path
    finally:
        kernel.unmount(str(path))
        path.rmdir()


def _take_pid(pid):
    """A process of ours that has the given pid."""
    for _ in range(1000):
        with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
            file.write(str(pid - 1))
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
        if child == pid:
            return child
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    raise RuntimeError(f"cannot get pid {pid}")


def rewrite(criu, path, pattern, text):
    """Changes what an image says: a regular expression over its JSON. Returns whether that changed anything."""
    crit = [criu, "crit"]
    before = subprocess.run([*crit, "decode", "-i", path], capture_output=True, text=True, check=True).stdout
    after = re.sub(pattern, text, before)
    path.unlink()
    subprocess.run([*crit, "encode", "-o", path], input=after, text=True, check=True)
    return after != before


def _rewrite_all(undo, images, words, values, criu):
    """The accident "rewrite"."""
    pattern, text = words[1:]
    for name, value in values.items():
        pattern, text = pattern.replace(name, value), text.replace(name, value)
    changed = 0
    for path in sorted(images.glob(words[0][len("images/") :])):
        backup = images.parent / f"backup-{path.name}"
        shutil.copy2(path, backup)
        undo.callback(shutil.copy2, backup, path)
        changed += rewrite(criu, path, pattern, text)
    if not changed:
        raise RuntimeError(f"nothing in {words[0]} is like {pattern}")


@contextlib.contextmanager
def happen(accidents, work, images, root, criu, inner_work):
    """Makes the accidents happen, and everything good again in the end.

    ["remove", FILE], ["append", FILE], ["mode", FILE, OCTAL], ["replace", FILE] (by a directory), ["halve", FILE],
    ["garble", FILE] (its first bytes), ["fifo", FILE] (in its place), ["take_pid"], ["rewrite", IMAGES, REGEX, TEXT] (in
    their JSON; {root} is the root task's pid, {work} what the program calls the folder of its files). A FILE "images/PATTERN" is the first image of that name.
    """
    undo = contextlib.ExitStack()
    with undo:
        for kind, *words in accidents:
            if kind == "rewrite":
                _rewrite_all(undo, images, words, {"{root}": str(root), "{work}": str(inner_work)}, criu)
                continue
            path = work / words[0] if words else None
            beside = work
            if words and words[0].startswith("images/"):
                path = sorted(images.glob(words[0][len("images/") :]))[0]
                beside = images
            if kind == "take_pid":
                child = _take_pid(root)
                undo.callback(os.waitpid, child, 0)
                undo.callback(os.kill, child, signal.SIGKILL)
                continue
            backup = beside.parent / f"backup-{path.name}"
            if kind in ("remove", "replace", "fifo"):
                # Kept as the same file under another name.
                path.rename(backup)
                undo.callback(backup.rename, path)
            else:
                shutil.copy2(path, backup)
                undo.callback(shutil.copy2, backup, path)
            if kind == "append":
                with open(path, "ab") as file:
                    file.write(b"something more")
            elif kind == "mode":
                path.chmod(int(words[1], 8))
            elif kind == "halve":
                os.truncate(path, path.stat().st_size // 2)
            elif kind == "garble":
                with open(path, "r+b") as file:
                    file.write(b"not an image")
            elif kind == "replace":
                path.mkdir()
                undo.callback(path.rmdir)
            elif kind == "fifo":
                os.mkfifo(path)
                undo.callback(path.unlink)
            elif kind != "remove":
                raise ValueError(kind)
        yield
