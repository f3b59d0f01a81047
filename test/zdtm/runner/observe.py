"""What a careful observer sees of a process tree from outside, as plain values that can be compared.

Taken before a dump and after the restore, both must be equal. What differs by nature is normalised: inode numbers of
pipes and sockets become numbers in order of appearance, so the structure of sharing still shows; times that run are left
out; adjacent mappings that the kernel may merge or split at will are joined.
"""

import os
import re

from . import isolate, kernel

STATUS_KEYS = """Name Umask Tgid Pid PPid TracerPid Uid Gid Groups Threads SigPnd ShdPnd SigBlk SigIgn SigCgt CapInh CapPrm
CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters VmLck VmPin THP_enabled Cpus_allowed Mems_allowed NStgid
x86_Thread_features CoreDumping""".split()
# Fields of stat after the command name, counted from 0 = state.
STAT_FIELDS = {
    "pgrp": 2, "session": 3, "tty": 4, "tpgid": 5, "priority": 15, "nice": 16, "start_code": 23, "end_code": 24,
    "start_stack": 25, "exit_signal": 35, "rt_priority": 37, "policy": 38, "start_data": 42, "end_data": 43,
    "start_brk": 44, "arg_start": 45, "arg_end": 46, "env_start": 47, "env_end": 48, "exit_code": 49,
}
# What is left of a task that has ended.
ZOMBIE_KEYS = "Name State Pid PPid pgrp session exit_signal exit_code".split()
# sd: written since the last clear_refs; gu: guard pages may be in it (sticky when mappings merge);
# ac: charged to the overcommit limit, an accounting detail of history.
IGNORED_VM_FLAGS = {"sd", "ac", "gu"}
RUNNING_FDINFO = re.compile(r"^(it_value|ticks|eventfd-id|mnt_id|ino|scm_fds|pos:.*\(|epoll-)")


# What a restore makes anew, with other numbers: namespaces of a container, and file systems that live in memory.
NAMESPACE = re.compile(r"\b(ipc|mnt|net|pid|time|user|uts|cgroup|pid_for_children|time_for_children):\[(\d+)\]")
MADE_ANEW = ("/dev/shm/", "/dev/pts/", "/dev/mqueue/")


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace")
    except OSError as error:
        return f"<{error.strerror}>"


def _link(path):
    try:
        return os.readlink(path)
    except OSError as error:
        return f"<{error.strerror}>"


