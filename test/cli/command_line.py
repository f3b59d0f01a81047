#!/usr/bin/env python3
"""The program from outside: exit codes, and the words that scripts look for.

usage: command_line.py CRIU
"""
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from tool import CRIU, criu, expect, failures


def commands():
    expect("no command", criu(), 1, err=r"command is required")
    expect("unknown command", criu("dunp"), 1, err=r"unknown command: dunp")
    expect("too many arguments", criu("dump", "-t", "1", "x"), 1, err=r"excessive parameter")
    expect("version", criu("--version"), 0, out=r"\AVersion: [0-9.]+\n\Z")
    expect("help", criu("-h"), 0, out=r"^Usage:")
    expect("exec is gone", criu("exec"), 255, err=r"compel")
    expect("show is gone", criu("show"), 255, err=r"crit")
    expect("half a command", criu("cpuinfo"), 1, err=r"criu cpuinfo dump -D DIR")
    expect("a later option", criu("restore", "--lsm-profile", "apparmor:x"), 1, err=r"--lsm-profile is not supported yet")
    expect("an unknown option", criu("--nonsense"), 1, err=r"unrecognized option '--nonsense'")


def folders(work):
    work = pathlib.Path(work)
    (work / "logs").mkdir()
    expect("no folder for images", criu("check", "-D", str(work / "missing")), 1, err=r"missing: No such file")
    expect("no work folder", criu("check", "-W", str(work / "missing")), 1, err=r"work folder")
    expect("log beside the images", criu("check", "-D", str(work), "-o", "c.log", "-v4"), 0, out=r"^Looks good\.$")
    expect("log in the work folder", criu("check", "-D", str(work), "-W", "logs", "-o", "c.log", "-v3", cwd=work), 0)
    for log in (work / "c.log", work / "logs/c.log"):
        text = log.read_text() if log.exists() else "no file"
        if not re.match(r"\(00\.\d{6}\) Version: ", text):
            failures.append(f"{log}: {text!r}")
    expect("log to standard output", criu("check", "-o", "-", "-v3"), 0, out=r"^\(00\.\d{6}\) Version:")
    config = work / "criu.conf"
    config.write_text("verbosity 3\nlog-file -\n")
    expect("a configuration file", criu("check", "--config", str(config)), 0, out=r"\(00\.\d{6}\) Version:")
    expect("one from the environment", criu("check", env={"CRIU_CONFIG_FILE": str(config)}), 0, out=r"\(00\.\d{6}\)")
    expect("the command line wins", criu("check", "-v0", "--config", str(config)), 0, out=r"\ALooks good\.\n\Z")


def checks():
    names = criu("check", "--feature", "list").stdout.split()
    expect("45 features", criu("check", "--feature", "list"), 0 if len(names) == 45 else -1)
    expect("a feature", criu("check", "--feature", "mnt_id"), 0, out=r"^mnt_id is supported$")
    expect("an unknown feature", criu("check", "--feature", "magic"), 1, out=r"\A\Z", err=r"Error: Unknown feature magic")
    for name in names:
        done = criu("check", "--feature", name)
        found = done.returncode == 0
        expect(f"{name}: one line", done, 0 if found else 1, out=rf"\A{name} is supported\n\Z" if found else r"\A\Z",
               err=r"\A\Z" if found else r"\AWarn:  .+\n\Z")
    everything = criu("check", "--all")
    expect("all of them", everything, 1 if "some kernel features are missing" in everything.stdout else 0, out=r"^Looks good")


TARGET = """
import fcntl, os, signal, sys
locked = open(sys.argv[1] + "/locked", "w")
fcntl.flock(locked, fcntl.LOCK_EX)
linked = open(sys.argv[1] + "/linked", "w")
os.link(sys.argv[1] + "/linked", sys.argv[1] + "/other")
os.unlink(sys.argv[1] + "/linked")
print("ready", flush=True)
signal.pause()
"""


