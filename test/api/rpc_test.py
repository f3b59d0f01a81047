#!/usr/bin/env python3
"""Requests to `criu swrk`: every type, every option field, every notification.

usage: rpc_test.py --criu CRIU --pycriu FOLDER --rpc-pb2 FILE
"""
import contextlib
import fcntl
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import support  # noqa: E402
from support import Worker, converse, expect, images, request, target, ticks  # noqa: E402

NO_TASK = 0x3fffff
ESRCH, EEXIST, EBADRQC = 3, 17, 56

# Every field of criu_opts, with a value: does a request with it get to the tree (works), or is it refused by its name?
# Refused are those of parts that do not exist yet. When one starts to work, its line changes here.
STORE = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
FIELDS = {
    "images_dir_fd": ("works", None), "images_dir": ("works", "/tmp"), "work_dir_fd": ("works", None),
    "pid": ("works", NO_TASK), "leave_running": ("works", True), "leave_stopped": ("works", True),
    "ext_unix_sk": ("works", True), "tcp_established": ("works", True), "tcp_close": ("works", True),
    "tcp_skip_in_flight": ("works", True), "evasive_devices": ("works", True), "shell_job": ("works", True),
    "file_locks": ("works", True), "log_level": ("works", 4), "log_file": ("works", "a.log"), "log_to_stderr": ("works", True),
    "notify_scripts": ("works", True), "root": ("works", "/"), "link_remap": ("works", True), "force_irmap": ("works", True),
    "exec_cmd": ("works", ["true"]), "rst_sibling": ("works", True), "inherit_fd": ("works", [{"key": "pipe:[1]", "fd": 0}]),
    "unix_sk_ino": ("works", [{"inode": 1}]), "ghost_limit": ("works", 4096), "irmap_scan_paths": ("works", ["/"]),
    "external": ("works", ["unix[1]"]), "timeout": ("works", 3), "network_lock": ("works", 3), "manage_cgroups": ("works", False),
    "manage_cgroups_mode": ("works", 0), "skip_file_rwx_check": ("works", True), "unprivileged": ("works", True),
    "display_stats": ("works", True), "config_file": ("works", "/nonexistent"), "orphan_pts_master": ("works", True),
    "cpu_cap": ("works", 7), "enable_fs": ("works", ["tmpfs"]), "ext_sharing": ("works", True), "ext_masters": ("works", True),
    "mntns_compat_mode": ("works", True), "weak_sysctls": ("works", True),
    "ps": ("works", {"port": 1}), "parent_img": ("works", "/"), "track_mem": ("works", True),
    "auto_dedup": ("works", True), "veths": ("works", [{"if_in": "a", "if_out": "b"}]),
    "ext_mnt": ("works", [{"key": "a", "val": "b"}]), "auto_ext_mnt": ("works", True),
    "cg_root": ("works", [{"path": "/"}]), "skip_mnt": ("works", ["/nowhere"]), "empty_ns": ("works", 0x40000000),
    "join_ns": ("works", [{"ns": "net", "ns_file": "/proc/self/ns/net"}]), "cgroup_props": ("works", '"pids":\n - "strategy": "replace"\n - "properties": []\n'),
    "cgroup_props_file": ("works", "/dev/null"), "cgroup_dump_controller": ("works", ["cpu"]), "freeze_cgroup": ("works", "/sys/fs/cgroup"),
    "lazy_pages": ("works", True), "status_fd": ("works", 1), "lsm_profile": ("refused", "a:b"), "tls": ("works", True),
    "tls_cacert": ("works", "a"), "tls_cacrl": ("works", "a"), "tls_cert": ("works", "a"), "tls_key": ("works", "a"),
    "tls_no_cn_verify": ("works", True), "cgroup_yard": ("works", "/sys/fs/cgroup"), "pre_dump_mode": ("works", 2),
    "pidfd_store_sk": ("works", STORE.fileno()), "lsm_mount_context": ("refused", "a"), "compress": ("works", 1), "compress_block_size": ("works", 65536),
    "compress_acceleration": ("works", 1), "decompress_threads": ("works", 1),
}
OFF_MEANS_NOTHING = ["auto_ext_mnt"]


def set_field(opts, name, value):
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                getattr(opts, name).add(**item)
            else:
                getattr(opts, name).append(item)
    elif isinstance(value, dict):
        getattr(opts, name).SetInParent()
        for key, item in value.items():
            setattr(getattr(opts, name), key, item)
    else:
        setattr(opts, name, value)


