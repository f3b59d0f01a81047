"""What a directory of images has to be like so that CRIU restores it, and other tools read it: whatever one image says of
another has to be there. The rules hold for the images that CRIU 4.2 itself has written (test/golden/rules_test.py).

An image is a list of entries as crit shows them: {(kind, number): [entry, ...]}, the number 0 where there is one file only.
"""

import re

PAGE = 4096
PRESENT, LAZY, PARENT = 4, 2, 1
ALIVE, DEAD, STOPPED = 1, 2, 3
PRIVATE, ANONYMOUS, LOCKED, HUGETLB, DROPPABLE = 0x2, 0x20, 0x2000, 0x40000, 0x8
VDSO, FILE_PRIVATE, FILE_SHARED, ANON_SHARED, SYSVIPC, SOCKET, MEMFD, GUARD = 8, 0x40, 0x80, 0x100, 0x400, 0x800, 0x4000, 0x10000
SOCKET_KINDS = ("usk", "isk", "psk", "nlsk")
TCP, TCP_CLOSE, TCP_LISTEN = 6, 7, 10
SIGNALS_WITH_ACTIONS, LIMITS = 62, 16
HEX_NUMBERS = {"ghost-file", "tcp-stream"}


def key_of(name):
    """("core", 883) of "core-883.img"."""
    found = re.fullmatch(r"(.*?)(?:-(s-|p-)?([0-9a-f]+))?\.img", name)
    kind, number = found[1], found[3]
    if number is None:
        return kind, 0
    return kind, int(number, 16 if kind in HEX_NUMBERS else 10)


def pages_of(run):
    """Length of a run; older tools know the second name only."""
    return run.get("nr_pages") or run.get("compat_nr_pages", 0)


