#!/usr/bin/env python3
"""Control groups of a tree: which come back, with which properties, in each mode.

usage: groups_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root and a hierarchy of control groups. Everything happens below a group of the test's.
"""
import os
import pathlib
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from engines import Witness, hierarchies, main  # noqa: E402
from steps import check, run, wait_for  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])

# Values that no fresh group has; those that this machine's groups have are used.
VALUES = {"pids.max": "77", "cpu.shares": "333", "cpu.weight": "33", "cpu.cfs_quota_us": "50000", "cpu.max": "50000 100000",
          "memory.limit_in_bytes": str(96 << 20), "memory.max": str(96 << 20), "memory.swappiness": "7", "memory.high": str(80 << 20),
          "blkio.weight": "300", "io.weight": "default 300", "cgroup.max.descendants": "5", "cgroup.max.depth": "2",
          "cpuset.memory_migrate": "1", "notify_on_release": "1"}


class Tree:
    """A sleeping process with a thread, in a group of each hierarchy, with a group below it that is empty."""

    def __init__(self, folder):
        self.folder, self.top = folder, f"criu-test-groups-{os.getpid()}"
        self.group = f"{self.top}/tree"
        self.images = folder / "images"
        self.images.mkdir()
        self.process = self.pid = None
        self.make()

    def roots(self):
        return [root for root in hierarchies() if (root / "cgroup.procs").exists()]

    def make(self):
        for root in self.roots():
            group = root
            for part in (self.top, "tree"):
                if (group / "cgroup.controllers").exists() and part == "tree":
                    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in (group / "cgroup.controllers").read_text().split()))
                above, group = group, group / part
                group.mkdir()
                for name in ("cpuset.cpus", "cpuset.mems"):
                    if (group / name).exists() and not (group / "cgroup.controllers").exists():
                        (group / name).write_text((above / name).read_text())
            (group / "below").mkdir()
            for name, value in VALUES.items():
                if (group / name).exists():
                    (group / name).write_text(value)
            os.chown(group / "cgroup.procs", 7, 8)
            group.chmod(0o750)
        self.set = self.values()
        check(len(self.set) > 2, "this machine's groups have none of the properties")

    def values(self, group=None):
        return {(str(root), name): (root / (group or self.group) / name).read_text().strip() for root in self.roots() for name in VALUES
                if (root / (group or self.group) / name).exists()}

    def start(self):
        self.process = subprocess.Popen(["setsid", "/usr/bin/python3", __file__, CRIU, "sleep"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        wait_for(lambda: len(self.threads()) == 2, "the thread")
        for root in self.roots():
            (root / self.group / "cgroup.procs").write_text(str(self.pid))
        self.ours = {name for name, path in self.groups().items() if path.endswith(self.group)}

    def threads(self):
        return sorted(int(tid) for tid in os.listdir(f"/proc/{self.pid}/task"))

    def dump(self, *options):
        status, output = run(CRIU, "dump", "-t", self.pid, "-D", self.images, *options)
        if status == 0:
            self.process.wait()
        return status, output

    def restore(self, *options):
        (self.folder / "pid").unlink(missing_ok=True)
        status, output = run(CRIU, "restore", "-d", "-D", self.images, "--pidfile", self.folder / "pid", *options)
        if status == 0:
            self.pid = int((self.folder / "pid").read_text())
        return status, output

    def kill(self):
        if self.pid and pathlib.Path(f"/proc/{self.pid}").exists():
            run("kill", "-9", self.pid)
            if self.process.returncode is None:
                self.process.wait()
            wait_for(lambda: not pathlib.Path(f"/proc/{self.pid}").exists(), "the tree ends")

    def remove(self, group=None):
        for root in self.roots():
            for path in sorted((root / (group or self.top)).rglob("*"), reverse=True):
                if path.is_dir():
                    wait_for(lambda: not (path / "cgroup.procs").read_text(), f"{path} is empty")
                    path.rmdir()
            if (root / (group or self.top)).exists():
                (root / (group or self.top)).rmdir()

    def groups(self, tid=None):
        return {line.split(":")[1]: line.split(":", 2)[2] for line in
                pathlib.Path(f"/proc/{self.pid}/task/{tid or self.pid}/cgroup").read_text().splitlines()}

    def is_inside(self, group=None):
        """In all hierarchies of the test: others come and go."""
        return all(path.endswith("/" + (group or self.group)) for name, path in self.groups().items() if name in self.ours)


def made_again(tree):
    """Groups that are gone come back with their properties, owners, and the empty group below."""
    tree.start()
    for _ in range(2):
        check(tree.dump()[0] == 0, "dump")
        tree.remove()
        status, output = tree.restore()
        check(status == 0, output)
        tree.process.returncode = 0
        check(tree.is_inside(), f"it is in {tree.groups()}")
        check(tree.values() == tree.set, f"properties: {tree.values()}, {tree.set} before")
        for root in tree.roots():
            group = root / tree.group
            owner = (group / "cgroup.procs").stat()
            check((group / "below").is_dir() and (owner.st_uid, owner.st_gid) == (7, 8), f"{group}: the group below, the owner")
            check(group.stat().st_mode & 0o777 == 0o750, f"{group}: mode {group.stat().st_mode:o}")


def change_all(tree):
    for root in tree.roots():
        if (root / tree.group / "pids.max").exists():
            (root / tree.group / "pids.max").write_text("55")


def pids_max(tree):
    return next(value for (_, name), value in tree.values().items() if name == "pids.max")


def modes(tree):
    """What each mode does with groups that are there, and with those that are not."""
    tree.start()
    check(tree.dump()[0] == 0, "dump")
    change_all(tree)
    for mode, expected in (("none", "55"), ("soft", "55"), ("full", "77"), ("props", "77")):
        change_all(tree)
        status, output = tree.restore(f"--manage-cgroups={mode}")
        check(status == 0 and tree.is_inside(), f"{mode}: {output}")
        check(pids_max(tree) == expected, f"{mode}: pids.max is {pids_max(tree)}, not {expected}")
        tree.kill()
    status, output = tree.restore("--manage-cgroups=strict")
    check(status == 1 and "exists already" in output, f"strict with groups that are there: {output}")
    status, output = tree.restore("--manage-cgroups=ignore")
    check(status == 0 and not tree.is_inside(), f"ignore: {output}, in {tree.groups()}")
    tree.kill()
    tree.remove()
    for mode in ("none", "props"):
        status, output = tree.restore(f"--manage-cgroups={mode}")
        check(status == 1 and "doesn't exist" in output, f"{mode} without groups: {output}")
    status, output = tree.restore("--action-script", "/bin/false")
    check(status == 1, "a restore whose script fails succeeds")
    left = [str(root / tree.top) for root in tree.roots() if (root / tree.top).exists()]
    check(not left, f"groups of a failed restore are left: {left}")
    status, output = tree.restore("--manage-cgroups=strict")
    check(status == 0 and tree.is_inside() and pids_max(tree) == "77", f"strict: {output}")


def elsewhere(tree):
    """--cgroup-root: the groups come back below another one."""
    tree.start()
    check(tree.dump()[0] == 0, "dump")
    tree.remove()
    status, output = tree.restore("--cgroup-root", f"/{tree.top}-other")
    check(status == 0, output)
    check(tree.is_inside(f"{tree.top}-other"), f"in {tree.groups()}")
    check(tree.values(f"{tree.top}-other") == tree.set, "properties")
    tree.kill()
    tree.remove(f"{tree.top}-other")


def thread(tree):
    """A thread in a group of its own, of the first hierarchy that lets one be."""
    tree.start()
    other = tree.threads()[1]
    root = next(root for root in tree.roots() if (root / tree.group / "tasks").exists() and (root / tree.group / "pids.max").exists())
    (root / tree.group / "below/tasks").write_text(str(other))
    before = [tree.groups(tid) for tid in tree.threads()]
    check(before[0] != before[1], "the thread is where the process is")
    check(tree.dump()[0] == 0, "dump")
    tree.remove()
    status, output = tree.restore()
    check(status == 0, output)
    after = [tree.groups(tid) for tid in tree.threads()]
    check(all(now[name] == then[name] for now, then in zip(after, before) for name in tree.ours), f"groups: {after}, {before} before")


def chosen(tree):
    """Only one controller, only some properties, hierarchies from a directory where they are mounted."""
    tree.start()
    status, output = tree.dump("--cgroup-dump-controller", "pids", "--cgroup-props", '"pids":\n - "strategy": "replace"\n - "properties": []\n')
    check(status == 0, output)
    tree.remove()
    status, output = tree.restore("--cgroup-yard", "/sys/fs/cgroup")
    check(status == 0, output)
    inside = [name for name, path in tree.groups().items() if path.endswith(tree.group)]
    check(inside == ["pids"], f"controllers: {inside}")
    check(pids_max(tree) == "max", f"pids.max was saved: {pids_max(tree)}")
    tree.kill()
    status, output = tree.restore("--cgroup-yard", "/tmp")
    check(status == 0 or "/tmp" in output, f"a yard that is none: {output}")


def tried(test):
    def begin(folder):
        with Witness():
            tree = Tree(folder)
            try:
                test(tree)
            finally:
                tree.kill()
                tree.remove()
    return begin


TESTS = {"made again": tried(made_again), "modes": tried(modes), "another root": tried(elsewhere), "a thread": tried(thread), "chosen": tried(chosen)}

if __name__ == "__main__":
    if len(sys.argv) > 2:
        threading.Thread(target=threading.Event().wait).start()
        threading.Event().wait()
    else:
        sys.exit(main("groups", TESTS, [], "control groups"))
