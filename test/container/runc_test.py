#!/usr/bin/env python3
"""Containers of runc beyond the plain one: connections, tasks put in, terminals, limits, memory ahead and on demand.

usage: runc_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root, runc and busybox-static. container_test.py has the plain ones.
"""
import array
import json
import os
import pathlib
import socket
import subprocess
import sys

sys.dont_write_bytecode = True
from engines import Rootfs, Witness, hierarchies, main  # noqa: E402
from steps import LIMIT, check, wait_for  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])
COUNT = "i=0; while true; do i=$((i + 1)); echo $i > /data/new; mv /data/new /data/count; sleep 0.05; done"


class Container:
    """A bundle, whose /data is a directory of the test's."""

    def __init__(self, folder, change=lambda config: None, program=COUNT):
        self.folder, self.name = folder, f"criu-test-{os.getpid()}"
        self.group = f"/criu-test-runc-{os.getpid()}"
        self.data = folder / "data"
        self.data.mkdir()
        Rootfs(folder / "rootfs")
        self.tool = ["runc", "--root", folder / "state", "--criu", CRIU]
        subprocess.run(["runc", "spec"], cwd=folder, check=True)
        config = json.loads((folder / "config.json").read_text())
        config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", program], "rlimits": []}
        config["linux"]["cgroupsPath"] = f"{self.group}/{self.name}"
        config["mounts"].append({"destination": "/data", "source": str(self.data), "type": "bind", "options": ["bind", "rw"]})
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    def run(self, *words):
        """What goes on in the background has no output: a file of ours would be outside of the container."""
        command = [str(word) for word in [*self.tool, *words]]
        if "-d" in words:
            return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder,
                                  timeout=60).returncode, ""
        with open(self.folder / "output", "w+") as output:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder, timeout=60)
            output.seek(0)
            return done.returncode, output.read()

    def must(self, *words):
        status, output = self.run(*words)
        check(status == 0, f"runc {' '.join(map(str, words))}: {status}: {output.strip()}{self.errors()}")
        return output

    def errors(self):
        return "".join(f"\n{log.name}: {line}" for log in self.folder.glob("work*/*.log") for line in log.read_text().splitlines()
                       if "Error" in line or "Hint" in line)

    def start(self):
        self.must("run", "-d", self.name)
        self.grows()

    def count(self, name="count"):
        path = self.data / name
        return int(path.read_text()) if path.exists() else 0

    def grows(self, name="count"):
        before = self.count(name)
        return wait_for(lambda: (now := self.count(name)) > before and now, f"the container goes on ({name})")

    def checkpoint(self, *options, images="images"):
        return self.must("checkpoint", "--image-path", self.folder / images, "--work-path", self.folder / f"work-{images}", *options, self.name)

    def restore(self, *options, images="images"):
        return self.must("restore", "-d", "--image-path", self.folder / images, "--work-path", self.folder / f"work-{images}-back", *options,
                         self.name)

    def there_and_back(self, *options, restore=()):
        stopped = self.count()
        self.checkpoint(*options)
        self.restore(*restore)
        check(self.grows() > stopped, "it has begun anew")

    def shell(self, script):
        return self.must("exec", self.name, "/bin/sh", "-c", script)

    def pid(self):
        return json.loads(self.must("state", self.name))["pid"]

    def groups(self):
        """Those of hierarchies that have to do with the container."""
        lines = pathlib.Path(f"/proc/{self.pid()}/cgroup").read_text().splitlines()
        return sorted(line.split(":", 1)[1] for line in lines if self.group in line)

    def mounts(self):
        """Without what runc binds in from elsewhere at a restore: /dev/null, and control groups as it sees them itself."""
        lines = [line.split() for line in pathlib.Path(f"/proc/{self.pid()}/mountinfo").read_text().splitlines()]
        kinds = [(words[4], words[3], words[5], words[words.index("-") + 1]) for words in lines]
        return sorted(kind for kind in kinds if kind[3] != "cgroup" and kind[1] != "/null")

    def end(self):
        self.run("delete", "-f", self.name)


def connection(container):
    """A connection of the container to itself."""
    container.start()
    for _ in range(2):
        container.there_and_back("--tcp-established", restore=("--tcp-established",))


# The counts have come back to the client before they are written.
CONNECTED = ("nc -ll -p 7000 -e /bin/cat & sleep 0.2; i=0; while true; do i=$((i + 1)); echo $i; sleep 0.05; done | nc 127.0.0.1 7000 | "
             "while read i; do echo $i > /data/new; mv /data/new /data/count; done")


def put_in(container):
    """A task that runc exec has put in: its parent is outside. It belongs to the container, and comes back."""
    container.start()
    container.must("exec", "-d", container.name, "/bin/sh", "-c", COUNT.replace("/data/new", "/data/new2").replace("/data/count", "/data/second"))
    container.grows("second")
    container.checkpoint("--leave-running", images="running")
    container.grows("second")
    container.checkpoint()
    container.restore()
    container.grows()
    container.grows("second")


def limits(container):
    """Limits of control groups, which runc sets again itself; a group that the container has made comes back with the modes that make groups."""
    container.start()
    groups = container.groups()
    for mode in ("soft", "full"):
        container.there_and_back("--manage-cgroups-mode", mode, restore=("--manage-cgroups-mode", mode))
        check(container.groups() == groups, f"groups: {container.groups()}, {groups} before")
        for root in hierarchies():
            group = root / container.group.lstrip("/") / container.name
            for name, value in (("pids.max", "40"), ("memory.limit_in_bytes", str(64 << 20)), ("cpu.shares", "77")):
                if (group / name).exists():
                    check((group / name).read_text().strip() == value, f"{mode}: {name}: {(group / name).read_text()}")


