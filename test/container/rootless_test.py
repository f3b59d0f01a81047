#!/usr/bin/env python3
"""Containers of rootless podman: saved and restored by `criu --unprivileged` under `podman unshare`.

usage: rootless_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root, to become an ordinary user; podman, runc, uidmap and busybox (static), no
network. The user exists in a mount namespace of the test's only, where it lies on the machine's /etc/passwd.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from engines import Rootfs, main  # noqa: E402
from steps import check, has_ended, wait_for  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])
IMAGE = "localhost/criu-test:1"
USER, NUMBER, FIRST, COUNT = "criu-test", 54721, 600_000_000, 65536
SETTINGS = """
[engine]
lock_type = "file"
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
"""
# Two processes with a pipe between them, a file in memory, a file that only its descriptor leads to; nothing of podman's is open.
PROGRAM = """exec < /dev/null > /report 2>&1
echo memory > /scratch/kept
echo gone > /tmp/gone; exec 5< /tmp/gone; rm /tmp/gone
i=0; while :; do i=$((i + 1)); echo $i; sleep 0.05; done | while read n; do echo $n $(id -u) > /tmp/new; mv /tmp/new /tmp/count; done"""
# podman's own /dev/shm is a mount of podman's, and goes with the container.
UNFILTERED = ("--tmpfs", "/scratch", "--security-opt", "seccomp=unconfined")
CALLERS = ("--external", "mnt[]:ms")

# A program with a library.
DYNAMIC = {"ld.so": "/lib64/ld-linux-x86-64.so.2", "libc.so.6": "/lib/x86_64-linux-gnu/libc.so.6", "sleep": "/bin/sleep"}


def with_user(folder):
    """For this program and whom it starts only: runs it again in a mount namespace of its own, where /etc is a changed one."""
    for name in ("upper", "work"):
        (folder / name).mkdir(mode=0o755)
    lines = {"passwd": f"{USER}:x:{NUMBER}:{NUMBER}::/:/bin/sh", "group": f"{USER}:x:{NUMBER}:", "subuid": f"{USER}:{FIRST}:{COUNT}",
             "subgid": f"{USER}:{FIRST}:{COUNT}"}
    script = [f"mount -t overlay -o lowerdir=/etc,upperdir={folder}/upper,workdir={folder}/work etc /etc"]
    script += [f"echo {line} >> /etc/{name}" for name, line in lines.items()]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", " && ".join([*script, 'exec "$@"']), "sh", sys.executable, *sys.argv]
    return subprocess.run(command, env={**os.environ, "CRIU_TEST_USER": USER}).returncode


class Podman:
    def __init__(self, folder):
        self.folder = folder
        Rootfs(folder / "rootfs")
        for name, path in DYNAMIC.items():
            shutil.copy(path, folder / "rootfs/data" / name)
        subprocess.run(["tar", "-C", folder / "rootfs", "-cf", folder / "rootfs.tar", "."], check=True)
        self.tool = shutil.copy(CRIU, folder / "criu") # the build may lie in a folder of root's alone
        self.home, self.state = folder / "home", folder / "run"
        (self.home / ".config/containers").mkdir(parents=True)
        (self.home / ".config/containers/containers.conf").write_text(SETTINGS)
        self.state.mkdir(mode=0o700)
        for path in [self.state, self.home, *self.home.rglob("*")]:
            os.chown(path, NUMBER, NUMBER)
        self.must("import", folder / "rootfs.tar", IMAGE)

    def run(self, *words):
        user = ["setpriv", "--reuid", NUMBER, "--regid", NUMBER, "--init-groups", "--inh-caps=-all", "podman", "--storage-driver", "vfs"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.state), "USER": USER}
        with open(self.folder / "output", "w+") as output: # not a pipe: what stays behind would keep it open
            done = subprocess.run([str(word) for word in [*user, *words]], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                  env=environment, cwd="/", timeout=60)
            output.seek(0)
            return done.returncode, output.read()

    def must(self, *words):
        status, output = self.run(*words)
        check(status == 0, f"podman {' '.join(map(str, words))}: {status}: {output.strip()}")
        return output

    def start(self, name, *options, program=PROGRAM):
        self.must("run", "-d", "--name", name, "--network", "none", *options, IMAGE, "/bin/sh", "-c", program)
        return Container(self, name, int(self.must("inspect", "-f", "{{.State.Pid}}", name)))

    def criu(self, *words):
        return self.run("unshare", self.tool, *words)

    def end(self):
        self.run("rm", "-f", "-t", "0", "--all")
        holder = self.state / "libpod/tmp/pause.pid"
        if holder.exists():
            os.kill(int(holder.read_text()), signal.SIGKILL)


class Container:
    """Through /proc of its first process."""

    def __init__(self, podman, name, pid):
        self.podman, self.name, self.pid = podman, name, pid
        self.images = podman.home / "images"
        self.grows()

    def file(self, path):
        return pathlib.Path(f"/proc/{self.pid}/root{path}")

    def count(self):
        try:
            return int(self.file("/tmp/count").read_text().split()[0])
        except FileNotFoundError:
            return 0

    def grows(self):
        before = self.count()
        return wait_for(lambda: (now := self.count()) > before and now, f"the program goes on after {before}")

    def root(self):
        """The directory that its root is, as its user sees it."""
        return self.podman.must("unshare", "podman", "--storage-driver", "vfs", "mount", self.name).strip()

    def facts(self):
        process = pathlib.Path(f"/proc/{self.pid}")
        mounts = sorted(" ".join(line.split()[3:6] + line.split("- ")[1].split()[:1]) for line in (process / "mountinfo").read_text().splitlines()
                        if line.split()[4] != "/dev/shm")  # whether podman has taken it away already is a matter of time
        return {"maps": (process / "uid_map").read_text(), "mounts": mounts, "memory": self.file("/scratch/kept").read_text(),
                "gone": (process / "fd/5").read_text(), "cgroup": (process / "cgroup").read_text()}

    def dump(self, *options):
        self.podman.run("unshare", "rm", "-rf", self.images)
        self.podman.must("unshare", "mkdir", self.images)
        return self.podman.criu("dump", "-t", self.pid, "-D", self.images, "--unprivileged", *options)

    def restore(self, root, *options):
        pidfile = self.podman.home / "pid"
        pidfile.unlink(missing_ok=True)
        status, output = self.podman.criu("restore", "-d", "-D", self.images, "--unprivileged", "--root", root, "--pidfile", pidfile, *options)
        check(status == 0, f"restore: {status}: {output}")
        return Container(self.podman, self.name, int(pidfile.read_text()))


def ended(pid):
    return wait_for(lambda: has_ended(pid), f"process {pid} ends")


def there_and_back(podman):
    """Twice, with what it holds; the container is the user's, and its namespaces are its own."""
    container = podman.start("plain", *UNFILTERED)
    check(container.facts()["maps"].split()[1] == str(NUMBER), "it is no container of the user's")
    root, facts, spaces = container.root(), container.facts(), {}
    for _ in range(2):
        before = container.grows()
        status, output = container.dump(*CALLERS)
        check(status == 0, f"dump: {status}: {output}")
        ended(container.pid)
        container = container.restore(root, *CALLERS)
        try:
            check(container.grows() > before, "it has begun anew")
            check(container.facts() == facts, f"{container.facts()}, {facts} before")
            spaces = {kind: os.readlink(f"/proc/{container.pid}/ns/{kind}") for kind in ("pid", "mnt", "net", "ipc", "uts")}
            check(not [kind for kind, value in spaces.items() if value == os.readlink(f"/proc/self/ns/{kind}")], f"it shares ours: {spaces}")
        except BaseException:
            os.kill(container.pid, signal.SIGKILL)
            raise
    os.kill(container.pid, signal.SIGKILL)
    ended(container.pid)


