#!/usr/bin/env python3
"""Runs the example programs: they are what the documentation shows.

usage: examples_test.py --criu CRIU ... --dump-and-restore PROGRAM --dump-itself PROGRAM --linked-with-stub PROGRAM --go GO
       --go-program SOURCE
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import support  # noqa: E402
from support import expect, images, target, ticks  # noqa: E402

GO_PATH = pathlib.Path("/usr/share/gocode")


def run(*args, **how):
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(GIVEN.libcriu.parent), **how.pop("env", {})}
    return subprocess.run([str(a) for a in args], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, **how)


def collect(process):
    """It is our child: its pid is free when we have collected it."""
    threading.Thread(target=process.wait, daemon=True).start()


def dump_and_restore():
    with target() as process, images() as (folder, _):
        collect(process)
        child = subprocess.Popen([GIVEN.dump_and_restore, GIVEN.criu, folder, str(process.pid)], stdout=subprocess.PIPE, text=True,
                                 env={"LD_LIBRARY_PATH": str(GIVEN.libcriu.parent)})
        lines = []
        for line in child.stdout:
            lines.append(line.strip())
            if line.startswith("restored"):
                expect("the C program has brought it back", ticks(process))
                os.kill(process.pid, 9)
        hooks = ["pre-dump", "query-ext-files", "post-dump", "pre-restore", "post-restore", "pre-resume", "post-resume"]
        wanted = [f"{h} {process.pid if h == 'post-restore' else 0}" for h in hooks]
        expect("it was told of everything", lines == [*wanted, f"restored {process.pid}", "ended 9"], lines)
        expect("it has ended well", child.wait() == 0)
        done = run(GIVEN.dump_and_restore, GIVEN.criu, folder, 0x3fffff)
        expect("it says what was wrong", done.returncode == 1 and "there is no task" in done.stderr, done)


def dump_itself():
    with images() as (folder, _):
        done = run(GIVEN.dump_itself, GIVEN.criu, folder, start_new_session=True)
        expect("a C program dumps itself", done.returncode == 0 and (folder / "said").read_text() == "dumped\n", done)
        (folder / "said").unlink()
        done = run(GIVEN.criu, "restore", "-d", "-D", folder)
        expect("and knows that it was restored", done.returncode == 0 and
               support.wait_for(lambda: (folder / "said").exists() and (folder / "said").read_text() == "restored\n"), done)


def linked_with_stub():
    done = run(GIVEN.linked_with_stub, GIVEN.criu)
    expect("a program that was linked with another libcriu.so.2", done.stdout == "4.2 40200 0 2\n", done)


def go_program():
    package = next((p for p in (GO_PATH / "src/github.com/checkpoint-restore").glob("go-criu*") if p.is_dir()), None)
    if not GIVEN.go.exists() or not package:
        print("# skipped: go, or golang-github-checkpoint-restore-go-criu-dev, is not installed")
        return
    with tempfile.TemporaryDirectory() as folder, target() as process, images() as (checkpoint, _):
        collect(process)
        program = f"{folder}/checkpoint"
        built = run(GIVEN.go, "build", "-o", program, GIVEN.go_program, cwd=folder,
                    env={"GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": f"{folder}/cache", "GOFLAGS": "", "HOME": folder})
        expect("the Go program builds", built.returncode == 0, built.stderr)
        if built.returncode:
            return
        done = run(program, GIVEN.criu, checkpoint, process.pid)
        expect("the Go program dumps and restores", done.returncode == 0 and done.stdout.split("\n") == [
            "version 40200", "pre-dump", "post-dump", "pre-restore", f"post-restore {process.pid}", "done", ""] and ticks(process), done)


GIVEN = support.arguments("libcriu", "dump-and-restore", "dump-itself", "linked-with-stub", "go", "go-program")
for part in (dump_and_restore, dump_itself, linked_with_stub, go_program):
    part()
sys.exit(support.finish())
