#!/usr/bin/env python3
"""crit core: gdb understands a checkpoint that was made into a core file.

usage: core_file.py CRIU
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

CRIU = os.path.abspath(sys.argv[1])
PROGRAM = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int a_number = 4711;
char *on_heap, *shared;
const char constant[] = "constant text";
static __attribute__((noinline)) void *wait_in_thread(void *fd) { char c; read(*(int *)fd, &c, 1); return 0; }
static __attribute__((noinline)) void wait_in_main(int fd) { char c; read(fd, &c, 1); __asm__ volatile(""); }
int main(void) {
    int pipes[2];
    pthread_t thread;
    on_heap = malloc(100000);
    strcpy(on_heap, "heap text");
    shared = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    strcpy(shared, "shared text");
    pipe(pipes);
    pthread_create(&thread, 0, wait_in_thread, &pipes[0]);
    usleep(1000);
    puts("ready"), fflush(stdout);
    wait_in_main(pipes[0]);
    return 0;
}
"""
failures = []


def expect(name, condition, details):
    print(f"{'ok' if condition else 'not ok'} {name}{'' if condition else f': {details}'}")
    if not condition:
        failures.append(name)


def main():
    if os.geteuid() != 0 or not shutil.which("gdb") or not shutil.which("gcc"):
        print("skipped: needs root, gdb and gcc")
        return 77
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        (work / "program.c").write_text(PROGRAM)
        subprocess.run(["gcc", "-g", "-O1", "-w", "-pthread", "-o", "program", "program.c"], cwd=work, check=True)
        process = subprocess.Popen([work / "program"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True,
                                   stderr=subprocess.DEVNULL, cwd="/", text=True)
        process.stdout.readline()
        outside = os.fstat(process.stdout.fileno()).st_ino
        (work / "images").mkdir()
        done = subprocess.run([CRIU, "dump", "-t", str(process.pid), "-D", work / "images"], capture_output=True, text=True)
        if done.returncode:
            process.kill()
            expect("the dump", False, (done.stderr, outside))
            return 1
        process.wait()
        done = subprocess.run([CRIU, "crit", "core", "-i", work / "images", "-p", str(process.pid), "-o", work], capture_output=True, text=True)
        core = work / f"core.{process.pid}"
        expect("a core file is written", done.returncode == 0 and core.exists(), done)
        said = subprocess.run(["gdb", "-batch", "-nx", "-ex", "thread apply all backtrace", "-ex", "print a_number", "-ex", "print on_heap",
                               "-ex", "print shared", "-ex", "print constant", "-ex", "info auxv", "-ex", "info proc mappings",
                               work / "program", core], capture_output=True, text=True).stdout
        for what, pattern in (("threads", r"Thread 2 .*LWP \d+"), ("the stack of the thread", r"wait_in_thread \(fd="),
                              ("the stack of the main thread", r"wait_in_main \(fd=.*\)[\s\S]*main \(\)"), ("data", r"= 4711"),
                              ("the heap", r'"heap text"'), ("shared memory", r'"shared text"'), ("what is in the file", r'"constant text"'),
                              ("the auxiliary vector", r"AT_ENTRY"), ("mappings of files", r"/program\b")):
            expect(f"gdb finds {what}", re.search(pattern, said), said)
        done = subprocess.run([CRIU, "crit", "core", "-i", work / "images", "-p", "1", "-o", work], capture_output=True, text=True)
        expect("no such process", done.returncode == 1 and "there is no task 1" in done.stderr, done)
        done = subprocess.run([CRIU, "crit", "core", "-i", work, "-o", work], capture_output=True, text=True)
        expect("no checkpoint", done.returncode == 1 and "not a checkpoint" in done.stderr, done)
    return 1 if failures else 0


sys.exit(main())
