#!/usr/bin/env python3
"""Containers of LXC: lxc-checkpoint -s and -r.

usage: lxc_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root, lxc and busybox-static; no network, no AppArmor. The containers lie in a folder of
the test. LXC's way to control groups is its own: lxc.payload.NAME in each hierarchy, which goes with the container.
"""
import os
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True
from engines import Witness, engine_path, hierarchies, main  # noqa: E402
from steps import check, wait_for  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])

# As LXC's manual asks for: nobody outside holds an end of a terminal.
SETTINGS = """
lxc.net.0.type = empty
lxc.console.path = none
"""
INITTAB = "::sysinit:/bin/mkdir -p /run\n::respawn:/bin/sh /count.sh\n"
COUNT = "i=0; while :; do i=$((i + 1)); echo $i $$ $(cat /dev/shm/kept 2>/dev/null) > /count.new; mv /count.new /count; sleep 0.05; done"


class Container:
    """One made by the template busybox, which binds the host's libraries into it unless it is told not to."""

    def __init__(self, folder, bound):
        self.folder, self.name = folder, f"criu-test-{os.getpid()}-{'bound' if bound else 'own'}"
        self.environment = {**os.environ, "PATH": engine_path(folder, CRIU)}
        (folder / "settings").write_text(SETTINGS)
        self.must("lxc-create", "-f", folder / "settings", "-t", "busybox")
        config = folder / self.name / "config"
        lines = [line for line in config.read_text().splitlines() if not line.startswith("lxc.tty.max")]
        if not bound:
            lines = [line for line in lines if not (line.startswith("lxc.mount.entry") and "bind" in line)]
        config.write_text("\n".join([*lines, "lxc.tty.max = 0", ""]))
        self.root = folder / self.name / "rootfs"
        (self.root / "etc/inittab").write_text(INITTAB)
        (self.root / "count.sh").write_text(COUNT)

    def run(self, tool, *words):
        """What goes on in the background keeps the output open: it goes to a file."""
        command = [tool, "-P", self.folder, "-n", self.name, *words]
        with open(self.folder / "output", "w+") as output:
            done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                  env=self.environment, timeout=60)
            output.seek(0)
            return done.returncode, output.read()

    def must(self, tool, *words):
        status, output = self.run(tool, *words)
        check(status == 0, f"{tool} {' '.join(map(str, words))}: {status}: {output.strip()}{self.errors()}")
        return output

    def errors(self):
        return "".join(f"\n{log.name}: {line}" for log in self.folder.glob("images*/*.log") for line in log.read_text().splitlines()
                       if "Error" in line or "Hint" in line)

    def start(self):
        self.must("lxc-start")
        return self.grows()

    def last(self):
        path = self.root / "count"
        return path.read_text().split() if path.exists() else []

    def grows(self):
        before = self.last()
        return wait_for(lambda: (line := self.last()) != before and line, "the container goes on")

    def attach(self, script):
        return self.must("lxc-attach", "--", "/bin/sh", "-c", script)

    def pid(self):
        return self.must("lxc-info", "-p", "-H").strip()

    def mounts(self):
        """Mount point, part, flags, type of each."""
        lines = [line.split() for line in pathlib.Path(f"/proc/{self.pid()}/mountinfo").read_text().splitlines()]
        return sorted((words[4], words[3], words[5], words[words.index("-") + 1]) for words in lines)

    def groups(self):
        """Of the hierarchies that LXC knows: others may come and go."""
        lines = pathlib.Path(f"/proc/{self.pid()}/cgroup").read_text().splitlines()
        return sorted(line.split(":", 1)[1] for line in lines if self.name in line)

    def checkpoint(self, images, *options):
        return self.must("lxc-checkpoint", "-s", "-D", images, *options)

    def restore(self, images):
        return self.must("lxc-checkpoint", "-r", "-D", images)

    def end(self):
        self.run("lxc-stop", "-k")
        self.run("lxc-destroy", "-f")
        for root in hierarchies():
            for group in [*root.glob(f"lxc.*{self.name}*"), *root.glob("lxc.pivot")]: # the second: of lxc-checkpoint, for a moment
                wait_for(lambda: not (group / "cgroup.procs").exists() or not (group / "cgroup.procs").read_text(), f"{group} is empty")
                if group.exists():
                    group.rmdir()


def there_and_back(container):
    """Twice: the processes, mounts, memory file system and groups are what they were."""
    container.start()
    container.attach("echo kept > /dev/shm/kept")
    wait_for(lambda: container.last()[2:] == ["kept"], "the file is seen")
    mounts, groups = container.mounts(), container.groups()
    for turn in range(2):
        images = container.folder / f"images{turn}"
        container.checkpoint(images)
        check("STOPPED" in container.must("lxc-info", "-s"), "it runs on after its checkpoint")
        stopped = container.last()
        container.restore(images)
        now = container.grows()
        check(int(now[0]) > int(stopped[0]) and now[1:] == stopped[1:], f"the program says {now}, {stopped} before")
        check(container.mounts() == mounts, f"mounts: {container.mounts()}, {mounts} before")
        check(container.groups() == groups, f"groups: {container.groups()}, {groups} before")


def failures(container):
    """A checkpoint that is refused, and a restore that fails: the container runs on, and nothing is left."""
    container.start()
    status, _ = container.run("lxc-checkpoint", "-s", "-D", "/proc/images")
    check(status != 0, "a checkpoint into a directory that cannot be made succeeds")
    container.grows()
    images = container.folder / "images"
    container.checkpoint(images)
    (images / "pstree.img").rename(images / "pstree")
    status, _ = container.run("lxc-checkpoint", "-r", "-D", images)
    check(status != 0, "a restore without pstree.img succeeds")
    (images / "pstree").rename(images / "pstree.img")
    container.restore(images)
    container.grows()


def tried(test, bound):
    def run(folder):
        with Witness():
            container = Container(folder, bound)
            try:
                test(container)
            finally:
                container.end()
    return run


TESTS = {"with the host's libraries bound in": tried(there_and_back, True), "without": tried(there_and_back, False),
         "failures": tried(failures, True)}

if __name__ == "__main__":
    sys.exit(main("lxc", TESTS, ["/usr/bin/lxc-checkpoint", "/usr/share/lxc/templates/lxc-busybox", "/bin/busybox"],
                  "the packages lxc and busybox-static"))
