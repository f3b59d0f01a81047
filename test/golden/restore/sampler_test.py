#!/usr/bin/env python3
"""Restores the golden samplers: images that CRIU 4.2 wrote of sampler.c, with our tool.

usage: sampler_test.py CRIU [--keep DIR] [--variant NAME]      all variants (variants.py) without a name

There are two sets: one from a processor with AVX-512, whose registers its tasks use, and one from a lesser processor, which
restores everywhere. A set that this processor cannot take is skipped.

The program is built again (the compiler and the libc must give the same program: its build id is in the images), the
files that it had open are put together anew in a folder of our own, and the paths in the images are edited with crit.
Then the tree is looked at, dumped again (the images must say what CRIU's say), used, and ended.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "zdtm")]

import compare  # pylint: disable=wrong-import-position
import look  # pylint: disable=wrong-import-position
import use  # pylint: disable=wrong-import-position
import variants  # pylint: disable=wrong-import-position
from facts import ROOT, Check  # pylint: disable=wrong-import-position
from images import Images  # pylint: disable=wrong-import-position
from runner import isolate  # pylint: disable=wrong-import-position

CRIU = os.path.abspath(sys.argv[1])
SETS = {"sampler": HERE.parent / "sampler", "sampler without AVX-512": HERE.parent / "baseline/sampler"}
SKIPPED = 77
ORPHANED_PIPE = 251  # inherited from whoever made the first set


def skip(reason):
    """Ends the test without a verdict."""
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def build(home):
    """The sampler as it was built for the images; returns its build id."""
    compiler = shutil.which("gcc")
    if not compiler:
        skip("no gcc")
    done = subprocess.run([compiler, "-O1", "-static", "-w", "-o", home / "sampler", HERE.parent / "sampler.c"],
                          capture_output=True, text=True)
    if done.returncode:
        skip(f"sampler.c does not build: {done.stderr[-300:]}")
    notes = subprocess.run(["readelf", "-n", home / "sampler"], capture_output=True, text=True).stdout
    return notes.partition("Build ID: ")[2].split()[0] if "Build ID: " in notes else ""


def furnish(home):
    """The files that the sampler had open, as they were at the checkpoint."""
    work = home / "work"
    work.mkdir(mode=0o755)
    for name, mode, data in (("plain.txt", 0o640, b"0123456789"), ("append.log", 0o600, b"log\n"), ("linked2", 0o640, b""),
                             ("mapped.bin", 0o640, bytes(8192))):
        (work / name).write_bytes(data)
        (work / name).chmod(mode)
    os.link(work / "linked2", work / "link_remap.10")  # CRIU's dump has made this name
    os.mkfifo(work / "fifo")
    (work / "fifo").chmod(0o640)


def supported_types():
    """Types of files that the tool restores, from its own table."""
    table = subprocess.run([CRIU, "--supported-kinds"], capture_output=True, text=True, check=True).stdout
    return {line.split("|")[2].strip(" `") for line in table.splitlines() if line.startswith("| ")}


def tool(*args, folder):
    """Runs the tool; the error if it fails."""
    done = subprocess.run([CRIU, *args, "-D", str(folder), "-o", f"{args[0]}.log", "-v4"], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"{args[0]}: exit code {done.returncode}: {done.stderr}"


class Elsewhere(Exception):
    """The tasks use what only another processor has."""


def restore_and_check(home, images, whole, gone):
    """In fresh namespaces, as pid 1 there."""
    if error := tool("restore", "-d", "--tcp-established", "--file-locks", "--lower-limits", folder=images.folder):
        if lacks := re.search(r"CPU state 0x[0-9a-f]+ \((.*?)\) that this CPU does not have", error):
            raise Elsewhere(f"a processor with {lacks[1]}")
        return [error]
    seen = Check(home, gone)
    seen.udp_port = whole.port(38)
    look.look(seen)
    again = home / "again"
    again.mkdir()
    options = ("-t", str(ROOT), "--leave-running", "--tcp-established", "--file-locks", "--link-remap")
    error = tool("dump", *options, folder=again)
    found = [error] if error else compare.compare(CRIU, again, whole.folder, gone)
    if not error and shutil.which("crit"):
        crit = subprocess.run(["/usr/bin/python3", HERE.parents[1] / "zdtm/runner/decode.py", again], capture_output=True, text=True)
        found += crit.stdout.splitlines() if crit.returncode else []
    use.use(seen)
    print(f"{seen.count} facts", flush=True)
    return seen.wrong + found


def run(home, golden, variant):
    """One run in a folder; returns what is wrong."""
    images = Images(CRIU, golden, home / "images")
    built = build(home)
    if built != images.build_id():
        skip(f"sampler.c becomes another program here (build id {built}): it takes Debian 12's gcc and libc")
    furnish(home)
    images.move(home)
    later = {entry["type"] for entry in images.decode("files.img")["entries"]} - supported_types()
    gone = images.drop(later) if later else []
    if ORPHANED_PIPE not in images.numbers():
        images.renumber()
        gone.append(ORPHANED_PIPE)
    if later:
        print("left out, not supported yet:", *sorted(later))
    whole = Images(CRIU, images.folder, home / "whole")
    variants.VARIANTS[variant](images)

    def inside():
        try:
            wrong = restore_and_check(home, images, whole, gone)
        except Elsewhere as need:
            return {"status": "skip", "reason": str(need)}
        except Exception as error:  # what the check trips over is a finding
            wrong = [f"{type(error).__name__}: {error}"]
            raise
        return {"status": "fail" if wrong else "pass", "reason": "\n".join(wrong)}

    worker, channel = isolate.start(inside, False)
    with os.fdopen(channel) as file:
        result = file.read()
    os.waitpid(worker, 0)
    return result


def main():
    if os.geteuid() != 0:
        skip("needs root")
    only = [sys.argv[sys.argv.index("--variant") + 1]] if "--variant" in sys.argv else list(variants.VARIANTS)
    return max(one(name, variant) for name in SETS for variant in only)


def one(name, variant):
    """Exit code of the test of one variant of a set."""
    keep = sys.argv[sys.argv.index("--keep") + 1] if "--keep" in sys.argv else None
    home = pathlib.Path(tempfile.mkdtemp(prefix="criu-golden-"))
    try:
        result = json.loads(run(home, SETS[name], variant) or "{}")
        passed = result.get("status") == "pass"
        name = f"golden {name}" + (f", {variant}" if variant else "")
        if result.get("status") == "skip":
            print(f"skip {name}: {result['reason']}")
            return 0
        print(f"ok {name}" if passed else f"not ok {name}\n{result.get('reason', 'the worker has ended')}")
        return 0 if passed else 1
    finally:
        if keep:
            shutil.copytree(home, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("sock", "fifo"))
        shutil.rmtree(home)


if __name__ == "__main__":
    sys.exit(main())
