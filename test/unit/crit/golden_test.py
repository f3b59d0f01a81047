#!/usr/bin/env python3
"""Runs crit over the golden directories: decode equals the JSON beside each image, encode gives the image back.

usage: golden_test.py CRIT GOLDEN. Where the python crit is installed, its output is compared too (as far as it knows
the fields of the image).
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CRIT, GOLDEN = sys.argv[1], Path(sys.argv[2])
PYTHON_CRIT = shutil.which("crit")
failures = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print(f"FAIL {what}")


def run(*args, data=None, program=CRIT):
    return subprocess.run([program, *map(str, args)], input=data, capture_output=True)


def ordered(text):
    """The value with the order of its keys."""
    return json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs))


def decode_and_encode(image, expected):
    pretty = run("decode", "--pretty", "-i", image)
    check(pretty.returncode == 0, f"decode {image}: {pretty.stderr.decode()}")
    check(pretty.stdout == expected + b"\n", f"decode --pretty {image}: differs from the golden JSON")
    check(run("show", image).stdout == pretty.stdout, f"show {image}")
    plain = run("decode", data=image.read_bytes())
    for form, text in (("pretty", pretty.stdout), ("plain", plain.stdout), ("golden", expected)):
        back = run("encode", data=text)
        check(back.stdout == image.read_bytes(), f"encode of {form} {image}: {back.stderr.decode()}")
    count = json.loads(run("info", image).stdout)["count"]
    entries = json.loads(expected)["entries"]
    check(count == len(entries) - ("pages_id" in entries[0]), f"info {image}")


def compare_with_python(image, expected):
    theirs = run("decode", "--pretty", "-i", image, program=PYTHON_CRIT)
    if theirs.returncode or ordered(theirs.stdout) != ordered(expected):
        return False  # an older crit, which lacks fields of CRIU 4.2
    for args in (["decode", "-i", image], ["decode", "--pretty", "-i", image], ["show", "--nopl", image]):
        check(run(*args).stdout == run(*args, program=PYTHON_CRIT).stdout, f"python crit {args}")
    return True


def old_checkpoint(source, target):
    """A copy that crit 3.17 can explore: 32-bit page counts, no pidfds, no zombies."""
    target.mkdir()
    for image in source.iterdir():
        if image.is_file():
            shutil.copy(image, target)
    dead = {e["pid"] for e in json.loads(run("decode", "-i", source / "pstree.img").stdout)["entries"]
            if not (source / f"mm-{e['pid']}.img").exists()}

    def rewrite(name, change):
        value = json.loads(run("decode", "-i", source / name).stdout)
        value["entries"] = [e for e in map(change, value["entries"]) if e]
        done = run("encode", "-o", target / name, data=json.dumps(value).encode())
        check(done.returncode == 0, f"rewriting {name}: {done.stderr.decode()}")

    def shorten(entry):
        if "nr_pages" in entry:
            entry["compat_nr_pages"] = entry.pop("nr_pages")
        return entry

    rewrite("pstree.img", lambda e: e if e["pid"] not in dead else None)
    rewrite("files.img", lambda e: e if e["type"] != "PIDFD" else None)
    for image in source.glob("fdinfo-*.img"):
        rewrite(image.name, lambda e: e if e["type"] != "PIDFD" else None)
    for image in source.glob("pagemap-[0-9]*.img"):
        rewrite(image.name, shorten)


def explore(folder, scratch):
    for topic in ("ps", "fds", "mems", "rss"):
        ours = run("x", folder, topic)
        check(ours.returncode == 0 and ours.stdout, f"x {folder} {topic}: {ours.stderr.decode()}")
    if not PYTHON_CRIT:
        return
    old = Path(scratch) / folder.name
    old_checkpoint(folder, old)
    for topic in ("ps", "fds", "mems", "rss"):
        ours, theirs = run("x", old, topic), run("x", old, topic, program=PYTHON_CRIT)
        check(theirs.returncode == 0, f"python crit x {folder} {topic}: {theirs.stderr.decode()[-200:]}")
        check(ours.stdout == theirs.stdout, f"x {folder} {topic}: differs from the python crit")


def main():
    images = compared = 0
    with tempfile.TemporaryDirectory() as scratch:
        for folder in (GOLDEN / n for n in ("sampler", "net", "container")):
            for expected in sorted((folder / "json").iterdir()):
                image = folder / expected.name.removesuffix(".json")
                decode_and_encode(image, expected.read_bytes())
                images += 1
                compared += bool(PYTHON_CRIT) and compare_with_python(image, expected.read_bytes())
            explore(folder, scratch)
    print(f"{images} images, {compared} also compared with {PYTHON_CRIT or 'no python crit: not installed'}")
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