def ask(wanted, *answers, **how):
    return support.ask(GIVEN, rpc, wanted, *answers, **how)


# ---- requests ------------------------------------------------------------------------------------------------------

def small_requests():
    worker = Worker(GIVEN.criu)
    answer, size, _ = converse(rpc, worker.socket, rpc.criu_req(type=rpc.VERSION, keep_open=True))
    expect("version", answer.success and (answer.version.major_number, answer.version.minor_number) == (4, 2), answer)
    asked = rpc.criu_req(type=rpc.FEATURE_CHECK, keep_open=True)
    asked.features.mem_track = asked.features.pidfd_store = True
    answer, size, _ = converse(rpc, worker.socket, asked)
    expect("only the features that were asked for", answer.success and answer.features.HasField("mem_track")
           and not answer.features.HasField("lazy_pages"), answer)
    for feature, name in (("mem_track", "mem_dirty_track"), ("pidfd_store", "pidfd_store")):
        said = subprocess.run([GIVEN.criu, "check", "--feature", name], capture_output=True).returncode == 0
        expect(f"{feature} as check says", getattr(answer.features, feature) == said)
    answer, _, _ = converse(rpc, worker.socket, rpc.criu_req(type=rpc.VERSION))
    expect("several requests over one connection", answer.success and worker.end() == 0)
    answer, _, _, code = ask(rpc.criu_req(type=rpc.FEATURE_CHECK))
    expect("a check of no features fails", not answer.success and code == 1, answer)
    answer, _, _, code = ask(rpc.criu_req(type=rpc.CHECK))
    expect("check", answer.type == rpc.CHECK and answer.success and code == 0, answer)
    answer, _, _, code = ask(rpc.criu_req(type=rpc.WAIT_PID, pid=1))
    expect("waiting for a stranger fails", not answer.success and answer.cr_errno == 10 and code == 1, answer)
    processors()


def processors():
    with support.images() as (folder, fd):
        def cpuinfo(kind, **options):
            answer, _, _, code = ask(rpc.criu_req(type=kind, opts=rpc.criu_opts(images_dir_fd=fd, **options)))
            return answer, answer.type == kind and code == (0 if answer.success else 1)
        answer, sound = cpuinfo(rpc.CPUINFO_CHECK)
        expect("CPUINFO_CHECK without an image", sound and not answer.success and "cpuinfo.img" in answer.cr_errmsg, answer)
        answer, sound = cpuinfo(rpc.CPUINFO_DUMP)
        expect("CPUINFO_DUMP", sound and answer.success and (folder / "cpuinfo.img").stat().st_size > 80, answer)
        for capabilities in (7, 6, 1, 0):
            answer, sound = cpuinfo(rpc.CPUINFO_CHECK, cpu_cap=capabilities)
            expect(f"CPUINFO_CHECK of {capabilities}", sound and answer.success, answer)


def no_requests():
    for name, bytes_ in (("garbage", b"garbage"), ("an unknown type", b"\x08\x63"), ("the type EMPTY", b"\x08\x00"),
                         ("a notification first", b"\x08\x06\x18\x01")):
        answer, _, _, code = ask(bytes_)
        expect(f"{name} gets the answer EMPTY", answer.type == rpc.EMPTY and not answer.success and code == 255, (answer, code))
    answer, _, _, code = ask(rpc.criu_req(type=rpc.CHECK, keep_open=True))
    expect("keep_open where it is not allowed closes the connection", answer is None and code == 255, (answer, code))
    worker = Worker(GIVEN.criu)
    expect("a client that says nothing", worker.end() == 255)
    # 72 is a field that younger clients send.
    answer, _, _, code = ask(request(rpc, rpc.CHECK).SerializeToString() + b"")
    expect("options of a check", answer.success, answer)
    answer, _, _, code = ask(rpc.criu_req(type=rpc.VERSION).SerializeToString() + b"\xf8\x3f\x01")
    expect("unknown fields are passed over", answer.success, answer)
    done = subprocess.run([GIVEN.criu, "swrk"], capture_output=True, text=True)
    expect("swrk without a number", done.returncode == 1 and "Usage: criu swrk <fd>" in done.stderr, done)


