#!/usr/bin/env python3
"""The C library: every name of CRIU's, every setter as the field that it sets, every request with its return codes.

A server in this process answers over a socket pair, so that what the library has sent is seen as it is.

usage: libcriu_test.py --criu CRIU --pycriu FOLDER --rpc-pb2 FILE --libcriu FILE
"""
import ctypes
import errno
import os
import socket
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import support  # noqa: E402
from support import expect, images, target, ticks  # noqa: E402

INT, UINT, BOOL, TEXT = ctypes.c_int, ctypes.c_uint, ctypes.c_bool, ctypes.c_char_p
# name -> types of arguments, arguments, field, value in the message. Each with its twin criu_local_*.
SETTERS = {
    "set_pid": ([INT], [7], "pid", 7), "set_images_dir_fd": ([INT], [7], "images_dir_fd", 7),
    "set_work_dir_fd": ([INT], [7], "work_dir_fd", 7), "set_log_level": ([INT], [4], "log_level", 4),
    "set_pidfd_store_sk": ([INT], [7], "pidfd_store_sk", 7), "set_empty_ns": ([INT], [0x40000000], "empty_ns", 0x40000000),
    "set_cpu_cap": ([UINT], [3], "cpu_cap", 3), "set_timeout": ([UINT], [3], "timeout", 3),
    "set_ghost_limit": ([UINT], [4096], "ghost_limit", 4096),
    "add_ext_mount": ([TEXT, TEXT], [b"a", b"b"], "ext_mnt", [("key", "a"), ("val", "b")]),
    "add_veth_pair": ([TEXT, TEXT], [b"a", b"b"], "veths", [("if_in", "a"), ("if_out", "b")]),
    "add_cg_root": ([TEXT, TEXT], [b"a", b"/b"], "cg_root", [("ctrl", "a"), ("path", "/b")]),
    "add_inherit_fd": ([INT, TEXT], [7, b"a"], "inherit_fd", [("fd", 7), ("key", "a")]),
    "add_unix_sk": ([UINT], [7], "unix_sk_ino", [("inode", 7)]),
    "join_ns_add": ([TEXT] * 3, [b"net", b"/a", b"b"], "join_ns", [("ns", "net"), ("ns_file", "/a"), ("extra_opt", "b")]),
    "set_page_server_address_port": ([TEXT, INT], [b"a", 7], "ps", {"address": "a", "port": 7}),
    "set_exec_cmd": ([INT, ctypes.POINTER(TEXT)], [2, (TEXT * 2)(b"a", b"b")], "exec_cmd", ["a", "b"]),
    "set_manage_cgroups_mode": ([INT], [5], "manage_cgroups_mode", 5),
    "set_pre_dump_mode": ([INT], [2], "pre_dump_mode", 2), "set_network_lock": ([INT], [3], "network_lock", 3),
}
for flag in ("leave_running ext_unix_sk tcp_established tcp_skip_in_flight tcp_close weak_sysctls evasive_devices shell_job "
             "skip_file_rwx_check unprivileged orphan_pts_master file_locks track_mem auto_dedup force_irmap link_remap "
             "manage_cgroups auto_ext_mnt ext_sharing ext_masters mntns_compat_mode "
             "leave_stopped lazy_pages display_stats log_to_stderr tls tls_no_cn_verify").split():
    SETTERS[f"set_{flag}"] = ([BOOL], [True], flag, True)
for name, field in {"parent_images": "parent_img", "log_file": "log_file", "root": "root", "freeze_cgroup": "freeze_cgroup",
                    "lsm_profile": "lsm_profile", "lsm_mount_context": "lsm_mount_context", "config_file": "config_file",
                    "images_dir": "images_dir", "tls_cacert": "tls_cacert", "tls_cacrl": "tls_cacrl", "tls_cert": "tls_cert",
                    "tls_key": "tls_key"}.items():
    SETTERS[f"set_{name}"] = ([TEXT], [b"text"], field, "text")
for name, field in {"enable_fs": "enable_fs", "skip_mnt": "skip_mnt", "irmap_path": "irmap_scan_paths", "external": "external"}.items():
    SETTERS[f"add_{name}"] = ([TEXT], [b"text"], field, ["text"])
LOCAL_ONLY = {"add_cg_props": ("cgroup_props", "text"), "add_cg_props_file": ("cgroup_props_file", "text"),
              "add_cg_dump_controller": ("cgroup_dump_controller", ["text"]), "add_cg_yard": ("cgroup_yard", "text")}