class _Numbers:
    """Inode numbers of nameless objects, renamed in order of appearance. `inside`: of a container's namespaces too."""

    def __init__(self, inside=False):
        self.seen, self.namespaces = {}, {}
        self.inside = inside
        self.own = {_link(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")} if inside else set()

    def rename(self, text):
        def number(match):
            key = match.group(0)
            return f"{match.group(1)}:[#{self.seen.setdefault(key, len(self.seen))}]"

        return self.namespace(re.sub(r"(pipe|socket):\[(\d+)\]", number, text))

    def namespace(self, text):
        """Those that are not our own get a number in order of appearance."""
        def number(match):
            key = match.group(2)
            if match.group(0) in self.own and not match.group(1) in ("pid", "pid_for_children", "mnt"):
                return match.group(0)
            return f"{match.group(1)}:[#{self.namespaces.setdefault(key, len(self.namespaces))}]"

        return NAMESPACE.sub(number, text) if self.inside else text


def _status(path):
    values = {}
    for line in _read(f"{path}/status").split("\n"):
        key, _, value = line.partition(":")
        if key in STATUS_KEYS:
            values[key] = " ".join(value.split())
        elif key == "State":
            # Running and sleeping change all the time; stopped, dead and traced do not.
            values["State"] = value.split()[0] if value.split()[0] in "TZtX" else "alive"
    stat = _read(f"{path}/stat")
    fields = stat[stat.rfind(")") + 2 :].split()
    for key, index in STAT_FIELDS.items():
        if index < len(fields):
            values[key] = fields[index]
    return values


def _mappings(pid, inside):
    """Joined mappings: [start, end, perms, offset, device and inode, name, flags]."""
    result = []
    for line in _read(f"/proc/{pid}/smaps").split("\n"):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) (\S+) (\d+)\s*(.*)", line)
        if head:
            start, end, offset = (int(head.group(i), 16) for i in (1, 2, 4))
            name = re.sub(r"^socket:\[\d+\]", "socket", head.group(7))
            # Objects without a lasting inode get another one; anonymous memory has offset 0.
            lasting = name.startswith("/") and not name.endswith("(deleted)") and not (inside and name.startswith(MADE_ANEW))
            result.append([start, end, head.group(3), offset, f"{head.group(5)} {head.group(6)}" if lasting else "", name, ""])
        elif line.startswith(("VmFlags:", "ProtectionKey:")) and result:
            result[-1][6] += " ".join(w for w in line.split() if w not in IGNORED_VM_FLAGS) + " "
    joined = []
    for item in result:
        last = joined[-1] if joined else None
        if last and last[1] == item[0] and last[2] == item[2] and last[4:] == item[4:]:
            contiguous = last[3] + last[1] - last[0] == item[3]
            if contiguous or item[5] in ("", "[heap]", "[stack]"):
                last[1] = item[1]
                continue
        joined.append(item)
    return {f"{s:x}-{e:x}": f"{perms} {offset:x} {inode} {name} | {flags.strip()}"
            for s, e, perms, offset, inode, name, flags in joined}


O_LARGEFILE = 0o100000  # 64-bit calls always set it: what a 32-bit program has opened comes back with it


def _fdinfo(text):
    text = re.sub(r"^(flags:\t)(\d+)", lambda match: f"{match[1]}0{int(match[2], 8) & ~O_LARGEFILE:o}", text, flags=re.M)
    lines = []
    for line in text.split("\n"):
        line = re.sub(r"^lock:\t\d+:", "lock:", line)
        # What an epoll set watches: inode numbers of pipes are new, and the order is that of a search tree by address.
        line = re.sub(r"^(tfd:.*?) *pos:.*", r"\1", line)
        if line and not RUNNING_FDINFO.match(line):
            lines.append(" ".join(line.split()))
    return [line for line in lines if not line.startswith("tfd:")] + sorted(line for line in lines if line.startswith("tfd:"))


def _descriptors(pid, numbers):
    result = {}
    try:
        fds = sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return result
    for fd in fds:
        target = _link(f"/proc/{pid}/fd/{fd}")
        info = _read(f"/proc/{pid}/fdinfo/{fd}")
        if numbers.inside:  # of mounts that were made anew
            info = re.sub(r"\b(mnt_id|sdev):[0-9a-f]+", "", info)
        result[str(fd)] = [numbers.rename(target)] + _fdinfo(info)
    return result


def _sharing(members, kind):
    """Partition of (key, pid, index) into classes that share the resource, as {key: representative}."""
    classes, result = [], {}
    for key, pid, index in members:
        for other_key, other_pid, other_index in classes:
            if kernel.kcmp(pid, other_pid, kind, index, other_index):
                result[key] = other_key
                break
        else:
            classes.append((key, pid, index))
    return result


def _thread(pid, tid):
    path = f"/proc/{pid}/task/{tid}"
    status = _status(path)
    if status.get("State") == "Z":  # a leader that has ended before the others
        return {f"status.{key}": status.get(key) for key in ZOMBIE_KEYS}
    values = {f"status.{key}": value for key, value in status.items()}
    values["comm"] = _read(f"{path}/comm").strip()
    values["robust_list"] = kernel.robust_list(tid)
    values["ioprio"] = kernel.ioprio(tid)
    values["timerslack"] = _read(f"/proc/{tid}/timerslack_ns").strip()
    for name in ("cwd", "root", "personality", "attr/current"):
        values[name] = _link(f"{path}/{name}") if name in ("cwd", "root") else _read(f"{path}/{name}").strip()
    try:
        values["affinity"] = sorted(os.sched_getaffinity(tid))
        values["scheduler"] = [os.sched_getscheduler(tid), os.sched_getparam(tid).sched_priority]
    except OSError as error:
        values["affinity"] = error.strerror
    return values


def _is_of_kernel(path):
    """Workers of io_uring and the like (PF_IO_WORKER, PF_USER_WORKER), which come and go."""
    try:
        with open(f"{path}/stat", encoding="utf-8", errors="replace") as file:
            return bool(int(file.read().rsplit(")", 1)[1].split()[6]) & 0x4010)
    except OSError:
        return False


def _task(pid, numbers):
    path = f"/proc/{pid}"
    values = {}
    status = _status(path)
    tids = [tid for tid in sorted(map(int, os.listdir(f"{path}/task"))) if not _is_of_kernel(f"{path}/task/{tid}")]
    voice = pid
    if status.get("State") == "Z":
        if len(tids) == 1:
            return {"threads": {}, **{f"status.{key}": status.get(key) for key in ZOMBIE_KEYS}}
        voice = min(tid for tid in tids if tid != pid)  # its memory and files show in the entry of any other thread
    path = f"/proc/{voice}"
    values["maps"] = _mappings(voice, numbers.inside)
    values["fds"] = _descriptors(voice, numbers)
    for name in ("exe", "cwd", "root"):
        values[name] = _link(f"{path}/{name}")
    for name in ("cmdline", "environ", "auxv", "limits", "oom_score_adj", "loginuid", "coredump_filter", "timers", "cgroup"):
        values[name] = _read(f"{path}/{name}")
    # A running timer shows its remaining time nowhere in this file, so all of it compares.
    for name in ("ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts", "cgroup"):
        values[f"ns.{name}"] = numbers.namespace(_link(f"{path}/ns/{name}"))
    values["threads"] = {tid: _thread(pid, tid) for tid in tids}
    return values


def observe(root, skip=(), inside=False):
    """Everything about the tree that starts at `root`: {fact path: value}, flat. Trees that change all the time skip
    everything (".*"): of them only the pids are noted. `inside`: we are in the pid namespace of a container."""
    numbers = _Numbers(inside)
    pids = [root] + isolate.descendants(root)
    if ".*" in skip:
        return {"tree": sorted(pids), f"{root}.threads.{root}.status.PPid": _status(f"/proc/{root}").get("PPid")}
    tree = {pid: _task(pid, numbers) for pid in sorted(pids)}
    facts = {"tree": sorted(pids)}
    alive = [pid for pid in tree if tree[pid]["threads"]]
    for kind in ("vm", "files", "fs", "sighand", "sysvsem"):
        tids = [(tid, tid, 0) for pid in alive for tid, values in tree[pid]["threads"].items()
                if values["status.State"] != "Z"]
        if len(tids) <= 64:
            facts[f"shared.{kind}"] = _sharing(tids, kind)
    by_target = {}
    for pid in alive:
        for fd, info in tree[pid]["fds"].items():
            by_target.setdefault(info[0], []).append((f"{pid}:{fd}", pid, int(fd)))
    facts["shared.file"] = {}
    for members in by_target.values():
        if len(members) <= 64:
            facts["shared.file"] |= _sharing(members, "file")
    for pid, values in tree.items():
        _flatten(f"{pid}", values, facts)
    return facts


def _flatten(prefix, value, facts):
    if isinstance(value, dict):
        for key, item in value.items():
            _flatten(f"{prefix}.{key}", item, facts)
    else:
        facts[prefix] = value


def pids_of(facts):
    """Pids of the observed tree, as the runner sees them."""
    return facts.get("outer", facts["tree"])


def differences(before, after, skip):
    """Lines that say what changed. `skip` holds regular expressions over fact paths, such as 'fds' or 'status.VmLck'."""
    skipped = [re.compile(rf"(^|\.){pattern}(\.|$)") for pattern in skip]
    lines = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, "(nothing)"), after.get(key, "(nothing)")
        if old != new and not any(pattern.search(key) for pattern in skipped):
            lines.append(f"{key}: {_short(old)} -> {_short(new)}")
    return lines


def _short(value):
    text = str(value)
    return text if len(text) < 400 else text[:400] + "..."