def option_fields():
    known = {field.name for field in rpc.criu_opts.DESCRIPTOR.fields}
    expect("the table has every field", known == set(FIELDS), known ^ set(FIELDS))
    for name, (state, value) in sorted(FIELDS.items()):
        with images() as (_, fd):
            wanted = request(rpc, rpc.DUMP, fd, pid=NO_TASK)
            if name == "work_dir_fd":
                value = fd
            if value is not None:
                set_field(wanted.opts, name, value)
            answer, size, _, code = ask(wanted)
        if state == "works":
            # A freezer is opened before the task is looked for; the root of version 2 has none.
            got_there = answer.cr_errno == ESRCH and "there is no task" in answer.cr_errmsg or name == "freeze_cgroup" and \
                answer.cr_errmsg.startswith(f"dump: {value}: open freezer.state") or name == "ps" and "Connection refused" in answer.cr_errmsg
            expect(f"{name} works", got_there, answer)
        else:
            expect(f"{name} is refused by its name", answer.cr_errno == EBADRQC and code == 1
                   and re.match(rf"{name}( is not supported yet|: .*not supported yet|=)", answer.cr_errmsg), answer)
    for name in OFF_MEANS_NOTHING:
        with images() as (_, fd):
            answer, _, _, _ = ask(request(rpc, rpc.DUMP, fd, pid=NO_TASK, **{name: False}))
            expect(f"{name} that is off", answer.cr_errno == ESRCH, answer)


def bad_options():
    with images() as (folder, fd):
        for name, options in (("a bad descriptor", {"images_dir_fd": 999}), ("a path as log", {"log_file": "a/b"}),
                              ("a namespace that cannot be empty", {"empty_ns": 0x20000}), ("no process", {"pid": -1}),
                              ("a folder that is not there", {"images_dir_fd": -1, "images_dir": "/nonexistent"})):
            wanted = request(rpc, rpc.DUMP, fd, pid=NO_TASK)
            for key, value in options.items():
                setattr(wanted.opts, key, value)
            answer, _, _, code = ask(wanted)
            expect(f"{name}: number 56", answer.cr_errno == EBADRQC and not answer.success and code == 1, answer)
        long = request(rpc, rpc.DUMP, fd, pid=NO_TASK, manage_cgroups_mode=0)
        long.opts.external.append("x" * 100000 + "\u00e4" * 1000)
        answer, size, _, _ = ask(long)
        expect("answers stay below 8 KiB", size < 8192 and not answer.success, size)
        answer, _, _, _ = ask(request(rpc, rpc.RESTORE, fd))
        expect("a restore of nothing has the pid -1", answer.restore.pid == -1 and not answer.HasField("cr_errno"), answer)
        expect("its log says so", "Error" in (folder / "criu.log").read_text())


# ---- dumps and restores --------------------------------------------------------------------------------------------

DUMP_HOOKS = ["pre-dump", "query-ext-files", "post-dump"]
RESTORE_HOOKS = ["pre-restore", "post-restore", "pre-resume", "post-resume"]


def there_and_back():
    with target() as process, images() as (folder, fd), images() as (work, work_fd):
        for hook in DUMP_HOOKS:
            answer, _, told, code = ask(request(rpc, rpc.DUMP, fd, pid=process.pid, notify_scripts=True),
                                        lambda notify, hook=hook: notify.script != hook)
            expect(f"{hook} is refused: the tree goes on", not answer.success and code == 1 and ticks(process) and
                   "RPC client reported script error" in answer.cr_errmsg and told[-1][0] == hook, (answer, told))
            answer, _, told, code = ask(request(rpc, rpc.DUMP, fd, pid=process.pid, notify_scripts=True),
                                        lambda notify, hook=hook: None if notify.script == hook else True)
            expect(f"the client goes at {hook}: the tree goes on", code == 1 and ticks(process), (code, told))
        worker = Worker(GIVEN.criu)
        os.kill(worker.process.pid, signal.SIGSTOP)  # it sees the request when the client has gone
        worker.socket.send(request(rpc, rpc.DUMP, fd, pid=process.pid).SerializeToString())
        worker.socket.close()
        os.kill(worker.process.pid, signal.SIGCONT)
        expect("a client that goes at once: the tree goes on", worker.end() == 1 and ticks(process))
        answer, _, told, code = ask(request(rpc, rpc.DUMP, fd, pid=process.pid, notify_scripts=True, leave_running=True))
        expect("a dump that leaves the tree running", answer.success and not answer.dump.restored and ticks(process), answer)
        answer, _, told, code = ask(request(rpc, rpc.DUMP, fd, pid=process.pid, notify_scripts=True, work_dir_fd=work_fd,
                                            log_file="dump.log", log_level=4))
        expect("a dump", answer.success and code == 0 and process.wait() == -9, answer)
        expect("its notifications", told == [(hook, None) for hook in DUMP_HOOKS], told)
        expect("log and statistics lie in the work folder", {"dump.log", "stats-dump"} == set(os.listdir(work)), os.listdir(work))
        expect("the log is complete", "Dumping finished successfully" in (work / "dump.log").read_text())
        restores(process, folder, fd)


