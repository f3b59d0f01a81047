#!/usr/bin/env python3
"""Chains of directories: criu merge and criu verify, shared memory in them, restore --auto-dedup, damaged chains.

usage: chain_test.py CRIU
"""
import json
import os
import random
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
from scene import CRIU, Target, case, criu, expect, finish, folder  # noqa: E402


def dump(target, images, earlier=None, action="dump", *more, shared=False):
    folder(images)
    parent = ["--prev-images-dir", f"../{earlier.name}"] if earlier else []
    environment = {**os.environ, "CRIU_TRACK_SHMEM": "1"} if shared else None
    expect(criu(action, "-t", target.pid, "-D", images, "-o", "dump.log", "-v4", *parent, *more, env=environment))
    return images


def chain_of(target, work, *more, shared=False):
    """Three directories: the last one is a checkpoint, and the target is gone."""
    first = dump(target, work / "1", None, "pre-dump", *more, shared=shared)
    second = dump(target, work / "2", first, "pre-dump", *more, shared=shared)
    last = dump(target, work / "3", second, "dump", *more, shared=shared)
    target.reap()
    return last


def restore(images, *more):
    expect(criu("restore", "-D", images, "-d", "-o", "restore.log", "-v4", *more))


def statistics(images):
    text = subprocess.run([CRIU, "crit", "decode", "-i", images / "stats-dump"], capture_output=True, check=True).stdout
    return json.loads(text)["entries"][0]["dump"]


def blocks(*folders):
    return sum(path.stat().st_blocks for images in folders for path in images.glob("pages-*"))


def merged():
    for name, made, into in (("a chain", [], []), ("a compressed chain", ["-c"], []), ("a chain, compressed then", [], ["--compress=zstd"])):
        with case(f"merge: {name} becomes one directory, which needs no other") as work, Target(work, children=1) as target:
            last = chain_of(target, work, *made)
            expect(criu("merge", "-D", last, "--into", "../whole", *into))
            assert "in 3 directories: whole" in expect(criu("verify", "-D", last))
            for number in "123":
                shutil.rmtree(work / number)
            whole = work / "whole"
            assert not (whole / "parent").is_symlink()
            assert "2 processes" in (out := expect(criu("verify", "-D", whole))) and "1 directory: whole" in out, out
            restore(whole)
            target.verify()
    with case("merge: what is the same is linked, and what is there is refused") as work, Target(work) as target:
        images = dump(target, work / "1", None, "dump", "-R")
        expect(criu("merge", "-D", images, "--into", work / "whole"))
        assert (images / "pstree.img").stat().st_ino == (work / "whole" / "pstree.img").stat().st_ino
        assert "is not empty" in expect(criu("merge", "-D", images, "--into", "../whole"), 1)
        assert "--into DIR" in expect(criu("merge", "-D", images), 1)
        (images / "pages-1.img").unlink()
        assert "pages-1.img" in expect(criu("merge", "-D", images, "--into", "../other"), 1)
        assert not list((work / "other").iterdir()), "a failure leaves something"


def verified():
    with case("verify: what is damaged or missing is named") as work, Target(work) as target:
        images = dump(target, work / "1", None, "dump", "-R", "-c")
        expect(criu("verify", "-D", images))
        before = dump(target, work / "0", None, "pre-dump")
        assert "a pre-dump" in expect(criu("verify", "-D", before))
        pages = images / "pages-1.img"
        content = pages.read_bytes()
        pages.write_bytes(content[:-1])
        assert "truncated" in expect(criu("verify", "-D", images), 1)
        pages.write_bytes(content)
        expect(criu("verify", "-D", images))
        (images / "inventory.img").unlink()
        assert "unfinished" in expect(criu("verify", "-D", images), 1)


def shared_memory():
    with case("a chain with shared memory: what is the same is left to the earlier images") as work, Target(work) as target:
        last = chain_of(target, work, shared=True)
        assert statistics(last)["shpages_skipped_parent"] > 0, statistics(last)
        restore(last)
        target.verify()
    with case("restore --auto-dedup: pages are gone once the tree runs, from all directories") as work, Target(work) as target:
        last = chain_of(target, work)
        before = blocks(work / "1", work / "2", last)
        restore(last, "--auto-dedup")
        target.verify()
        assert blocks(work / "1", work / "2", last) < before / 10, (before, blocks(work / "1", work / "2", last))


def damaged():
    with case("damaged chains: refused or read, nothing else") as work, Target(work) as target:
        chain_of(target, work, "--track-method", "auto")
        rng = random.Random(5)
        said = {0: 0, 1: 0}
        for number in range(150):
            copy = work.with_name(work.name + "-copy")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(work, copy, symlinks=True)
            level = copy / rng.choice("123")
            names = sorted(path.name for path in level.glob("*.img") if path.name.startswith(("pagemap", "inventory"))) + ["parent"]
            name = rng.choice(names)
            path = level / name
            if name == "parent":
                if path.is_symlink():
                    path.unlink()
                    if rng.random() < 0.7:
                        path.symlink_to(rng.choice(["../1", "../2", "../3", ".", "../none", "/"]))
            else:
                content = bytearray(path.read_bytes())
                for _ in range(rng.randint(1, 4)):
                    content[rng.randrange(len(content))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
                path.write_bytes(content[: rng.randrange(len(content))] if rng.random() < 0.2 else content)
            done = criu("verify", "-D", copy / "3")
            assert done.returncode in said, f"case {number}, {level.name}/{name}: {done}"
            assert done.returncode == 0 or ("Error" in done.stderr and "Bug" not in done.stderr), f"case {number}: {done}"
            said[done.returncode] += 1
            shutil.rmtree(copy)
        assert said[0] > 10 and said[1] > 30, said


def main():
    merged()
    verified()
    shared_memory()
    damaged()
    finish()


main()