REQUESTS = ["check", "dump", "pre_dump", "restore", "restore_child", "dump_iters", "get_version", "check_version", "feature_check"]
OTHERS = ["init_opts", "free_opts", "set_notify_cb", "set_service_address", "set_service_fd", "set_service_binary", "get_errmsg"]
GLOBAL_ONLY = ["notify_pid", "get_orphan_pts_master_fd", "free_service", "lib_version"]
MESSAGES = ["criu_req", "criu_resp", "criu_opts", "criu_notify", "criu_features", "criu_version", "criu_dump_resp", "criu_restore_resp",
            "criu_page_server_info", "criu_veth_pair", "ext_mount_map", "join_namespace", "inherit_fd", "cgroup_root", "unix_sk"]


def names():
    wanted = {f"criu_{n}" for n in [*SETTERS, *REQUESTS, *OTHERS, *GLOBAL_ONLY]}
    wanted |= {f"criu_local_{n}" for n in [*SETTERS, *LOCAL_ONLY, *REQUESTS, *OTHERS]}
    for message in MESSAGES:
        nested = {f"{message}__{n}" for n in ("init", "descriptor")}
        wanted |= nested | {f"{message}__{n}" for n in ("get_packed_size", "pack", "pack_to_buffer", "unpack", "free_unpacked")}
    wanted |= {f"{e}__descriptor" for e in ("criu_req_type", "criu_cg_mode", "criu_network_lock_method", "criu_pre_dump_mode")}
    listed = subprocess.run(["nm", "-D", "--defined-only", GIVEN.libcriu], capture_output=True, text=True, check=True).stdout
    there = {line.split()[2].split("@")[0] for line in listed.splitlines()}
    expect("all names are there", wanted <= there, sorted(wanted - there))
    expect("and no others", there <= wanted, sorted(there - wanted))
    read = subprocess.run(["readelf", "-d", GIVEN.libcriu], capture_output=True, text=True, check=True).stdout
    expect("it is called libcriu.so.2", "Library soname: [libcriu.so.2]" in read, read)


class Server:
    """Answers requests on one end of a socket pair, each with the next of the given answers; keeps what has come."""

    def __init__(self, *answers):
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.seen = []
        self.thread = threading.Thread(target=self.run, args=(answers,))
        self.thread.start()

    def run(self, answers):
        for answer in answers:
            got = rpc.criu_req()
            got.ParseFromString(self.ours.recv(1 << 20))
            self.seen.append(got)
            for each in answer if isinstance(answer, list) else [answer]:
                if each is None:
                    self.ours.close()
                    return
                if isinstance(each, tuple):
                    each, fd = each
                    socket.send_fds(self.ours, [each.SerializeToString()], [fd])
                else:
                    self.ours.send(each.SerializeToString())

    def end(self):
        self.thread.join()
        self.ours.close()
        self.theirs.close()
        return self.seen


def resp(kind, success=True, **fields):
    out = rpc.criu_resp(type=kind, success=success)
    for name, value in fields.items():
        if isinstance(value, dict):
            getattr(out, name).SetInParent()
            for key, item in value.items():
                setattr(getattr(out, name), key, item)
        else:
            setattr(out, name, value)
    return out


def with_server(call, *answers):
    """Result, errno and the requests of a call with the common options."""
    server = Server(*answers)
    lib.criu_set_service_fd(server.theirs.fileno())
    ctypes.set_errno(0)
    result = call()
    number = ctypes.get_errno()
    return result, number, server.end()


def fields_of(opts, field):
    value = getattr(opts, field)
    if isinstance(value, bool | int | str):
        return value
    if field == "ps":
        return {"address": value.address, "port": value.port}
    items = list(value)
    return items if not items or isinstance(items[0], str) else [(key, getattr(items[0], key)) for key, _ in EXPECTED]


def setters():
    global EXPECTED
    for name, (types, arguments, field, value) in SETTERS.items():
        EXPECTED = value if isinstance(value, list) and isinstance(value[0], tuple) else []
        for local in (False, True):
            opts = ctypes.c_void_p()
            lib.criu_init_opts()
            lib.criu_local_init_opts(ctypes.byref(opts))
            function = getattr(lib, f"criu_{'local_' if local else ''}{name}")
            function.argtypes = ([ctypes.c_void_p] if local else []) + types
            result = function(*([opts] if local else []), *arguments)
            server = Server(resp(rpc.DUMP, dump={"restored": False}))
            dumped = lib.criu_local_dump if local else lib.criu_dump
            before = [opts] if local else []
            (lib.criu_local_set_service_fd if local else lib.criu_set_service_fd)(*before, server.theirs.fileno())
            said = dumped(*before)
            seen = server.end()[0].opts
            others = [f.name for f, _ in seen.ListFields() if f.name not in (field, "images_dir_fd")]
            expect(f"{function.__name__} sets {field}", fields_of(seen, field) == value and not others and said == 0 and
                   (result == 0 or not field_returns(name)), (fields_of(seen, field), others, said, result))
            lib.criu_local_free_opts(opts)
    local_only()


