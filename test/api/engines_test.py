#!/usr/bin/env python3
"""What container engines and migration tools send, request by request with the values they send, to trees of the host.

runc speaks to `criu swrk`, crun by the C library, phaul in rounds over one connection. The engines themselves are run by
test/container; here is what they would see.

usage: engines_test.py --criu CRIU --pycriu FOLDER --rpc-pb2 FILE --libcriu FILE
"""
import ctypes
import json
import os
import pathlib
import socket
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import support  # noqa: E402
from support import Worker, converse, expect, images, target, ticks  # noqa: E402

CLONE_NEWNET = 0x40000000


def folder_of(path):
    path.mkdir(exist_ok=True)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def ask(wanted, answers=lambda notify: True):
    return support.ask(GIVEN, rpc, wanted, answers)


# ---- runc ----------------------------------------------------------------------------------------------------------

def runc_asks_first():
    answer, size, _, code = ask(rpc.criu_req(type=rpc.VERSION))
    version = answer.version.major_number * 10000 + answer.version.minor_number * 100 + answer.version.sublevel
    expect("runc: the version is one that it takes, in 8 KiB", version >= 30000 and size <= 8192 and code == 0, answer)
    for feature in ("mem_track", "lazy_pages"):
        asked = rpc.criu_req(type=rpc.FEATURE_CHECK)
        setattr(asked.features, feature, True)
        answer, _, _, code = ask(asked)
        expect(f"runc: {feature} is answered", answer.success and answer.features.HasField(feature) and code == 0, answer)


def runc_checkpoint(process, folder, **more):
    """The fields of `runc checkpoint`, in its order, and the notifications it answers."""
    fd, work = folder_of(folder), folder_of(folder.parent / "work")
    wanted = rpc.criu_req(type=rpc.DUMP, opts=rpc.criu_opts(
        images_dir_fd=fd, work_dir_fd=work, log_level=4, log_file="dump.log", root="/", manage_cgroups=True, notify_scripts=True,
        pid=process.pid, shell_job=False, leave_running=False, tcp_established=False, ext_unix_sk=False, file_locks=False,
        empty_ns=CLONE_NEWNET, orphan_pts_master=True, auto_dedup=False, lazy_pages=False, config_file="/etc/criu/runc.conf",
        ext_mnt=[rpc.ext_mount_map(key="/proc/kcore", val="/dev/null"), rpc.ext_mount_map(key="/dev/null", val="/dev/null")], **more))
    stdio = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
    (folder / "descriptors.json").write_text(json.dumps(stdio))
    answer, _, told, code = ask(wanted)
    os.close(fd), os.close(work)
    return answer, [hook for hook, _ in told], code


def runc_restore(process, folder):
    fd, work = folder_of(folder), folder_of(folder.parent / "work")
    groups = [line.split(":", 2) for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()]
    wanted = rpc.criu_req(type=rpc.RESTORE, opts=rpc.criu_opts(
        images_dir_fd=fd, work_dir_fd=work, evasive_devices=True, log_level=4, log_file="restore.log", rst_sibling=True, root="/",
        manage_cgroups=True, notify_scripts=True, shell_job=False, ext_unix_sk=False, tcp_established=False, file_locks=False,
        empty_ns=CLONE_NEWNET, orphan_pts_master=True, auto_dedup=False, lazy_pages=False, config_file="/etc/criu/runc.conf",
        manage_cgroups_mode=rpc.DEFAULT if hasattr(rpc, "DEFAULT") else 6,
        ext_mnt=[rpc.ext_mount_map(key="/dev/null", val="/dev/null")],
        cg_root=[rpc.cgroup_root(ctrl=controllers, path=path) for _, controllers, path in groups if controllers]))
    pids = []

    def answers(notify):
        if notify.script == "post-restore":
            pids.append(notify.pid)
        return True
    answer, _, told, code = ask(wanted, answers)
    os.close(fd), os.close(work)
    return answer, [hook for hook, _ in told], code, pids