def restores(process, folder, fd):
    def restore(answers=lambda notify: True, **options):
        return ask(request(rpc, rpc.RESTORE, fd, notify_scripts=True, **options), answers)

    for hook in RESTORE_HOOKS[:2]:
        answer, _, told, code = restore(lambda notify, hook=hook: notify.script != hook)
        expect(f"{hook} is refused: nothing is left", not answer.success and code == 1 and support.wait_for(
            lambda: not os.path.exists(f"/proc/{process.pid}")), answer)
    answer, _, told, code = restore()
    expect("a restore", answer.success and answer.restore.pid == process.pid and ticks(process), answer)
    expect("its notifications", told == [(hook, process.pid if hook == "post-restore" else None) for hook in RESTORE_HOOKS], told)
    answer, _, _, code = restore()
    expect("a pid that is taken: number 17", answer.cr_errno == EEXIST and ticks(process), answer)
    support.end(process.pid)
    answer, _, told, code = restore(lambda notify: notify.script not in RESTORE_HOOKS[2:], rst_sibling=True)
    expect("too late to refuse", answer.success and ticks(process), answer)
    os.kill(process.pid, 9)
    expect("rst_sibling makes it our child", os.waitpid(process.pid, 0)[0] == process.pid)
    with tempfile.TemporaryDirectory() as other:
        wanted = request(rpc, rpc.RESTORE, fd)
        wanted.opts.exec_cmd.extend(["/bin/sh", "-c", f"echo $$ $PPID > {other}/who"])
        answer, _, _, code = ask(wanted)
        expect("exec_cmd runs once the tree does", answer.success and code == 0 and os.path.exists(f"{other}/who"), (answer, code))
    support.end(process.pid)


def same_as_command_line():
    with images() as (one, fd), images() as (two, _), target() as process:
        ask(request(rpc, rpc.DUMP, fd, pid=process.pid, leave_running=True))
        subprocess.run([GIVEN.criu, "dump", "-t", str(process.pid), "-R", "-D", two], check=True)
        expect("the same images as by command line", set(os.listdir(one)) - {"criu.log"} == set(os.listdir(two)),
               set(os.listdir(one)) ^ set(os.listdir(two)))


def folders_by_name_and_configuration():
    with target() as process, images() as (folder, fd), images() as (other, _):
        wanted = request(rpc, rpc.DUMP, -1, pid=process.pid, leave_running=True, images_dir=str(folder))
        answer, _, _, _ = ask(wanted)
        expect("images_dir by name", answer.success and (folder / "inventory.img").exists(), answer)
        config = other / "criu.conf"
        config.write_text(f"leave-running\nlog-file said.log\nimages-dir {other}\n")
        answer, _, _, _ = ask(request(rpc, rpc.DUMP, fd, pid=process.pid, leave_running=False, config_file=str(config)))
        expect("a configuration file goes over the request", answer.success and ticks(process) and
               (other / "inventory.img").exists() and (other / "said.log").exists(), (answer, os.listdir(other)))
        script = other / "script"
        script.write_text(f"#!/bin/sh\necho $CRTOOLS_SCRIPT_ACTION >> {other}/hooks\n")
        script.chmod(0o755)
        config.write_text(f"action-script {script}\n")
        ask(request(rpc, rpc.DUMP, fd, pid=process.pid, leave_running=True, config_file=str(config)))
        expect("its scripts run", (other / "hooks").read_text().split() == ["pre-dump", "post-dump"], (other / "hooks").read_text())
        config.write_text("nonsense\n")
        answer, _, _, _ = ask(request(rpc, rpc.DUMP, fd, pid=process.pid, config_file=str(config)))
        expect("a bad configuration file: number 56", answer.cr_errno == EBADRQC, answer)


def descriptors():
    with images() as (folder, fd):
        script = f"import os\nkept = os.open({str(folder)!r} + '/kept', os.O_CREAT | os.O_RDWR)"
        with target(script) as process:
            answer, _, _, _ = ask(request(rpc, rpc.DUMP, fd, pid=process.pid))
            process.wait()
            other = os.open(folder / "other", os.O_CREAT | os.O_RDWR)
            wanted = request(rpc, rpc.RESTORE, fd)
            wanted.opts.inherit_fd.add(key=str(folder / "kept").lstrip("/"), fd=other)
            answer, _, _, _ = ask(wanted, pass_fds=[other])
            links = []
            for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # the program opens and closes
                    links.append(os.readlink(link))
            expect("inherit_fd", answer.success and str(folder / "other") in links and str(folder / "kept") not in links, (answer, links))
            os.close(other)