class Rules:
    """Finds what is wrong with a directory."""

    def __init__(self, images, sizes, statistics):
        """`sizes`: bytes of each pages-N.img, by N; `statistics`: the entry of stats-dump, or nothing."""
        self.images, self.sizes, self.statistics = images, sizes, statistics
        # Of compressed pages Debian's crit does not know how large they are.
        self.compressed = any(entries[0]["img_version"] >= 3 for _, entries in self.all("inventory") if entries)
        self.wrong = []
        self.files = {entry["id"]: entry for entry in self.one("files")}
        self.tree = self.one("pstree")
        self.living = [task["pid"] for task in self.tree if self.state(task["pid"]) != DEAD]

    def one(self, kind, number=0):
        """Entries of an image; a file that is not there has none."""
        return self.images.get((kind, number), [])

    def all(self, kind):
        """Every image of a kind: number and entries."""
        return [(number, entries) for (name, number), entries in self.images.items() if name == kind]

    def need(self, fine, what):
        """Notes a broken rule."""
        if not fine:
            self.wrong.append(what)

    def state(self, pid):
        """task_state of a process."""
        core = self.one("core", pid)
        return core[0]["tc"]["task_state"] if core else 0

    def shares_memory(self, pid, other):
        """Processes of one address space, which are no threads of each other (CLONE_VM)."""
        numbers = [self.one("ids", each)[0]["vm_id"] for each in (pid, other) if self.one("ids", each)]
        return len(numbers) == 2 and numbers[0] == numbers[1]

    def table_of(self, pid):
        """Descriptors of a process."""
        ids = self.one("ids", pid)
        return self.one("fdinfo", ids[0]["files_id"]) if ids else []

    # --- the rules

    def check_tree(self):
        """Parents first; a core for every thread."""
        seen, threads = set(), set()
        for place, task in enumerate(self.tree):
            pid = task["pid"]
            self.need((task["ppid"] in seen) if place else task["ppid"] == 0, f"pstree: the parent of {pid} comes after it")
            seen.add(pid)
            if self.state(pid) == DEAD:
                self.need(self.one("core", pid), f"core-{pid}.img is missing")
                continue
            self.need(task["threads"][0] == pid, f"pstree: the first thread of {pid} is another")
            for tid in task["threads"]:
                self.need(tid not in threads, f"pstree: thread {tid} twice")
                self.need(self.one("core", tid), f"core-{tid}.img is missing")
                threads.add(tid)
            for kind in ("ids", "mm", "fs", "pagemap"):
                of_parent = kind in ("mm", "pagemap") and self.shares_memory(pid, task["ppid"])
                self.need(((kind, pid) in self.images) != of_parent, f"{kind}-{pid}.img is missing, or of memory that is its parent's")
        self.need(len(seen) == len(self.tree), "pstree: a pid twice")

    def check_cores(self):
        """The parts that a restore reads without asking whether they are there."""
        leaders = {task["pid"]: task for task in self.tree}
        for tid, entries in self.all("core"):
            core = entries[0]
            self.need(("tc" in core) == (tid in leaders), f"core-{tid}: the task's part")
            if tid in leaders and self.state(tid) == DEAD:
                continue
            thread = core.get("thread_core", {})
            for part in ("creds", "sas", "sched_policy", "comm", "blk_sigset" if tid not in leaders else "creds"):
                self.need(part in thread, f"core-{tid}: thread_core.{part} is missing")
            self.need("thread_info" in core, f"core-{tid}: no registers")
            if tid not in leaders:
                continue
            task = core["tc"]
            self.need(len(task.get("sigactions", ())) == SIGNALS_WITH_ACTIONS, f"core-{tid}: signal actions")
            self.need(len(task.get("rlimits", {}).get("rlimits", ())) == LIMITS, f"core-{tid}: limits")
            self.need("timers" in task, f"core-{tid}: no timers")
            self.need("stop_signo" not in task or self.state(tid) == STOPPED, f"core-{tid}: stop_signo")

    def check_files(self):
        """Each once, and what it refers to."""
        self.need(len(self.files) == len(self.one("files")), "files: an id twice")
        infos = {info["id"] for info in self.one("tty-info")}
        memory = {inode["inode_id"] for inode in self.one("memfd")}
        self.need(len(memory) == len(self.one("memfd")) and len(infos) == len(self.one("tty-info")), "a number of an inode or terminal twice")
        for number, entry in self.files.items():
            bodies = [value for key, value in entry.items() if isinstance(value, dict) and "id" in value]
            if not bodies and "type" not in entry:
                continue  # a kind that is younger than this crit
            self.need(len(bodies) == 1 and bodies[0]["id"] == number, f"files: entry {number} has another id within")
            for body in bodies:
                if body.get("regf_id"):
                    self.need(self.files.get(body["regf_id"], {}).get("type") == "REG", f"files: {number} has no file")
            self.need("tty" not in entry or entry["tty"]["tty_info_id"] in infos, f"files: terminal {number} is not described")
            self.need("memfd" not in entry or entry["memfd"]["inode_id"] in memory, f"files: memfd {number} is not described")

    def check_tables(self):
        """Descriptors ascend, and lead to files of their type."""
        for number, table in self.all("fdinfo"):
            fds = [entry["fd"] for entry in table]
            self.need(fds == sorted(set(fds)), f"fdinfo-{number}: descriptors do not ascend")
            for entry in table:
                file = self.files.get(entry["id"])
                self.need(file and file.get("type") == entry.get("type"), f"fdinfo-{number}: fd {entry['fd']} leads to no such file")

    def check_references(self):
        """Directories, programs, remaps, queues."""
        known = lambda number, *types: self.files.get(number, {}).get("type") in types  # noqa: E731
        for pid in self.living:
            for entry in self.one("fs", pid):
                self.need(known(entry["cwd_id"], "REG") and known(entry["root_id"], "REG"), f"fs-{pid}: a file that is not there")
            for entry in self.one("mm", pid):
                self.need(known(entry["exe_file_id"], "REG", "MEMFD"), f"mm-{pid}: the program is not there")
        for remap in self.one("remap-fpath"):
            self.need(known(remap["orig_id"], "REG"), f"remap-fpath: no file {remap['orig_id']}")
            kind = remap.get("remap_type", "GHOST" if remap["remap_id"] & 1 << 31 else "LINKED")
            number = remap["remap_id"] & ~(1 << 31)
            self.need(known(number, "REG") if kind == "LINKED" else kind != "GHOST" or ("ghost-file", number) in self.images,
                      f"remap-fpath: {kind} {number} is not there")
        for packet in self.one("sk-queues"):
            if packet["id_for"] & 1 << 31:
                continue  # ours, of connections that wait to be accepted: CRIU has nobody who asks for it
            owner = self.files.get(packet["id_for"], {})
            self.need(any(kind in owner for kind in SOCKET_KINDS), f"sk-queues: no socket {packet['id_for']}")
            for part in packet.get("scm", ()):
                self.need(all(number in self.files for number in part.get("rights", ())), "sk-queues: a file in flight is not there")
        for kind, body in (("pipes-data", "pipe"), ("fifo-data", "fifo")):
            pipes = {entry[body]["pipe_id"] for entry in self.files.values() if body in entry}
            numbers = [entry["pipe_id"] for entry in self.one(kind)]
            self.need(len(set(numbers)) == len(numbers) and set(numbers) <= pipes, f"{kind}: a pipe twice, or that nobody has")
        for entry in self.files.values():
            socket = entry.get("isk")
            if socket and socket["proto"] == TCP and socket["state"] not in (TCP_CLOSE, TCP_LISTEN):
                self.need(("tcp-stream", socket["ino"]) in self.images, f"files: tcp-stream-{socket['ino']:x}.img is missing")

    def check_locks(self):
        """A lock is set by a task of the tree, through a descriptor of it."""
        for lock in self.one("filelocks"):
            self.need(any(entry["fd"] == lock["fd"] for entry in self.table_of(lock["pid"])), f"filelocks: pid {lock['pid']} has no fd {lock['fd']}")

    def contents_of(self, pid, vma):
        """Ids of System V segments in IPC namespaces below the root's would be those of others: the namespace's number is put before them."""
        if not vma["status"] & SYSVIPC:
            return vma["shmid"]
        space, roots = (self.one("ids", task)[0]["ipc_ns_id"] for task in (pid, self.tree[0]["pid"]))
        return (space << 32 if space != roots else 0) | vma["shmid"]

    def check_mappings(self):
        """Mappings ascend, guards behind them; each leads to its file or contents."""
        for pid, entries in self.all("mm"):
            mappings = [vma for vma in entries[0]["vmas"] if not vma["status"] & GUARD]
            edges = [edge for vma in mappings for edge in (vma["start"], vma["end"])]
            self.need(edges == sorted(edges), f"mm-{pid}: mappings do not ascend")
            for vma in mappings:
                if vma["status"] & (FILE_PRIVATE | FILE_SHARED | SOCKET | MEMFD):
                    self.need(vma["shmid"] in self.files, f"mm-{pid}: {vma['start']:#x}: the file is not there")
                elif vma["status"] & (ANON_SHARED | SYSVIPC):
                    self.need(("pagemap-shmem", self.contents_of(pid, vma)) in self.images, f"mm-{pid}: {vma['start']:#x}: no contents")
            for run in self.one("pagemap", pid)[1:]:
                self.check_run(pid, run, mappings)

    def check_run(self, pid, run, mappings):
        """A run lies in mappings, and is lazy where they are plain memory."""
        end = run["vaddr"] + pages_of(run) * PAGE
        inside = [vma for vma in mappings if vma["start"] < end and run["vaddr"] < vma["end"]]
        covered = sum(min(end, vma["end"]) - max(run["vaddr"], vma["start"]) for vma in inside)
        self.need(covered == end - run["vaddr"], f"pagemap-{pid}: pages at {run['vaddr']:#x} are outside of all mappings")
        if run["flags"] == PARENT:  # is looked up in the images before, where it has the other flags
            return
        for vma in inside:
            plain = vma["flags"] & (PRIVATE | ANONYMOUS | LOCKED | HUGETLB | DROPPABLE) == PRIVATE | ANONYMOUS and not vma["status"] & VDSO
            self.need(bool(run["flags"] & LAZY) == plain, f"pagemap-{pid}: {run['vaddr']:#x} has flags {run['flags']}")

    def check_pages(self):
        """Each pagemap has pages of its own, as many as it says; the statistics say how many there are."""
        owners = {}
        for kind in ("pagemap", "pagemap-shmem"):
            for number, entries in self.all(kind):
                pages = entries[0]["pages_id"]
                self.need(pages not in owners, f"{kind}-{number}: pages-{pages}.img is another's too")
                owners[pages] = sum(pages_of(run) for run in entries[1:] if run["flags"] & PRESENT)
                ascending = [(run["vaddr"], run["vaddr"] + pages_of(run) * PAGE) for run in entries[1:]]
                self.need(all(a[1] <= b[0] for a, b in zip(ascending, ascending[1:])), f"{kind}-{number}: runs do not ascend")
        for number, size in self.sizes.items():
            wanted = owners.get(number, 0) * PAGE
            self.need(size <= 2 * wanted if self.compressed else wanted == size,
                      f"pages-{number}.img has {size} bytes, {owners.get(number, 0)} pages are described")
        self.need(set(self.sizes) >= {number for number, pages in owners.items() if pages}, "a pages image is missing")
        if self.statistics:
            said = self.statistics["pages_written"] + self.statistics.get("shpages_written", 0)
            self.need(said * PAGE == sum(self.sizes.values()) or self.compressed, f"stats-dump: {said} pages, {sum(self.sizes.values()) / PAGE} are there")


def check(images, sizes, statistics):
    """Lines about what is wrong."""
    rules = Rules(images, sizes, statistics)
    for name in dir(rules):
        if name.startswith("check_") and name != "check_run":
            getattr(rules, name)()
    return rules.wrong
