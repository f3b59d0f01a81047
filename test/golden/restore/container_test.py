#!/usr/bin/env python3
"""Restores the golden containers: images that CRIU 4.2 wrote when runc asked it to, without runc.

usage: container_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root and the busybox-static that the containers were made of. What runc gives at a
restore is given by options: the mounts of control groups and /dev/null, and a network that is empty.
"""
import os
import pathlib
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "container")]

from engines import Rootfs, Witness, main  # noqa: E402
from steps import check, run, wait_for  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])
GROUPS = "/sys/fs/cgroup"
CONTROLLERS = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd")


class Restored:
    def __init__(self, folder, images):
        self.folder, self.images = folder, images
        self.group = f"/criu-test-golden-{os.getpid()}"
        self.rootfs = Rootfs(folder / "rootfs").path
        (folder / "none").mkdir()
        self.pid = None

    def restore(self):
        options = ["--external", "mnt[/dev/null]:/dev/null", "--empty-ns", "net", "--lower-limits", "--cgroup-root", self.group]
        for controller in CONTROLLERS:
            path = pathlib.Path(GROUPS) / controller
            options += ["--external", f"mnt[{path}]:{path if path.exists() else self.folder / 'none'}"]
        status, output = run(CRIU, "restore", "-d", "-D", self.images, "-W", self.folder, "--root", self.rootfs, "--pidfile",
                             self.folder / "pid", *options)
        if status and "busybox" in output and "size" in output:
            print(f"skip golden container: another busybox ({output.strip()})")
            return False
        if status and "that this CPU does not have" in output:
            print(f"skip golden container: {output.strip().splitlines()[0]}")
            return False
        check(status == 0, output)
        self.pid = int((self.folder / "pid").read_text())
        return True

    def children(self):
        return sorted(pathlib.Path(f"/proc/{pid}/comm").read_text().strip() for pid in
                      pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())

    def path(self, name):
        return pathlib.Path(f"/proc/{self.pid}/root") / name

    def end(self):
        if self.pid:
            run("kill", "-9", self.pid)
            wait_for(lambda: not pathlib.Path(f"/proc/{self.pid}").exists(), "the container ends")


def mounts_of(restored):
    """Mount points that the image has."""
    lines = pathlib.Path(f"/proc/{restored.pid}/mountinfo").read_text().splitlines()
    return sorted(line.split()[4] for line in lines)


def common(restored):
    check(os.readlink(f"/proc/{restored.pid}/ns/pid") != os.readlink("/proc/self/ns/pid"), "no pid namespace of its own")
    places = mounts_of(restored)
    for place in ("/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/proc/sys", "/proc/acpi", "/sys/firmware"):
        check(place in places, f"{place} is no mount: {places}")
    check(restored.path("dev/fd").is_symlink() and restored.path("dev/null").is_char_device(), "/dev is another")
    groups = pathlib.Path(f"/proc/{restored.pid}/cgroup").read_text().splitlines()
    check(any(line.endswith(restored.group) for line in groups), f"groups: {groups}")


def counting(restored):
    """A pipe between two children, and a program that counts into a file of the root."""
    common(restored)
    count = restored.rootfs / "tmp/count"
    wait_for(count.exists, "the program counts")
    before = count.read_text()
    wait_for(lambda: count.read_text() not in (before, ""), "the program counts on")
    check({"cat", "sleep"} <= set(restored.children()), f"children: {restored.children()}")


def files(restored):
    """A tmpfs with a hard link, a symbolic link, a FIFO and a hole."""
    common(restored)
    data = restored.path("data")
    check((data / "a").read_text() == "first\n" and (data / "a").stat().st_nlink == 2, "a hard link")
    check(os.readlink(data / "symlink") == "a" and (data / "fifo").is_fifo(), "a symbolic link, a FIFO")
    sparse = (data / "sparse").stat()
    check(sparse.st_size == 1 << 20 and sparse.st_blocks * 512 < 1 << 20, "a hole")
    check(restored.children() == ["sleep", "sleep"], f"children: {restored.children()}")


def tried(images, look):
    def test(folder):
        with Witness() as witness:
            restored = Restored(folder, images)
            try:
                if restored.restore():
                    look(restored)
            finally:
                restored.end()
                witness.remove_groups(restored.group)
    return test


GOLDEN = HERE.parent
TESTS = {"one that counts": tried(GOLDEN / "container", counting), "one with files": tried(GOLDEN / "baseline/container", files)}

if __name__ == "__main__":
    sys.exit(main("golden container", TESTS, ["/bin/busybox"], "the package busybox-static"))