def external_objects():
    with images() as (_, fd):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with target(pass_fds=[theirs.fileno()]) as process:
            theirs.close()
            inode = os.fstat(ours.fileno()).st_ino
            wanted = request(rpc, rpc.DUMP, fd, pid=process.pid, notify_scripts=True, leave_running=True)
            answer, _, _, _ = ask(wanted)
            expect("a socket to the outside is refused", not answer.success and "--external" in answer.cr_errmsg, answer)
            answer, _, _, _ = ask(wanted, lambda notify: [f"unix[{inode}]"] if notify.script == "query-ext-files" else True)
            expect("unless query-ext-files names it", answer.success, answer)
        ours.close()


def own_network():
    """A tree with a network namespace of its own: the hooks with which engines of containers set it up."""
    with target(prefix=["unshare", "--net", "--"]) as process, images() as (folder, fd):
        answer, _, told, _ = ask(request(rpc, rpc.DUMP, fd, pid=process.pid, notify_scripts=True, leave_running=True))
        expect("own network, left running", answer.success and [hook for hook, _ in told] == [
            "pre-dump", "network-lock", "query-ext-files", "post-dump", "network-unlock"], (answer, told))
        answer, _, told, _ = ask(request(rpc, rpc.DUMP, fd, pid=process.pid, notify_scripts=True),
                                 lambda notify: notify.script != "query-ext-files")
        expect("own network, refused", not answer.success and told[-1][0] == "network-unlock" and ticks(process), (answer, told))
        answer, _, told, _ = ask(request(rpc, rpc.DUMP, fd, pid=process.pid, notify_scripts=True))
        expect("own network, dumped", answer.success and [hook for hook, _ in told] == [
            "pre-dump", "network-lock", "query-ext-files", "post-dump"], (answer, told))
        process.wait()
        answer, _, told, _ = ask(request(rpc, rpc.RESTORE, fd, notify_scripts=True))
        expect("own network, restored", answer.success and told == [
            ("pre-restore", None), ("setup-namespaces", process.pid), ("post-setup-namespaces", None), ("post-restore", process.pid),
            ("network-unlock", None), ("pre-resume", None), ("post-resume", None)], (answer, told))


TERMINAL = """
import fcntl, os, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
def answer(*_):
    os.write(1, b"yes " + os.read(0, 100))
import signal
signal.signal(signal.SIGUSR1, answer)
"""


def index(master):
    """The number of a pseudo terminal."""
    return int.from_bytes(fcntl.ioctl(master, 0x80045430, b"\0" * 4), sys.byteorder)


def orphaned_terminal():
    """A terminal whose master is the client's: it gets a new one at the restore."""
    with images() as (folder, fd):
        master, slave = os.openpty()
        number = index(master)
        with target(TERMINAL, terminal=slave) as process:
            os.close(slave)
            answer, _, _, _ = ask(request(rpc, rpc.DUMP, fd, pid=process.pid))
            expect("a terminal of somebody else is refused", not answer.success and ticks(process), answer)
            answer, _, _, _ = ask(request(rpc, rpc.DUMP, fd, pid=process.pid, orphan_pts_master=True))
            expect("orphan_pts_master accepts it", answer.success, answer)
            process.wait()
            os.close(master)
            answer, _, _, _ = ask(request(rpc, rpc.RESTORE, fd, orphan_pts_master=True))
            expect("nobody listens: a refusal", not answer.success and "notify_scripts" in answer.cr_errmsg, answer)
            got = []
            client = pycriu.criu()
            client.use_binary(str(GIVEN.criu))
            client.opts.CopyFrom(request(rpc, rpc.RESTORE, fd, orphan_pts_master=True).opts)
            client.set_notify(lambda script, pid, given: got.append((script, given)))
            pid = client.restore().pid
            hooks = [script for script, _ in got]
            expect("the notification comes while files are opened", hooks == ["pre-restore", "orphan-pts-master", "post-restore",
                                                                              "pre-resume", "post-resume"], hooks)
            new = got[1][1]
            expect("its descriptor is the master of the same number", index(new) == number, (index(new), number))
            os.write(new, b"hello\n")
            os.kill(pid, 10)
            said = b""
            while b"yes" not in said:
                said += os.read(new, 100)
            expect("the tree talks over it", pid == process.pid and b"yes" in said, said)
            support.end(pid)
            os.close(new)