def trees(work):
    """check --tree: every object that prevents a checkpoint, and that looking changes nothing."""
    null = subprocess.DEVNULL
    idle = subprocess.Popen(["sleep", "60"], stdin=null, stdout=null, stderr=null, start_new_session=True, cwd="/")
    busy = subprocess.Popen([sys.executable, "-c", TARGET, work], stdin=null, stdout=subprocess.PIPE, text=True,
                            start_new_session=True, cwd="/")
    try:
        busy.stdout.readline()
        expect("a tree without obstacles", criu("check", "-t", str(idle.pid)), 0, out=r"^Looks good\. \(1 process, 1 thread, ")
        found = criu("check", "--tree", str(busy.pid))
        expect("a lock", found, 1, out=r"task \d+ \(python3?[^)]*\): fd \d+: \S+/locked is locked")
        expect("a deleted name", found, 1, out=r"/linked \(deleted\) was deleted, but has another name\nHint:  dump with --link-remap")
        report = json.loads(criu("check", "-t", str(busy.pid), "--json").stdout)
        expect("the report as JSON", found, 1 if report["checkpointable"] is False and len(report["findings"]) >= 2 else -1)
        state = pathlib.Path(f"/proc/{busy.pid}/status").read_text()
        expect("the tree goes on", found, 1 if "TracerPid:\t0\n" in state and "State:\tT" not in state else -1)
        (pathlib.Path(work) / "logs of processes").mkdir()
        images = str(pathlib.Path(work) / "logs of processes")
        expect("a dump", criu("dump", "-t", str(idle.pid), "-D", images), 0)
        idle.wait()
        expect("a log for every process", criu("restore", "-d", "-D", images, "-o", "restore.log", "--log-pid", "-v4"), 0)
        own = pathlib.Path(images) / f"restore.log.{idle.pid}"
        expect("it is there", found, 1 if own.exists() and f"process {idle.pid}" in own.read_text() else -1)
        expect("exec-cmd", criu("restore", "-D", images, "--exec-cmd", "--", "/bin/true"), 1, err=r"in use")
        os.kill(idle.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while os.path.exists(f"/proc/{idle.pid}") and time.monotonic() < deadline:
            time.sleep(0.01)
        done = criu("restore", "-D", images, "--exec-cmd", "--", "/bin/sh", "-c", "echo parent $$; cat /proc/$$/task/$$/children; exit 7")
        expect("exec-cmd: the command has the root as child, and its status counts", done, 7, out=rf"^{idle.pid} ")
    finally:
        for child in (idle, busy):
            child.kill()
            child.wait()
    expect("no such tree", criu("check", "-t", "4194304"), 1, err=r"there is no task 4194304")


def other_cgroup():
    """A fresh control group of any hierarchy, or nothing."""
    for line in pathlib.Path("/proc/mounts").read_text().split("\n"):
        mounted = line.split()
        if len(mounted) > 2 and mounted[2] in ("cgroup", "cgroup2") and "cpuset" not in line:
            try:
                return pathlib.Path(tempfile.mkdtemp(prefix="criu-cli-", dir=mounted[1]))
            except OSError:
                continue
    return None


def holds(name, condition):
    expect(name, subprocess.CompletedProcess([], 0, "", ""), 0 if condition else -1)


def cgroups(work):
    """A tree in a control group of its own comes back in it, as the modes say; a restore that fails leaves no group."""
    null = subprocess.DEVNULL
    group = other_cgroup()
    if not group:
        print("skipped: no control group can be made")
        return
    idle = subprocess.Popen(["sleep", "60"], stdin=null, stdout=null, stderr=null, start_new_session=True, cwd="/")
    try:
        (group / "cgroup.procs").write_text(str(idle.pid))
        expect("ignored", criu("dump", "-t", str(idle.pid), "-R", "-D", work, "--manage-cgroups=ignore"), 0)
        member = next(line for line in pathlib.Path(f"/proc/{idle.pid}/cgroup").read_text().splitlines() if group.name in line)
        images = pathlib.Path(work) / "grouped"
        images.mkdir()
        expect("groups are saved", criu("dump", "-t", str(idle.pid), "-D", images), 0)
        idle.wait()
        group.rmdir()
        restore = ("restore", "-d", "-D", images)
        expect("none wants the group to be there", criu(*restore, "--manage-cgroups=none"), 1,
               err=r"Cgroup dir .* doesn't exist\nHint:  .*--manage-cgroups=soft")
        # A restore that fails behind the point where the group is made takes it away again.
        script = pathlib.Path(work) / "refuse"
        script.write_text('#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" != post-restore ]\n')
        script.chmod(0o755)
        expect("a failed restore", criu(*restore, "--action-script", script), 1)
        holds("a failed restore leaves no group", not group.exists())
        expect("soft makes the group", criu(*restore), 0)
        holds("the task is in its group", member in pathlib.Path(f"/proc/{idle.pid}/cgroup").read_text())
        os.kill(idle.pid, signal.SIGKILL)
        expect("strict refuses a group that is there", criu(*restore, "--manage-cgroups=strict"), 1, err="exists already")
        other = group.with_name(group.name + "-other")
        expect("below another root", criu(*restore, "--cgroup-root", f"{member.split(':')[1]}:/{other.name}"), 0)
        holds("the task is in the other group", other.name in pathlib.Path(f"/proc/{idle.pid}/cgroup").read_text())
        os.kill(idle.pid, signal.SIGKILL)
        for _ in range(100):
            try:
                other.rmdir()
                break
            except OSError:
                time.sleep(0.02)
        holds("the group can be removed", not other.exists())
    finally:
        idle.kill()
        idle.wait()
        if group.exists():
            group.rmdir()


def unprivileged(work):
    """A user checkpoints what is his, with a tool that has one capability."""
    nobody, capability = 65534, 40  # CAP_CHECKPOINT_RESTORE
    folder = pathlib.Path(work) / "nobody"
    folder.mkdir()
    for name in ("images", "data"):
        (folder / name).mkdir()
        os.chown(folder / name, nobody, nobody)
    os.chmod(work, 0o755)
    tool = folder / "criu"
    shutil.copy(CRIU, tool)
    try:  # struct vfs_cap_data: revision 2, effective; permitted and inheritable words, low and high
        os.setxattr(tool, "security.capability", struct.pack("<IIIII", 0x02000001, 0, 0, 1 << capability - 32, 0))
    except OSError as error:
        print(f"# unprivileged: no file capabilities here: {error}")
        return
    as_user = {"user": nobody, "group": nobody, "extra_groups": [], "cwd": folder / "data", "stdin": subprocess.DEVNULL}
    script = "import time\nn = 0\nwhile True:\n    n += 1\n    open('tick', 'w').write(str(n))\n    time.sleep(0.01)"
    target = subprocess.Popen(["python3", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True, **as_user)
    tick = folder / "data/tick"

    def goes_on():
        before, end = tick.read_text() if tick.exists() else "", time.monotonic() + 20
        while time.monotonic() < end and (not tick.exists() or tick.read_text() in ("", before)):
            time.sleep(0.01)
        return tick.exists() and tick.read_text() != before

    def run(*args):
        return subprocess.run([tool, *args, "--unprivileged", "-D", folder / "images"], capture_output=True, text=True, **as_user)

    try:
        goes_on()
        expect("an unprivileged dump", run("dump", "-t", str(target.pid)), 0)
        target.wait()
        restored = run("restore", "-d")
        expect("an unprivileged restore", restored, 0 if restored.returncode or goes_on() else -1)
    finally:
        try:
            os.kill(target.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def enrich(image):
    """Gives the processor of cpuinfo.img all instructions there could be."""
    facts = json.loads(subprocess.run([CRIU, "crit", "decode", "-i", image], capture_output=True, text=True, check=True).stdout)
    processor = facts["entries"][0]["x86_entry"][0]
    processor["capability"] = [0xFFFFFFFF] * len(processor["capability"])
    image.unlink()
    subprocess.run([CRIU, "crit", "encode", "-o", image], input=json.dumps(facts), text=True, check=True)


def other_trees_images(work):
    """A directory holds one checkpoint: images of another tree would pass for some of it."""
    folder = pathlib.Path(work) / "again"
    folder.mkdir()
    (folder / "notes.txt").write_text("not an image")
    for number in range(2):
        target = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  start_new_session=True)
        expect("another tree, the same directory" if number else "a tree", criu("dump", "-t", str(target.pid), "-D", str(folder)), 0,
               err=r"held \d+ files of an earlier checkpoint" if number else r"\A\Z")
        target.wait()
    cores = {path.name for path in folder.glob("core-*")}
    holds("only its own images are there", cores == {f"core-{target.pid}.img"} and (folder / "notes.txt").exists())
    expect("a directory that takes no images", criu("dump", "-t", str(os.getppid()), "-D", "/proc"), 1)
    expect("verify", criu("verify", str(folder)), 0)
    expect("as drivers of CRIU say it", criu("check", "-verbosity=0"), 0, out=r"Looks good")


def processors(work):
    folder = pathlib.Path(work) / "processor"
    folder.mkdir()
    there = ["-D", str(folder)]
    expect("cpuinfo check without an image", criu("cpuinfo", "check", *there), 1, err=r"no cpuinfo.img")
    expect("cpuinfo dump", criu("cpuinfo", "dump", *there), 0)
    expect("cpuinfo check", criu("cpuinfo", "check", "--cpu-cap=all", *there), 0)
    enrich(folder / "cpuinfo.img")
    expect("a richer processor", criu("cpuinfo", "check", *there), 1, err=r"lacks instructions.* rdpru")
    expect("... does not matter", criu("cpuinfo", "check", "--cpu-cap=none", *there), 0)
    target = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    expect("a dump with --cpu-cap", criu("dump", "-t", str(target.pid), "--cpu-cap", *there), 0)
    target.wait()
    expect("its restore", criu("restore", "-d", *there), 0)
    os.kill(target.pid, signal.SIGKILL)
    gone = time.monotonic() + 10
    while os.path.exists(f"/proc/{target.pid}") and time.monotonic() < gone:
        time.sleep(0.01)
    enrich(folder / "cpuinfo.img")
    expect("a restore on a poorer processor", criu("restore", "-d", *there), 1, err=r"lacks instructions")
    expect("... if one wants it", criu("restore", "-d", "--cpu-cap=^ins", *there), 0)
    os.kill(target.pid, signal.SIGKILL)


def main():
    if os.geteuid() != 0:
        print("skipped: needs root")
        return 77
    commands()
    with tempfile.TemporaryDirectory() as work:
        folders(work)
        trees(work)
        cgroups(work)
        unprivileged(work)
        other_trees_images(work)
        processors(work)
    checks()
    for failure in failures:
        print(failure)
    return 1 if failures else 0


sys.exit(main())
