#!/usr/bin/env python3
"""A container made by hand, and one of runc, through dump and restore.

usage: container_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root, busybox (static) and runc; what is made lies in a folder of its own
and in namespaces that end with the test.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from steps import Failure, check, has_ended, must, run, wait_for  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])
SKIPPED = 77

# Goes into fresh namespaces, makes the mounts of a container and becomes its init.
ENTER = r"""
set -e
mount --make-rprivate /
mount --bind "$1/rootfs" "$1/rootfs"
cd "$1/rootfs"
mount -t proc proc proc
mount -t tmpfs -o mode=755,size=16m tmpfs dev
mkdir dev/pts dev/shm dev/mqueue
mknod dev/null c 1 3
ln -s /proc/self/fd dev/fd
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
mount -t mqueue mqueue dev/mqueue
mount -t sysfs -o ro sysfs sys
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount --bind "$1/data" data
mount -t tmpfs -o ro,size=0k tmpfs sys/firmware
ip link set lo up
ip addr add 10.9.9.1/24 dev lo
ip route add 10.77.0.0/16 dev lo
hostname inner
echo hello > dev/shm/hello
ln dev/shm/hello dev/shm/link
truncate -s 1M dev/shm/sparse
pivot_root . .
umount -l .
cd /
exec setsid /bin/sh /work.sh < /dev/null > /tmp/out 2>&1
"""

# Counts, and says with each number what it sees.
WORK = r"""
exec 5< /data/file 6>> /tmp/log 7< /dev/shm/hello
i=0
while true; do
    i=$((i + 1))
    echo $i $$ $(hostname) $(cat /dev/shm/link) $(stat -c %h /dev/shm/hello) >&6
    sleep 0.05