def runs_on(podman):
    """A dump that leaves it running."""
    container = podman.start("running", *UNFILTERED)
    status, output = container.dump("-R", *CALLERS)
    check(status == 0, f"dump: {status}: {output}")
    container.grows()


def refused(podman):
    """What the kernel refuses is said, with what helps, and the container runs on."""
    container = podman.start("filtered")
    status, output = container.dump(*CALLERS)
    check(status != 0 and "seccomp filter" in output and "seccomp=unconfined" in output, f"filter: {status}: {output}")
    container.grows()
    container = podman.start("deleted", *UNFILTERED, program=f"(exec /data/ld.so --library-path /data /data/sleep 1000) & sleep 0.3; rm /data/libc.so.6; {PROGRAM}")
    status, output = container.dump(*CALLERS)
    check(status != 0 and "libc.so.6" in output and "was deleted or replaced" in output and "CAP_CHECKPOINT_RESTORE" in output,
          f"deleted library: {status}: {output}")
    container.grows()


def replaced_program(podman):
    """A program whose file was deleted is found by another way than its mapping."""
    container = podman.start("replaced", *UNFILTERED, program=f"cp /bin/busybox /tmp/sh; exec /tmp/sh -c 'rm /tmp/sh; {PROGRAM}'")
    root, before = container.root(), container.grows()
    status, output = container.dump("--ghost-limit", "8M", *CALLERS)
    check(status == 0, f"dump: {status}: {output}")
    ended(container.pid)
    container = container.restore(root, *CALLERS)
    try:
        check(container.grows() > before, "it has begun anew")
        check(os.readlink(f"/proc/{container.pid}/exe").endswith(" (deleted)"), "the program has a name again")
    finally:
        os.kill(container.pid, signal.SIGKILL)
    ended(container.pid)


TESTS = {"there and back": there_and_back, "it goes on running": runs_on, "what is refused": refused,
         "a program that was deleted": replaced_program}


def with_podman(test):
    def tried(path):
        podman = Podman(path)
        try:
            test(podman)
        finally:
            podman.end()
    return tried


if __name__ == "__main__":
    if os.geteuid() == 0 and "CRIU_TEST_USER" not in os.environ:
        with tempfile.TemporaryDirectory(prefix="criu-user-") as tables:
            sys.exit(with_user(pathlib.Path(tables)))
    sys.exit(main("rootless podman", {name: with_podman(test) for name, test in TESTS.items()},
                  ["/usr/bin/podman", "/usr/sbin/runc", "/bin/busybox", "/usr/bin/newuidmap"],
                  "the packages podman, runc, uidmap and busybox-static"))
