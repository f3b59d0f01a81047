"""The golden images as other versions of CRIU would have written them: the same tree in older forms."""

import json
import subprocess

SPLIT = {"REG": ("reg", "REG_FILES", "reg-files"), "PIPE": ("pipe", "PIPES", "pipes"), "FIFO": ("fifo", "FIFO", "fifo"),
         "INETSK": ("isk", "INETSK", "inetsk"), "UNIXSK": ("usk", "UNIXSK", "unixsk"), "EVENTFD": ("efd", "EVENTFD_FILE", "eventfd"),
         "EVENTPOLL": ("epfd", "EVENTPOLL_FILE", "eventpoll"), "INOTIFY": ("ify", "INOTIFY_FILE", "inotify"),
         "SIGNALFD": ("sgfd", "SIGNALFD", "signalfd"), "PACKETSK": ("psk", "PACKETSK", "packetsk"), "TTY": ("tty", "TTY_FILES", "tty"),
         "NETLINKSK": ("nlsk", "NETLINK_SK", "netlinksk"), "NS": ("nsf", "NS_FILES", "ns-files"), "TIMERFD": ("tfd", "TIMERFD", "timerfd")}
LISTS_OF_THEIR_OWN = {"EVENTPOLL": ("tfd", "EVENTPOLL_TFD", "eventpoll-tfd"), "INOTIFY": ("wd", "INOTIFY_WD", "inotify-wd")}
GHOST = 1 << 31


def _write(images, name, magic, entries):
    text = json.dumps({"magic": magic, "entries": entries})
    subprocess.run([images.criu, "crit", "encode", "-o", str(images.folder / name)], input=text.encode(), check=True)


def _files_by_kind(images):
    """One image per kind of file, and lists within files as images beside them. Memfds are younger: they stay."""
    kept, kinds, lists = [], {}, {}
    for entry in images.decode("files.img")["entries"]:
        if entry["type"] not in SPLIT:
            kept.append(entry)
            continue
        body = entry[SPLIT[entry["type"]][0]]
        if entry["type"] in LISTS_OF_THEIR_OWN:
            field = LISTS_OF_THEIR_OWN[entry["type"]][0]
            for item in body.pop(field, ()):
                lists.setdefault(entry["type"], []).append(item | {"id": body["id"]})
        kinds.setdefault(entry["type"], []).append(body)
    _write(images, "files.img", "FILES", kept)
    for kind, bodies in kinds.items():
        _write(images, SPLIT[kind][2] + ".img", SPLIT[kind][1], bodies)
    for kind, items in lists.items():
        _write(images, LISTS_OF_THEIR_OWN[kind][2] + ".img", LISTS_OF_THEIR_OWN[kind][1], items)


def _core_in_parts(images, path):
    """What is in core-N.img today had images of its own."""
    core, number = images.decode(path.name)["entries"][0], path.stem.split("-")[1]
    task, thread = core.get("tc"), core.get("thread_core", {})
    if "signals_p" in thread:
        _write(images, f"signal-p-{number}.img", "PSIGNAL", thread.pop("signals_p").get("signals", []))
    if "creds" in thread:
        _write(images, f"creds-{number}.img", "CREDS", [thread.pop("creds")])
    if task and "timers" in task:
        timers = task.pop("timers")
        _write(images, f"itimers-{number}.img", "ITIMERS", [timers[kind] for kind in ("real", "virt", "prof")])
        _write(images, f"posix-timers-{number}.img", "POSIX_TIMERS", timers.get("posix", []))
    if task and "sigactions" in task:
        _write(images, f"sigacts-{number}.img", "SIGACT", task.pop("sigactions"))
    if task and "rlimits" in task:
        _write(images, f"rlimit-{number}.img", "RLIMIT", task.pop("rlimits")["rlimits"])
    if task and "signals_s" in task:
        _write(images, f"signal-s-{number}.img", "SIGNAL", task.pop("signals_s").get("signals", []))
    ids = images.folder / f"ids-{number}.img"
    if ids.exists():
        core["ids"] = images.decode(ids.name)["entries"][0]
        ids.unlink()
    _write(images, path.name, "CORE", [core])


def _tables_by_task(images):
    """Tables of descriptors were numbered by tasks."""
    tables = {path.stem: images.decode(path.name)["entries"] for path in images.folder.glob("fdinfo-*.img")}
    for name in tables:
        (images.folder / f"{name}.img").unlink()
    for path in images.folder.glob("ids-*.img"):
        ids = images.decode(path.name)["entries"][0]
        _write(images, f"fdinfo-{path.stem.split('-')[1]}.img", "FDINFO", tables[f"fdinfo-{ids['files_id']}"])
    images.edit("inventory.img", lambda entries: [_without("fdinfo_per_id")(entries[0])])


def parts(images):
    """The layout of 2013: an image for each part of a task and each kind of file."""
    _files_by_kind(images)
    _tables_by_task(images)
    for path in sorted(images.folder.glob("core-*.img")):
        _core_in_parts(images, path)
    for path in sorted(images.folder.glob("mm-*.img")):
        mm = images.decode(path.name)["entries"][0]
        _write(images, path.name.replace("mm", "vmas"), "VMAS", mm.pop("vmas"))
        _write(images, path.name, "MM", [mm])


def _without(*names):
    """A change that takes these fields out of every message of an image."""
    def strip(value):
        if isinstance(value, list):
            return [strip(item) for item in value]
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key not in names}
        return value
    return strip


def _old_remap(entry):
    """Before there was a type, a bit told ghosts from links."""
    kind = entry.pop("remap_type", "LINKED")
    return entry | {"remap_id": entry["remap_id"] | (GHOST if kind == "GHOST" else 0)}


EARLIER = {"reg": ("size", "mode", "build_id", "mnt_id"), "isk": ("ns_id",), "usk": ("ns_id",), "nlsk": ("ns_id",), "psk": ("ns_id",)}


def _earlier_file(entry):
    """Nothing was noted to recognise a file by, nor whose a socket is."""
    for body, fields in EARLIER.items():
        for field in fields:
            entry.get(body, {}).pop(field, None)
    return entry


def sparse(images):
    """Only what every version has written: optional fields that came later are not there."""
    images.edit("remap-fpath.img", lambda entries: [_old_remap(entry) for entry in entries])
    later = {"files": ("so_oobinline", "ip_opts"),
             "mm-*": ("fdflags", "thp_disabled"),
             "core-*": ("cet", "mode", "tls", "membarrier_registration_mask", "cg_set", "compat_sigaction"),
             "inventory": ("plugins_entry", "dump_criu_run_id", "lsmtype", "root_cg_set", "network_lock_method"),
             "memfd": ("hugetlb_flag", "mode"), "ghost-file-*": ("chunks",)}
    images.edit("files.img", lambda entries: [_earlier_file(entry) for entry in entries])
    for pattern, names in later.items():
        for path in sorted(images.folder.glob(f"{pattern}.img")):
            images.edit(path.name, _without(*names))
    for path in sorted(images.folder.glob("pagemap-*.img")):
        images.edit(path.name, lambda entries: [_old_run(entry) for entry in entries])
    for name in ("timens-0.img", "seccomp.img"):
        (images.folder / name).unlink()


def _old_run(entry):
    """Runs had 32 bits, and no flags."""
    if "vaddr" not in entry:
        return entry
    return {"vaddr": entry["vaddr"], "compat_nr_pages": entry["nr_pages"]}


VARIANTS = {"": lambda images: None, "parts": parts, "sparse": sparse}