done
"""

EXTERNALS_OF_DUMP = ["--external", "mnt[/data]:data"]


def mounts_of(pid):
    """Mount point, root, type and options of each mount: what has to be the same afterwards."""
    found = set()
    for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        words = line.split()
        dash = words.index("-")
        found.add((words[4], words[3], words[5], words[dash + 1]))
    return found


def mounts_if_any(pid):
    """Also tells whether a number is still that of the container."""
    try:
        return pathlib.Path(f"/proc/{pid}/mountinfo").read_text()
    except OSError:
        return ""


def last_line(log):
    lines = log.read_text().splitlines() if log.exists() else []
    return lines[-1] if lines else ""


class Folder:
    """A root file system with busybox, and a directory that is bound into it from outside."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.inits = []  # of containers that may run: none outlives its test
        root = self.path / "rootfs"
        for name in ("bin", "proc", "dev", "sys", "tmp", "data", "root", "etc"):
            (root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for applet in ("sh", "sleep", "cat", "hostname", "stat", "umount", "setsid"):
            (root / "bin" / applet).symlink_to("busybox")
        (root / "work.sh").write_text(WORK)
        (self.path / "data").mkdir()
        (self.path / "data/file").write_text("shared\n")
        self.log = root / "tmp/log"

    def grows(self):
        """The program goes on: there is a line that was not there before."""
        before = last_line(self.log)
        return wait_for(lambda: (line := last_line(self.log)) != before and line, "the program goes on")


def start(folder):
    """Returns the pid of the container's init, as we see it."""
    starter = subprocess.Popen(["setsid", "unshare", "-m", "-n", "-p", "-u", "-i", "-f", "--kill-child", "/bin/sh", "-c", ENTER, "sh",
                                str(folder.path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: last_line(folder.log), "the container starts")
    except Failure:
        starter.kill()
        raise Failure(f"the container starts: {starter.communicate()[0].decode()}")
    children = pathlib.Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()
    folder.inits.append(int(children[0]))
    return starter, folder.inits[-1]


def end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_for(lambda: has_ended(pid), "the container ends")


def restore(folder, images):
    pidfile = folder.path / "pid"
    pidfile.unlink(missing_ok=True)
    status, output = run(CRIU, "restore", "-d", "-D", images, "--root", folder.path / "rootfs", "--external",
                         f"mnt[data]:{folder.path / 'data'}", "--pidfile", pidfile)
    check(status == 0, f"restore: {output.strip()}")
    folder.inits.append(int(pidfile.read_text()))
    return folder.inits[-1]


def compare_network(pid):
    addresses = must("nsenter", "-n", "-t", pid, "ip", "-o", "addr", "show", "lo")
    check("10.9.9.1/24" in addresses and "127.0.0.1/8" in addresses, f"addresses: {addresses}")
    check("10.77.0.0/16 dev lo" in must("nsenter", "-n", "-t", pid, "ip", "route"), "a route is missing")


def compare_files(pid):
    shm = pathlib.Path(f"/proc/{pid}/root/dev/shm")
    check((shm / "hello").stat().st_nlink == 2, "two names of one file are two files")
    check((shm / "sparse").stat().st_size == 1 << 20 and (shm / "sparse").stat().st_blocks == 0, "a hole was filled")
    check(pathlib.Path(f"/proc/{pid}/root/dev/null").is_char_device(), "/dev/null is no device")
    check(os.readlink(f"/proc/{pid}/fd/5") == "/data/file", "a descriptor leads elsewhere")


def by_hand(folder):
    """Pid, mount, network, UTS and IPC namespaces: everything as before, twice in a row."""
    starter, pid = start(folder)
    mounts, seen = mounts_of(pid), last_line(folder.log).split()[1:]
    ours = mounts_of("self")
    for round_ in range(2):
        images = folder.path / f"images{round_}"
        images.mkdir()
        must(CRIU, "dump", "-t", pid, "-D", images, *EXTERNALS_OF_DUMP)
        if round_ == 0:
            starter.wait()
        wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the container is gone")
        pid = restore(folder, images)
        check(folder.grows().split()[1:] == seen, f"the program sees {last_line(folder.log)}, {seen} before")
        after = mounts_of(pid)
        check(after == mounts, f"mounts: new {sorted(after - mounts)}, missing {sorted(mounts - after)}")
        compare_network(pid)
        compare_files(pid)
    check(mounts_of("self") == ours, "mounts of the tool's own namespace have changed")
    end(pid)


def stays(folder):
    """dump --leave-running leaves a container as it was; a restore that fails leaves nothing."""
    _, pid = start(folder)
    images = folder.path / "images"
    images.mkdir()
    mounts = mounts_of(pid)
    must(CRIU, "dump", "-t", pid, "-R", "-D", images, *EXTERNALS_OF_DUMP)
    folder.grows()
    check(mounts_of(pid) == mounts, "the dump has changed its mounts")
    end(pid)
    ours = mounts_of("self")
    status, output = run(CRIU, "restore", "-d", "-D", images, "--root", folder.path / "rootfs")
    check(status == 1 and "No mapping for" in output and "--external" in output, f"without a mapping: {status}: {output}")
    status, output = run(CRIU, "restore", "-d", "-D", images, "--external", f"mnt[data]:{folder.path / 'data'}")
    check(status == 1 and "--root" in output, f"without a root: {status}: {output}")
    check(mounts_of("self") == ours, "mounts of failed restores are left")


def runc_users(folder):
    """The same with a user namespace: ids are others outside."""
    first = 100000
    folder.path.chmod(0o755)
    for path in [folder.path / "rootfs", *(folder.path / "rootfs").rglob("*")]:
        os.chown(path, first, first, follow_symlinks=False)

    def change(config):
        maps = [{"containerID": 0, "hostID": first, "size": 65536}]
        config["linux"] |= {"uidMappings": maps, "gidMappings": maps}
        config["linux"]["namespaces"].append({"type": "user"})

    def inspect(pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        check(f"Uid:\t{first}\t{first}" in status, f"another user: {status}")
        maps = [pathlib.Path(f"/proc/{pid}/{name}").read_text().split() for name in ("uid_map", "gid_map")]
        check(maps == [["0", str(first), "65536"]] * 2, f"maps: {maps}")
        check((pathlib.Path(f"/proc/{pid}/root/dev/shm")).stat().st_uid == first, "/dev/shm is somebody else's")

    runc(folder, change, inspect)


def runc(folder, change=lambda config: None, inspect=lambda pid: None):
    """runc checkpoint and restore, the container left running and not."""
    bundle, name, state = folder.path, f"criu-test-{os.getpid()}", folder.path / "state"
    must("sh", "-c", f"cd {bundle} && runc spec")
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["terminal"] = False
    config["process"]["args"] = ["/bin/sh", "-c", "i=0; while true; do i=$((i + 1)); echo $i $$ $(hostname) > /tmp/log; sleep 0.05; done"]
    config["root"]["readonly"] = False
    change(config)
    (bundle / "config.json").write_text(json.dumps(config))
    tool = ["runc", "--root", state, "--criu", CRIU]

    def started(*words):
        status = subprocess.run([str(word) for word in [*tool, *words]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, cwd=bundle, timeout=60).returncode
        logs = [path.read_text()[-2000:] for path in bundle.glob("work*/*.log")]
        check(status == 0, f"runc {' '.join(map(str, words))}: {status}: {logs}")
        folder.grows()

    try:
        started("run", "-d", name)
        running = bundle / "running"
        must(*tool, "checkpoint", "--leave-running", "--image-path", running, "--work-path", bundle / "work1", name)
        folder.grows()
        images = bundle / "images"
        must(*tool, "checkpoint", "--image-path", images, "--work-path", bundle / "work2", name)
        check(not must(*tool, "list", "-q").strip(), "the container is there after its checkpoint")
        started("restore", "-d", "--image-path", images, "--work-path", bundle / "work3", name)
        state_now = json.loads(must(*tool, "state", name))
        check(state_now["status"] == "running", "runc does not see it run")
        inspect(state_now["pid"])
    finally:
        run(*tool, "delete", "-f", name)


TESTS = {"a container made by hand": by_hand, "a container that stays, a restore that fails": stays, "runc": runc,
         "runc with a user namespace": runc_users}


def main():
    missing = [name for name in ("/bin/busybox", "/usr/sbin/runc") if not os.path.exists(name)]
    if os.geteuid() != 0 or missing:
        print(f"skipped: needs root, and the packages busybox-static and runc ({', '.join(missing)} missing)")
        return SKIPPED
    failed = 0
    for name, test in TESTS.items():
        path = tempfile.mkdtemp(prefix="criu-container-")
        folder = Folder(path)
        try:
            test(folder)
            print(f"ok {name}", flush=True)
        except (Failure, subprocess.TimeoutExpired, OSError) as why:
            failed += 1
            print(f"not ok {name}: {why}", flush=True)
        finally:
            for pid in folder.inits:
                if f"{path}/" in mounts_if_any(pid):
                    end(pid)
            # Only what this test has made: a mount below it would have to be somebody's.
            if path not in pathlib.Path("/proc/self/mountinfo").read_text():
                shutil.rmtree(path, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