def field_returns(name):
    """Whether a setter returns int."""
    return SETTERS[name][0] and name.startswith(("add", "join")) or TEXT in SETTERS[name][0] or name in ("set_exec_cmd", "set_pre_dump_mode", "set_network_lock")


def local_only():
    for name, (field, value) in LOCAL_ONLY.items():
        opts = ctypes.c_void_p()
        lib.criu_local_init_opts(ctypes.byref(opts))
        expect(f"criu_local_{name}", getattr(lib, f"criu_local_{name}")(opts, b"text") == 0)
        server = Server(resp(rpc.DUMP))
        lib.criu_local_set_service_fd(opts, server.theirs.fileno())
        lib.criu_local_dump(opts)
        seen = server.end()[0].opts
        got = getattr(seen, field)
        expect(f"it sets {field}", (got if isinstance(got, str) else list(got)) == value, got)
        lib.criu_local_free_opts(opts)


def null_arguments():
    lib.criu_free_opts()
    for name, (types, arguments, _, _) in SETTERS.items():
        getattr(lib, f"criu_{name}")(*arguments)
        getattr(lib, f"criu_local_{name}")(None, *arguments)
    for name in REQUESTS:
        getattr(lib, f"criu_local_{name}")(None, None, None)
    expect("no options: EINVAL", lib.criu_dump() == -errno.EINVAL and lib.criu_set_log_file(b"a") == -errno.EINVAL)
    lib.criu_init_opts()
    for name, (types, arguments, _, _) in SETTERS.items():
        if TEXT in types and name != "set_page_server_address_port":
            getattr(lib, f"criu_{name}")(*[None if kind is TEXT else value for kind, value in zip(types, arguments)])
    expect("no text: EINVAL", lib.criu_set_root(None) == -errno.EINVAL and lib.criu_add_ext_mount(b"a", None) == -errno.EINVAL)
    expect("modes that do not exist", lib.criu_set_network_lock(9) == -1 and lib.criu_set_pre_dump_mode(9) == -1)


def requests_and_codes():
    lib.criu_init_opts()
    bad = dict(success=False, cr_errno=3, cr_errmsg="why")
    for name, kind in (("check", rpc.CHECK), ("dump", rpc.DUMP), ("pre_dump", rpc.SINGLE_PRE_DUMP)):
        call = getattr(lib, f"criu_{name}")
        result, _, seen = with_server(call, resp(kind))
        expect(f"criu_{name}", result == 0 and seen[0].type == kind, (result, seen))
        expect(f"criu_{name} sends options", seen[0].HasField("opts") == (name != "check"))
        result, number, _ = with_server(call, resp(kind, **bad))
        expect(f"criu_{name} fails: EBADE, errno, words", (result, number, lib.criu_get_errmsg()) == (-errno.EBADE, 3, b"why"),
               (result, number))
    result, _, seen = with_server(lib.criu_restore, resp(rpc.RESTORE, restore={"pid": 77}))
    expect("criu_restore returns the pid", result == 77, result)
    result, _, _ = with_server(lib.criu_dump, resp(rpc.DUMP, dump={"restored": True}))
    expect("criu_dump in who was restored", result == 1, result)
    result, _, _ = with_server(lib.criu_dump, resp(rpc.EMPTY, False))
    expect("an unknown request: EINVAL", result == -errno.EINVAL, result)
    result, _, _ = with_server(lib.criu_dump, resp(rpc.CHECK))
    expect("another answer: EBADMSG", result == -errno.EBADMSG, result)
    result, _, _ = with_server(lib.criu_dump, None)
    expect("a broken connection: ECOMM", result == -errno.ECOMM, result)
    lib.criu_set_service_address(b"/nonexistent")
    expect("no service: ECONNREFUSED", lib.criu_dump() == -errno.ECONNREFUSED)
    lib.criu_set_service_binary(b"/nonexistent")
    expect("no program", lib.criu_dump() in (-errno.ECONNREFUSED, -errno.ECOMM))
    versions()
    features()
    iterations()


def versions():
    for version, number in (({"major_number": 4, "minor_number": 2}, 40200), ({"major_number": 3, "minor_number": 17, "sublevel": 1}, 31701),
                            ({"major_number": 4, "minor_number": 2, "gitid": "v4.2-1"}, 40300)):
        result, _, _ = with_server(lib.criu_get_version, resp(rpc.VERSION, version=version))
        expect(f"version {number}", result == number, result)
    for minimum, answer in ((40200, 1), (40201, 0)):
        result, _, _ = with_server(lambda: lib.criu_check_version(minimum), resp(rpc.VERSION, version={"major_number": 4, "minor_number": 2}))
        expect(f"at least {minimum}: {answer}", result == answer, result)


