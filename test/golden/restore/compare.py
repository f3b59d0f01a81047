"""Compares our dump of the restored sampler with the images of CRIU that it came from: every field that CRIU fills has to
be there, with the same value. Numbers that only name things (file ids, inodes) are replaced by what they stand for."""

import re
import resource

from images import decode
from runner import image_rules

# What may differ, as patterns over "IMAGE.field.field", with the reason.
ALLOWED = {
    r".*\.ext(\..*)?": "our own fields",
    r"ghost-file\.[am]tim_nsec": "our own fields",
    r"core\.thread_info\.tls": "descriptors of 32-bit code: none is in use",
    r"core\.thread_info\.fpregs\.xsave\.cet": "a shadow stack that nobody has",
    r"core\.thread_info\.gpregs\.orig_ax": "of a stopped task: no system call is to be issued again",
    r"core\.tc\.flags": "PF_* of the kernel, which it keeps for itself",
    r"core\.tc\.timers\.(real\.vu?sec|posix\.vn?sec)": "they run",
    r"files\.tfd\.vn?sec": "it runs",
    r"files\..*\.(ino|pipe_id|peer|inode|dev|s_dev|i_ino|f_handle)(\..*)?": "a name of the kernel's; what it refers to is checked on the tree",
    r"fdinfo\.id|fs\..*_id|mm\.exe_file_id|mm\.vmas\.shmid|.*\.regf_id|.*\.inode_id|.*\.tty_info_id|files\.(.*\.)?id": "a number of the image's own",
    r"mm\.vmas\.fdflags": "CRIU notes how a private mapping's file was opened; that has no effect",
    r"ghost-file\.(dev|ino)": "a name of the kernel's",
    r"tty-info\.(termios|termios_locked)\.c_cc": "CRIU leaves the unused words undefined; they are compared on the tree",
    r"tty-info\.termios\.c_[io]speed": "CRIU asks by an older call",
    r"tty-info\.(id|dev)": "a name",
}
# What our image may have in addition.
MORE = re.compile(r"core\.thread_info\.fpregs\.xsave\.\w+\Z")  # of a processor with more
HARD_LIMITS = [resource.getrlimit(kind)[1] for kind in range(16)]
PKRU = 1 << 9  # a component of xstate_bv: where the processor has it, the kernel gives every thread a value
ALLOWED = [re.compile(rf"(?:{pattern})\Z") for pattern in ALLOWED]


def _differences(ours, golden, path, out):
    if isinstance(golden, dict) and isinstance(ours, dict):
        for key in golden.keys() | ours.keys():
            place = f"{path}.{key}"
            if key in golden and key in ours:
                _differences(ours[key], golden[key], place, out)
            else:
                out.append((place, "nothing" if key not in ours else ours[key], "nothing" if key not in golden else golden[key]))
    elif isinstance(golden, list) and isinstance(ours, list):
        if len(golden) != len(ours):
            out.append((path, f"{len(ours)} items", f"{len(golden)} items"))
        for mine, theirs in zip(ours, golden):
            _differences(mine, theirs, path, out)
    elif ours != golden:
        out.append((path, ours, golden))


def _has_only_keys_more(place, mine, theirs):
    """The golden images come from a processor without protection keys."""
    return place.endswith(".xsave.xstate_bv") and mine == theirs | PKRU


def _is_limit_of_this_machine(place, mine, theirs):
    """Hard limits follow from the size of a machine's memory, and nobody here may raise them."""
    return ".rlimits." in place and isinstance(mine, int) and isinstance(theirs, int) and mine < theirs and mine in HARD_LIMITS


class Comparison:
    """Differences between two directories, as lines."""

    def __init__(self, criu, ours, golden):
        self.criu, self.ours, self.golden, self.lines = criu, ours, golden, []

    def both(self, name):
        """The entries of one image on either side."""
        return [decode(self.criu, folder / name)["entries"] for folder in (self.ours, self.golden)]

    def note(self, kind, ours, golden, what=""):
        """Adds what differs and may not."""
        found = []
        _differences(ours, golden, kind, found)
        self.lines += [f"{what or place}: {place.partition('.')[2]} is {mine!r}, {theirs!r} in CRIU's image"
                       for place, mine, theirs in found if not any(pattern.match(place) for pattern in ALLOWED)
                       and not (theirs == "nothing" and MORE.match(place)) and not _has_only_keys_more(place, mine, theirs)
                       and not _is_limit_of_this_machine(place, mine, theirs)]