def runc():
    runc_asks_first()
    with target() as process, tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place) / "checkpoint"
        answer, hooks, code = runc_checkpoint(process, folder)
        expect("runc: checkpoint", answer.success and answer.type == rpc.DUMP and code == 0, answer)
        expect("runc: its notifications", hooks[0] == "pre-dump" and hooks[-1] == "post-dump", hooks)
        expect("runc: the tree has ended", process.wait() == -9)
        answer, hooks, code, pids = runc_restore(process, folder)
        expect("runc: restore", answer.success and answer.restore.pid == process.pid and code == 0, answer)
        expect("runc: post-restore tells the pid", pids == [process.pid] and hooks[0] == "pre-restore" and
               hooks[-2:] == ["pre-resume", "post-resume"], (pids, hooks))
        expect("runc: the tree is its child, and goes on", os.path.exists(f"/proc/{process.pid}") and ticks(process) and
               f"\nPPid:\t{os.getpid()}\n" in pathlib.Path(f"/proc/{process.pid}/status").read_text())
        expect("runc: the logs lie in the work folder", {"dump.log", "restore.log"} <= set(os.listdir(folder.parent / "work")))
        answer, _, code, _ = runc_restore(process, folder)
        log = (folder.parent / "work" / "restore.log").read_text()
        expect("runc: a failure is a line with Error in the log", not answer.success and code == 1 and "Error" in log, (answer, log))
        os.kill(process.pid, 9)
        os.waitpid(process.pid, 0)


def runc_in_rounds():
    """`runc checkpoint --pre-dump`, then with --parent-path."""
    with target() as process, tempfile.TemporaryDirectory() as place:
        first = pathlib.Path(place) / "first"
        fd = folder_of(first)
        worker = Worker(GIVEN.criu)
        answer, _, _ = converse(rpc, worker.socket, rpc.criu_req(type=rpc.PRE_DUMP, opts=rpc.criu_opts(
            images_dir_fd=fd, work_dir_fd=fd, log_level=4, log_file="dump.log", root="/", manage_cgroups=True, notify_scripts=True,
            pid=process.pid, empty_ns=CLONE_NEWNET, orphan_pts_master=True, track_mem=True)))
        expect("runc: a pre-dump", answer.success and answer.type == rpc.PRE_DUMP and ticks(process), answer)
        worker.socket.shutdown(socket.SHUT_WR)  # runc goes, and takes whatever status the worker has
        worker.end()
        os.close(fd)
        folder = pathlib.Path(place) / "second"
        answer, _, code = runc_checkpoint(process, folder, parent_img="../first", track_mem=True)
        expect("runc: the checkpoint after it", answer.success and code == 0 and process.wait() == -9, answer)
        whole, rest = (sum(file.stat().st_size for file in where.glob("pages-*")) for where in (first, folder))
        expect("runc: holds what has changed", rest < whole / 2, (rest, whole))
        answer, _, _, _ = runc_restore(process, folder)
        expect("runc: its restore", answer.success and ticks(process), answer)
        os.kill(process.pid, 9)
        os.waitpid(process.pid, 0)


# ---- crun ----------------------------------------------------------------------------------------------------------

def crun():
    """Its calls of the C library, in its order."""
    library = ctypes.CDLL(str(GIVEN.libcriu), use_errno=True)
    with target() as process, tempfile.TemporaryDirectory() as place:
        folder, work = folder_of(pathlib.Path(place) / "checkpoint"), folder_of(pathlib.Path(place) / "work")

        def begin(log):
            expect("crun: criu_init_opts", library.criu_init_opts() == 0)
            library.criu_set_service_binary(str(GIVEN.criu).encode())
            expect("crun: criu_check_version", library.criu_check_version(31500) == 1)
            library.criu_set_images_dir_fd(folder)
            library.criu_set_log_level(4)
            library.criu_set_log_file(log)
            library.criu_set_config_file(b"/etc/criu/crun.conf")
            library.criu_set_work_dir_fd(work)

        begin(b"dump.log")
        library.criu_set_pid(process.pid)
        library.criu_set_root(b"/")
        library.criu_add_ext_mount(b"/proc/kcore", b"/proc/kcore")
        for setter in ("leave_running", "ext_unix_sk", "shell_job", "tcp_established", "file_locks"):
            getattr(library, f"criu_set_{setter}")(ctypes.c_bool(False))
        library.criu_set_orphan_pts_master(ctypes.c_bool(True))
        library.criu_set_manage_cgroups_mode(3)
        library.criu_set_manage_cgroups(ctypes.c_bool(True))
        expect("crun: criu_dump", library.criu_dump() == 0 and process.wait() == -9)
        begin(b"restore.log")
        library.criu_set_root(b"/")
        library.criu_add_ext_mount(b"/proc/kcore", b"/dev/null")
        called = []
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda action, _: called.append(action) or 0)
        library.criu_set_notify_cb(callback)
        library.criu_set_tcp_close(ctypes.c_bool(False))
        library.criu_set_orphan_pts_master(ctypes.c_bool(True))
        library.criu_set_manage_cgroups_mode(3)
        library.criu_set_manage_cgroups(ctypes.c_bool(True))
        restored = library.criu_restore_child()
        expect("crun: criu_restore_child", restored == process.pid and ticks(process), restored)
        expect("crun: its callback is called", b"post-restore" in called, called)
        os.kill(process.pid, 9)
        expect("crun: the tree is its child", os.waitpid(process.pid, 0)[0] == process.pid)
        library.criu_free_opts()
        os.close(folder), os.close(work)