def limited(config):
    config["linux"]["resources"] |= {"pids": {"limit": 40}, "memory": {"limit": 64 << 20}, "cpu": {"shares": 77}}


def read_only(container):
    """A root that is read-only, with a tmpfs of the container's and one over a directory that is not empty."""
    container.start()
    container.shell("echo kept > /scratch/file; echo over > /etc/file")
    mounts = container.mounts()
    for _ in range(2):
        container.there_and_back()
        check(container.shell("cat /scratch/file /etc/file").split() == ["kept", "over"], "contents of a tmpfs")
        check(container.mounts() == mounts, f"mounts: {container.mounts()}, {mounts} before")


def with_scratch(config):
    config["root"]["readonly"] = True
    for place in ("/root", "/etc"):
        config["mounts"].append({"destination": "/scratch" if place == "/root" else place, "source": "tmpfs", "type": "tmpfs", "options":
                                 ["nosuid", "size=1m"]})


def link_on_the_host(container):
    """What is bound in is a symbolic link on the host; so is the bundle's own directory."""
    container.start()
    container.there_and_back()
    check(container.shell("cat /linked/file") == "behind a link\n", "the file behind the link")


def with_link(config):
    bundle = pathlib.Path(config["mounts"][-1]["source"]).parent
    (bundle / "real").mkdir()
    (bundle / "real/file").write_text("behind a link\n")
    (bundle / "link").symlink_to("real")
    config["mounts"].append({"destination": "/linked", "source": str(bundle / "link"), "type": "bind", "options": ["bind", "ro"]})


def terminal(container):
    """A terminal whose master goes to a console socket, at the start and at the restore."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = container.folder / "console"
        listener.bind(str(path))
        listener.listen()
        container.must("run", "-d", "--console-socket", path, container.name)
        with receive(listener) as master:
            check_echo(master, "first")
            container.checkpoint()
        container.restore("--console-socket", path)
        with receive(listener) as master:
            check_echo(master, "second")
            check(container.shell("readlink /proc/1/fd/0; stat -c %t:%T /dev/console") == "/dev/pts/0\n88:0\n", "the console is another")


def receive(listener):
    listener.settimeout(LIMIT)
    connection, _ = listener.accept()
    with connection:
        _, ancillary, _, _ = connection.recvmsg(4096, 256)
    return os.fdopen(array.array("i", ancillary[0][2])[0], "r+b", buffering=0)


def check_echo(master, word):
    os.set_blocking(master.fileno(), False)
    master.write(word.encode() + b"\n")
    seen = b""

    def answered():
        nonlocal seen
        seen += master.read(4096) or b""
        return f"<{word}>".encode() in seen
    wait_for(answered, f"the terminal answers {word}")


ANSWERING = "while read line; do echo \"<$line>\"; done"


def with_terminal(config):
    config["process"]["terminal"] = True


def ahead(container):
    """Memory that was saved ahead, twice."""
    container.start()
    container.checkpoint("--pre-dump", images="first")
    container.grows()
    container.checkpoint("--pre-dump", "--parent-path", "../first", images="second")
    container.grows()
    container.checkpoint("--parent-path", "../second")
    container.restore()
    container.grows()


def serve(container, *words):
    """A daemon of criu's, which says when it is ready."""
    reading, writing = os.pipe()
    daemon = subprocess.Popen([CRIU, *[str(word) for word in words], "--status-fd", str(writing)], pass_fds=[writing], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=container.folder)
    os.close(writing)
    with os.fdopen(reading, "rb") as status:
        check(status.read(1) == b"\0", f"criu {words[0]} does not begin")
    return daemon


def elsewhere(container):
    """Memory that goes to a page server."""
    container.start()
    images = container.folder / "images"
    images.mkdir()
    port = 20000 + os.getpid() % 20000
    daemon = serve(container, "page-server", "-D", images, "--address", "127.0.0.1", "--port", port)
    try:
        container.checkpoint("--page-server", f"127.0.0.1:{port}")
        check(daemon.wait(LIMIT) == 0, "the page server has failed")
    finally:
        daemon.kill()
        daemon.wait()
    container.restore()
    container.grows()


def on_demand(container):
    """Memory that comes when it is touched."""
    container.start()
    container.checkpoint()
    daemon = serve(container, "lazy-pages", "-D", container.folder / "images", "-W", container.folder / "images")
    try:
        work = container.folder / "images"
        container.must("restore", "-d", "--image-path", work, "--work-path", work, "--lazy-pages", container.name)
        container.grows()
        check(daemon.wait(LIMIT) == 0, "the daemon has failed")
    finally:
        daemon.kill()
        daemon.wait()
    container.grows()


def tried(test, change=lambda config: None, program=COUNT):
    def run(folder):
        with Witness() as witness:
            container = Container(folder, change, program)
            try:
                test(container)
            finally:
                container.end()
                witness.remove_groups(container.group)
    return run


TESTS = {"own connection": tried(connection, program=CONNECTED), "a task put in": tried(put_in), "limits": tried(limits, limited),
         "read-only root": tried(read_only, with_scratch), "a link on the host": tried(link_on_the_host, with_link),
         "terminal": tried(terminal, with_terminal, ANSWERING), "memory ahead": tried(ahead), "page server": tried(elsewhere),
         "memory on demand": tried(on_demand)}

if __name__ == "__main__":
    sys.exit(main("runc", TESTS, ["/usr/sbin/runc", "/bin/busybox"], "the packages runc and busybox-static"))