def features():
    asked = (BOOL * 3)(True, False, True)
    result, _, seen = with_server(lambda: lib.criu_feature_check(asked, ctypes.c_size_t(3)),
                                  resp(rpc.FEATURE_CHECK, features={"mem_track": False, "pidfd_store": True}))
    expect("features replace what was asked", result == 0 and list(asked) == [False, False, True] and seen[0].features.mem_track,
           (result, list(asked)))
    expect("a structure of the future", lib.criu_feature_check(asked, ctypes.c_size_t(4)) == -1)


def iterations():
    wanted = [1, 1, 0]
    more = ctypes.CFUNCTYPE(INT, ctypes.c_void_p)(lambda _: wanted.pop(0))
    expect("iterations need a pid", lib.criu_dump_iters(more) == -errno.EINVAL)
    lib.criu_set_pid(7)
    result, _, seen = with_server(lambda: lib.criu_dump_iters(more), resp(rpc.PRE_DUMP), resp(rpc.PRE_DUMP), resp(rpc.DUMP))
    expect("two pre-dumps and a dump", result == 0 and [s.type for s in seen] == [rpc.PRE_DUMP, rpc.PRE_DUMP, rpc.DUMP], (result, seen))
    wanted[:] = [-5]
    result, _, _ = with_server(lambda: lib.criu_dump_iters(more))
    expect("a callback that gives up", result == -5, result)


def notifications():
    lib.criu_init_opts()
    told = []

    def listen(action, notify):
        fd = lib.criu_get_orphan_pts_master_fd()
        told.append((action, lib.criu_notify_pid(ctypes.c_void_p(notify)), fd >= 0 and os.readlink(f"/proc/self/fd/{fd}")))
        return len(told) == 3
    callback = ctypes.CFUNCTYPE(INT, ctypes.c_char_p, ctypes.c_void_p)(listen)
    lib.criu_set_notify_cb(callback)

    def note(script, **more):
        return resp(rpc.NOTIFY, notify={"script": script, **more})
    result, _, seen = with_server(lib.criu_restore, note("pre-restore"), (note("orphan-pts-master"), os.open("/dev/null", os.O_RDWR)),
                                  note("post-restore", pid=9), resp(rpc.RESTORE, False))
    expect("notifications with pid and descriptor", told == [(b"pre-restore", 0, False), (b"orphan-pts-master", 0, "/dev/null"),
                                                             (b"post-restore", 9, "/dev/null")], told)
    expect("their answers", [s.notify_success for s in seen[1:]] == [True, True, False] and result == -errno.EBADE and
           seen[0].opts.notify_scripts, seen)


def for_real():
    lib.criu_init_opts()
    lib.criu_set_service_binary(os.fsencode(GIVEN.criu))
    expect("the version of the program", lib.criu_get_version() == 40200)
    expect("a check by the program", lib.criu_check() == 0, lib.criu_get_errmsg())
    with target() as process, images() as (folder, fd):
        lib.criu_set_images_dir_fd(fd)
        lib.criu_set_pid(process.pid)
        lib.criu_set_log_level(4)
        expect("a dump", lib.criu_dump() == 0 and process.wait() == -9, lib.criu_get_errmsg())
        pid = lib.criu_restore_child()
        expect("a restore as our child", pid == process.pid and ticks(process), (pid, lib.criu_get_errmsg()))
        os.kill(pid, 9)
        expect("it is our child", os.waitpid(pid, 0)[0] == pid)
        lib.criu_set_pid(0x3fffff)
        ctypes.set_errno(0)
        expect("a dump of nothing", lib.criu_dump() == -errno.EBADE and ctypes.get_errno() == errno.ESRCH and
               b"there is no task" in lib.criu_get_errmsg(), (ctypes.get_errno(), lib.criu_get_errmsg()))


def threads():
    """Options of one's own may be used by different threads at once."""
    results = []

    def one():
        opts = ctypes.c_void_p()
        lib.criu_local_init_opts(ctypes.byref(opts))
        lib.criu_local_set_service_binary(opts, os.fsencode(GIVEN.criu))
        results.append(lib.criu_local_get_version(opts))
        lib.criu_local_free_opts(opts)
    all_of_them = [threading.Thread(target=one) for _ in range(20)]
    for thread in all_of_them:
        thread.start()
    for thread in all_of_them:
        thread.join()
    expect("twenty threads", results == [40200] * 20, results)


EXPECTED = []
GIVEN = support.arguments("libcriu")
lib = ctypes.CDLL(str(GIVEN.libcriu), use_errno=True)
lib.criu_get_errmsg.restype = TEXT
lib.criu_local_get_errmsg.restype = TEXT
with tempfile.TemporaryDirectory() as package:
    pycriu = support.load_pycriu(GIVEN, package)
    rpc = pycriu.rpc
    for part in (names, setters, null_arguments, requests_and_codes, notifications, for_real, threads):
        part()
sys.exit(support.finish())
