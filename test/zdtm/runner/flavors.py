"""Where a program lives: the flavors of the suite.

    h      in the namespaces that the tool runs in
    ns     in a container: pid, mount (with a root of its own), network, ipc and uts namespaces, beside its init
    uns    the same, and all of it belongs to a user namespace whose ids are others outside

The tool runs outside in all of them. A container's root file system lies in the test's folder; the program finds its files at
/work there, the runner at WORK. What is observed is what the container's own tasks see, less the numbers of namespaces.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

from . import isolate, kernel, observe

FLAVORS = ("h", "ns", "uns")
# How many programs of the suite live in each flavor, at least: it may rise with the suite, and never fall.
FLOOR = {"h": 262, "ns": 257, "uns": 248}
FIRST_ID = 100000  # of the user namespace, as seen from outside: see lib/container.c
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0), "fuse": (10, 229),
           "net/tun": (10, 200)}
COPIES = ("/bin/true",)
LIBRARIES = ("/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib32/libgcc_s.so.1")  # that pthread_exit loads


class Host:
    """Flavor h: nothing in between."""

    name = "h"
    options = []  # for every dump and restore
    restore_options = []

    def __init__(self, scratch, timeout):
        self.work, self.timeout = pathlib.Path(scratch) / "work", timeout
        self.inner_work = self.work

    def prepare(self, program):
        """Makes the folder in which the program runs; returns how it is called there."""
        self.work.mkdir(parents=True)
        return program

    def command(self, program, pidfile, outfile):
        """The words that start the program, less its own arguments."""
        return [program, "--pidfile", pidfile, "--outfile", outfile]

    def observe(self, root, skip):
        """Facts of the tree."""
        return observe.observe(root, skip)

    def differing(self):
        """Facts that may differ in this flavor."""
        return []

    def inner(self, pid):
        """What the facts call a task."""
        return pid

    def inner_root(self, root):
        """The root's pid in the images, alive or not."""
        return root


class Container(Host):
    """Flavors ns and uns."""

    def __init__(self, name, scratch, timeout, helper):
        super().__init__(scratch, timeout)
        self.name, self.helper = name, helper
        self.root = pathlib.Path(scratch) / "root"
        self.work, self.inner_work = self.root / "work", "/work"
        self.owner = FIRST_ID if name == "uns" else 0
        self.restore_options = ["--root", str(self.root)]
        self.options = []

    def prepare(self, program):
        for folder in ("proc", "sys", "dev/pts", "dev/shm", "dev/mqueue", "dev/net", "work", "tmp", "etc", "root"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "tmp").chmod(0o1777)
        for name, (major, minor) in DEVICES.items():
            os.mknod(self.root / "dev" / name, 0o020666, os.makedev(major, minor))
            (self.root / "dev" / name).chmod(0o666)
        (self.root / "dev/ptmx").symlink_to("pts/ptmx")
        for file in (program, *COPIES):
            self._copy_with_libraries(file)
        for file in filter(os.path.exists, LIBRARIES):
            self._copy(file, file[1:])
        self._copy(program, "program")
        self._copy(self.helper, "init")
        for folder, folders, files in os.walk(self.root):
            for name in (folder, *(os.path.join(folder, each) for each in folders + files)):
                os.chown(name, self.owner, self.owner, follow_symlinks=False)
        # --root has to be a mount of the tool's.
        kernel.mount(str(self.root), str(self.root), None, kernel.MS_BIND)
        return pathlib.Path("/program")

    def _copy(self, source, target):
        target = self.root / target
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy(source, target)

    def _copy_with_libraries(self, program):
        if program != self.root and str(program).startswith("/bin"):
            self._copy(program, str(program)[1:])
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=self.timeout, check=False).stdout
        for path in re.findall(r"(/\S+) \(0x", listed):
            self._copy(path, path[1:])

    def command(self, program, pidfile, outfile):
        return [self.helper, self.name, self.root, pidfile, "/work", program, "--pidfile", "pid", "--outfile", "out"]

    def observe(self, root, skip):
        outer = [root] + isolate.descendants(root)
        reader, writer = os.pipe()
        entering = os.fork()
        if not entering:
            os.close(reader)
            self._observe_inside(root, skip, writer)
        os.close(writer)
        with os.fdopen(reader) as file:
            text = file.read()
        os.waitpid(entering, 0)
        facts = json.loads(text)
        facts["outer"] = outer
        return facts

    @staticmethod
    def _observe_inside(root, skip, writer):
        """In a process of its own: a second one, born in the pid namespace, sees the tree as its tasks do."""
        with open(f"/proc/{root}/ns/pid", encoding="ascii") as file:
            kernel.setns(file.fileno())
        kernel.unshare(kernel.CLONE_NEWNS)
        inner = os.fork()
        if not inner:
            kernel.mount("proc", "/proc", "proc", 0)
            facts = observe.observe(1, skip, inside=True)
            with os.fdopen(writer, "w") as file:
                json.dump(facts, file)
            os._exit(0)
        os.waitpid(inner, 0)
        os._exit(0)

    def differing(self):
        return ["outer"]

    def inner_root(self, root):
        return 1

    def inner(self, pid):
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next(int(line.split()[-1]) for line in file if line.startswith("NSpid:"))


def missing_programs(tests, names):
    """What the whole suite says if fewer of its programs live in a flavor than before; empty if all is well."""
    words = []
    for name in names:
        lives = sum(not test.later.get(name) and name not in test.not_in for test in tests if not test.real)
        if lives < FLOOR[name]:
            words.append(f"flavor {name}: {lives} programs live in it, {FLOOR[name]} did before (FLOOR in runner/flavors.py)")
    return words


def place(name, scratch, timeout, helper):
    """The place of one test."""
    if name == "h":
        return Host(scratch, timeout)
    return Container(name, scratch, timeout, helper)