SELF_DUMP = """
import os, sys, time
sys.path.insert(0, {package!r})
import pycriu
client = pycriu.criu()
client.use_binary({criu!r})
client.opts.images_dir_fd = os.open({folder!r}, os.O_RDONLY)
client.opts.leave_running = {running}
client.opts.log_level = 4
os.close(0); os.close(1); os.close(2)
for _ in range(3): os.open("/dev/null", os.O_RDWR)
try:
    said = "restored" if client.dump().restored else "dumped"
except Exception as error:
    said = repr(error)
open({folder!r} + "/said", "a").write(said + "\\n")
"""


def self_dump():
    for running in (True, False):
        with images() as (folder, fd):
            script = SELF_DUMP.format(package=os.path.dirname(os.path.dirname(pycriu.__file__)), criu=str(GIVEN.criu), folder=str(folder), running=running)
            process = subprocess.Popen(["/usr/bin/python3", "-c", script], start_new_session=True, cwd="/")
            process.wait()
            if running:
                expect("a program dumps itself and goes on", (folder / "said").read_text() == "dumped\n", (folder / "said").read_text())
                continue
            expect("a program dumps itself and ends", process.returncode == -9 and not (folder / "said").exists(), process.returncode)
            answer, _, _, _ = ask(request(rpc, rpc.RESTORE, fd))
            support.wait_for(lambda: (folder / "said").exists())
            expect("it learns that it was restored", answer.success and (folder / "said").read_text() == "restored\n", answer)


def image_package():
    pycriu.images.program = [str(GIVEN.criu), "crit"]
    with target() as process, images() as (folder, fd):
        ask(request(rpc, rpc.DUMP, fd, pid=process.pid, leave_running=True))
        with open(folder / "pstree.img", "rb") as image:
            tree = pycriu.images.load(image)
        expect("pycriu.images: load", tree["magic"] == "PSTREE" and tree["entries"][0]["pid"] == process.pid, tree)
        with open(folder / "again.img", "wb") as image:
            pycriu.images.dump(tree, image)
        expect("pycriu.images: dump", (folder / "again.img").read_bytes() == (folder / "pstree.img").read_bytes())
        with open(folder / "pstree.img", "rb") as image:
            said = pycriu.images.info(image)
        expect("pycriu.images: info", said["count"] == 1, said)
        try:
            pycriu.images.loads(b"no image")
            expect("pycriu.images: no image", False)
        except pycriu.images.MagicException:
            expect("pycriu.images: no image", True)


def client_package():
    client = pycriu.criu()
    client.use_binary(str(GIVEN.criu))
    expect("pycriu: version", client.get_version().major_number == 4)
    client.check()
    try:
        with images() as (_, fd):
            client.opts.images_dir_fd = fd
            client.opts.pid = NO_TASK
            client.dump()
        expect("pycriu: a dump of nothing raises", False)
    except pycriu.CRIUExceptionExternal as error:
        expect("pycriu: a dump of nothing raises", error.errno == ESRCH and "there is no task" in str(error), error)


def cost():
    """Informative: machines of tests are too busy for a limit that means anything."""
    with target() as process, images() as (folder, fd):
        by_rpc, by_command = [], []
        for _ in range(7):
            worker = Worker(GIVEN.criu)
            start = time.monotonic()
            converse(rpc, worker.socket, request(rpc, rpc.DUMP, fd, pid=process.pid, leave_running=True))
            worker.end()
            by_rpc.append(time.monotonic() - start)
            start = time.monotonic()
            subprocess.run([GIVEN.criu, "dump", "-R", "-t", str(process.pid), "-D", folder], check=True)
            by_command.append(time.monotonic() - start)
        print(f"# a dump by RPC {statistics.median(by_rpc) * 1000:.1f} ms, by command line {statistics.median(by_command) * 1000:.1f} ms")


GIVEN = support.arguments()
with tempfile.TemporaryDirectory() as package:
    pycriu = support.load_pycriu(GIVEN, package)
    rpc = pycriu.rpc
    for part in (small_requests, no_requests, option_fields, bad_options, there_and_back, same_as_command_line,
                 folders_by_name_and_configuration, descriptors, external_objects, orphaned_terminal, own_network, self_dump, image_package, client_package, cost):
        part()
sys.exit(support.finish())
