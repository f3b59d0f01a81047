"""What the tests of container engines share: a root file system, our criu under the name that engines call, and a look at what is left."""
import os
import pathlib
import shutil
import subprocess
import tempfile

from steps import Failure, check, wait_for

SKIPPED = 77
APPLETS = ("sh", "sleep", "cat", "nc", "ip", "hostname", "stat", "ls", "mkfifo", "grep", "init", "id", "mount", "umount", "tty", "date", "true", "setsid")


class Rootfs:
    """busybox and the directories of a root file system."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        for name in ("bin", "proc", "dev", "sys", "tmp", "etc", "root", "run", "data"):
            (self.path / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", self.path / "bin/busybox")
        for applet in APPLETS:
            (self.path / "bin" / applet).symlink_to("busybox")


def engine_path(folder, criu):
    """A PATH in which `criu` is the tool at hand."""
    programs = pathlib.Path(folder) / "programs"
    programs.mkdir()
    (programs / "criu").symlink_to(criu)
    return f"{programs}:{os.environ['PATH']}"


def mounts():
    return sorted(line.split(" ", 3)[3] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines())


def network():
    done = [subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True).stdout for command in
            (("nft", "list", "tables"), ("ip", "-o", "link", "show", "type", "veth"), ("ip", "netns"))]
    return [line for output in done for line in output.splitlines()]


def hierarchies():
    """Where control groups are mounted here."""
    lines = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    return [pathlib.Path(words[4]) for words in lines if words[words.index("-") + 1] in ("cgroup", "cgroup2")]


class Witness:
    """Compares the machine before and after: nothing of an engine or of ours may stay mounted."""

    def __enter__(self):
        self.mounts = mounts()
        return self

    def __exit__(self, kind, *_):
        after = mounts()
        if kind is None:
            check(after == self.mounts, f"mounts: left {[m for m in after if m not in self.mounts]}, gone {[m for m in self.mounts if m not in after]}")

    @staticmethod
    def remove_groups(name, own=()):
        """An engine's group, with its `own` ones below it. Groups of containers have to be gone by themselves."""
        for root in hierarchies():
            group = root / name.lstrip("/")
            if not group.exists():
                continue
            wait_for(lambda: {entry.name for entry in group.iterdir() if entry.is_dir()} <= set(own), f"{group} has no container's group left")
            for entry in own:
                if (group / entry).exists():
                    (group / entry).rmdir()
            group.rmdir()


def main(engine, tests, programs, packages):
    """Runs tests, functions of a folder of their own. Returns the exit status."""
    missing = [name for name in programs if not os.path.exists(name)]
    if os.geteuid() != 0 or missing:
        print(f"skipped: needs root, and {packages} ({', '.join(missing)} missing)")
        return SKIPPED
    failed = 0
    for name, test in tests.items():
        path = tempfile.mkdtemp(prefix=f"criu-{engine}-")
        os.chmod(path, 0o755)
        try:
            test(pathlib.Path(path))
            print(f"ok {engine}: {name}", flush=True)
        except (Failure, subprocess.SubprocessError, OSError) as why:
            failed += 1
            print(f"not ok {engine}: {name}: {why}", flush=True)
        finally:
            # Only what this test has made: a mount below it would have to be somebody's.
            if path not in pathlib.Path("/proc/self/mountinfo").read_text():
                shutil.rmtree(path, ignore_errors=True)
    return 1 if failed else 0