def _compare_tasks(comparison, pids):
    trees = [{entry["pid"]: entry for entry in entries} for entries in comparison.both("pstree.img")]
    for tree in trees:
        for entry in tree.values():
            if len(entry["threads"]) == 1:
                entry["threads"] = [entry["pid"]]  # CRIU leaves that of a zombie undefined
    comparison.note("pstree", *trees)
    comparison.note("inventory", *[{**entries[0], "dump_criu_run_id": "", "network_lock_method": 0}
                                   for entries in comparison.both("inventory.img")])
    for pid in pids:
        comparison.note("core", *comparison.both(f"core-{pid}.img"), what=f"core-{pid}")
        for kind in ("mm", "fs"):
            if (comparison.golden / f"{kind}-{pid}.img").exists():
                comparison.note(kind, *comparison.both(f"{kind}-{pid}.img"), what=f"{kind}-{pid}")


def _compare_descriptors(comparison, gone):
    files = [{entry["id"]: entry for entry in entries} for entries in comparison.both("files.img")]
    named = []
    for side, folder in enumerate((comparison.ours, comparison.golden)):
        tables = {}
        for pid in (883, 888, 889, 890):
            table = decode(comparison.criu, folder / f"ids-{pid}.img")["entries"][0]["files_id"]
            for entry in decode(comparison.criu, folder / f"fdinfo-{table}.img")["entries"]:
                if entry["fd"] not in gone:
                    tables[f"task {pid} fd {entry['fd']}"] = (entry, files[side][entry["id"]])
        named.append(tables)
    comparison.note("fdinfo", *[{name: "" for name in tables} for tables in named], what="descriptors")
    for name in named[0].keys() & named[1].keys():
        comparison.note("fdinfo", named[0][name][0], named[1][name][0], what=name)
        pair = [_plain(tables[name][1]) for tables in named]
        comparison.note("files", *pair, what=name)


def _plain(file):
    """Watched descriptors in order of their numbers; the kernel shows them in order of their addresses."""
    if "epfd" in file:
        file = {**file, "epfd": {**file["epfd"], "tfd": sorted(file["epfd"]["tfd"], key=lambda watch: watch["tfd"])}}
    return file


def _compare_contents(comparison):
    for name in ("pipes-data", "fifo-data", "ghost-file-1", "filelocks", "memfd", "sk-queues", "tty-data", "tty-info"):
        if not (comparison.ours / f"{name}.img").exists():
            comparison.lines.append(f"{name}.img is missing")
            continue
        sides = []
        for entries in comparison.both(f"{name}.img"):
            for entry in entries:
                for key in ("pipe_id", "id_for", "tty_id", "inode_id", "shmid"):
                    entry.pop(key, None)
                for part in entry.get("scm", ()):
                    part["rights"] = len(part["rights"])
            sides.append(sorted(entries, key=lambda e: str(e.get("name", "")) + str(e.get("rdev", "")) + str(e.get("data", ""))))
        comparison.note(re.sub(r"-\d+$", "", name), *sides, what=name)
    streams = [sorted(decode(comparison.criu, image)["entries"][0]["inq_len"] for image in folder.glob("tcp-stream-*.img"))
               for folder in (comparison.ours, comparison.golden)]
    comparison.note("tcp-stream", *streams, what="TCP queues")


# Images that CRIU writes even if they say nothing. A missing file is an empty image.
EMPTY = {"seccomp"}


def _compare_kinds(comparison):
    """Which images there are."""
    ours, golden = ({image_rules.key_of(path.name)[0] for path in folder.glob("*.img")} for folder in (comparison.ours, comparison.golden))
    comparison.lines += [f"{kind}: only one side has such an image" for kind in sorted(ours ^ golden) if kind not in EMPTY]


def compare(criu, ours, golden, gone):
    """Lines about what our images lack or have otherwise. `golden` is the edited copy; `gone`: descriptors left out."""
    comparison = Comparison(criu, ours, golden)
    _compare_kinds(comparison)
    _compare_tasks(comparison, (883, 885, 886, 887, 888, 889, 890))
    _compare_descriptors(comparison, gone)
    _compare_contents(comparison)
    return sorted(set(comparison.lines))