# ---- phaul ---------------------------------------------------------------------------------------------------------

def page_server_round(place, number):
    """The other host's part of one round: a page server as a child of a worker, on a given socket."""
    ours, theirs = socket.socketpair()
    fd = folder_of(place / f"there-{number}")
    worker = Worker(GIVEN.criu, pass_fds=[theirs.fileno()])
    wanted = rpc.criu_req(type=rpc.PAGE_SERVER_CHLD, keep_open=True, opts=rpc.criu_opts(images_dir_fd=fd, log_file="ps.log", log_level=4))
    if number:
        wanted.opts.parent_img = f"../there-{number - 1}"
    wanted.opts.ps.fd = theirs.fileno()
    answer, _, _ = converse(rpc, worker.socket, wanted)
    theirs.close()
    os.close(fd)
    expect(f"phaul: page server {number}", answer.success and answer.ps.pid > 0, answer)
    return ours, worker, answer.ps.pid


def phaul():
    """Pre-dumps to page servers, all over one connection, each with the whole path of the one before."""
    with target() as process, tempfile.TemporaryDirectory() as name:
        place, rounds = pathlib.Path(name), 3
        sockets = [page_server_round(place, number) for number in range(rounds + 1)]
        client = Worker(GIVEN.criu, pass_fds=[ours.fileno() for ours, _, _ in sockets])
        for number in range(rounds + 1):
            last = number == rounds
            here = place / f"here-{number}"
            fd = folder_of(here)
            wanted = rpc.criu_req(type=rpc.DUMP if last else rpc.PRE_DUMP, opts=rpc.criu_opts(
                images_dir_fd=fd, work_dir_fd=fd, pid=process.pid, log_level=4, log_file="dump.log" if last else "pre-dump.log"))
            if number:
                wanted.opts.parent_img = str(place / f"here-{number - 1}")
            if last:
                wanted.opts.track_mem = True
            wanted.opts.ps.fd = sockets[number][0].fileno()
            answer, _, _ = converse(rpc, client.socket, wanted)
            os.close(fd)
            expect(f"phaul: round {number}", answer.success and (here / "stats-dump").exists(), answer)
            sockets[number][0].close()
            _, worker, pid = sockets[number]
            done, _, _ = converse(rpc, worker.socket, rpc.criu_req(type=rpc.WAIT_PID, pid=pid))
            expect(f"phaul: page server {number} has ended", done.success and done.status == 0, done)
            worker.end()
        expect("phaul: the tree has ended here", client.end() == 0 and process.wait() == -9)
        for image in (place / f"here-{rounds}").iterdir():
            if image.name not in ("parent", "dump.log") and not image.name.startswith("stats-"):
                (place / f"there-{rounds}" / image.name).write_bytes(image.read_bytes())
        fd = folder_of(place / f"there-{rounds}")
        answer, _, _, _ = ask(rpc.criu_req(type=rpc.RESTORE, opts=rpc.criu_opts(images_dir_fd=fd, rst_sibling=True)))
        expect("phaul: and goes on there", answer.success and ticks(process), answer)
        os.close(fd)
        os.kill(process.pid, 9)
        os.waitpid(process.pid, 0)


GIVEN = support.arguments("libcriu")
with tempfile.TemporaryDirectory() as package:
    rpc = support.load_pycriu(GIVEN, package).rpc
    runc()
    runc_in_rounds()
    crun()
    phaul()
sys.exit(support.finish())
