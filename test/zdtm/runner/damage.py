"""Damaged images: whatever is in them, the tool ends soon, says what is wrong, and leaves nothing.

The part of a cycle (see cycle.py) that tries damaged copies of a checkpoint (see mutations.py) before the whole one is
restored. Everything but the test's own folder is read-only meanwhile: an image from a stranger may name any path.
"""

import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

from . import isolate, kernel
from .hostility import Failure
from .mutations import Case, Mutator

TIME_LIMIT = 10  # seconds
MEMORY_LIMIT = 12 << 30  # of addresses; what is restored counts
MOST_RESIDENT_KB = 400_000
# What a message has to name: an image, a path, an option, an id, an address, a number of something.
NAMES_SOMETHING = re.compile(r"\.img|/|--|\d")
BROKEN = re.compile(r"terminate called|Bug:|internal error|AddressSanitizer|runtime error:|Assertion")


class Temptations:
    """Files and processes that have nothing to do with the checkpoint: what damaged images may name."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "file").write_text("keep me")
        (folder / "directory").mkdir()
        (folder / "directory" / "in").write_text("keep me too")
        os.mkfifo(folder / "fifo")
        (folder / "link").symlink_to("file")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "socket"))
        # Children that wait: of ours and the leader of a session.
        self.processes = [subprocess.Popen(["sleep", "1000"], start_new_session=leads) for leads in (False, True)]
        self.before = snapshot(folder)

    def values(self, root):
        """For Mutator."""
        inside = ["file", "directory", "fifo", "link", "socket", "new", "directory/new", "fifo/under", "no/such"]
        return {"paths": [str(self.folder / name) for name in inside] + ["/", "/etc/passwd", "/dev/null"],
                "pids": [process.pid for process in self.processes] + [1, root, os.getpid()]}

    def harm(self):
        """What was done to them, or nothing."""
        if snapshot(self.folder) != self.before:
            return f"files that are not the checkpoint's: {differing(self.before, snapshot(self.folder))}"
        for process in self.processes:
            text = pathlib.Path(f"/proc/{process.pid}/status").read_text() if process.poll() is None else ""
            if not re.search(r"^State:\s*[SR].*^TracerPid:\s*0$", text, re.M | re.S):
                return f"the process {process.pid}, which is not the checkpoint's"
        return ""

    def end(self):
        """Lets the processes go."""
        for process in self.processes:
            process.kill()
            process.wait()


def snapshot(folder):
    """Names, kinds, owners, contents of everything below."""
    found = {}
    for path in sorted(folder.rglob("*")):
        st = path.lstat()
        regular = path.is_file() and not path.is_symlink()
        # A restore binds sockets anew: an old file of that name that nobody listens at is as good as a new one.
        facts = [0, stat.S_IFSOCK, 0] if path.is_socket() else [st.st_ino, st.st_mode, st.st_uid]
        found[str(path.relative_to(folder))] = [*facts, st.st_nlink, path.read_bytes() if regular else 0]
    return found


def differing(before, after):
    """Names for messages."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def read_only_but(folder):
    """Mounts everything read-only except `folder`, which becomes a mount of its own, and /proc."""
    kernel.mount(str(folder), str(folder), None, kernel.MS_BIND)
    kernel.mount("shm", "/dev/shm", "tmpfs", 0)
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if not point.startswith(("/proc", "/dev/", str(folder))):
            kernel.set_read_only(point)


def world():
    """What a restore might leave in the namespaces: mounts, nft tables, System V objects, listening names."""
    facts = set(pathlib.Path("/proc/self/mountinfo").read_text().splitlines())
    for name in ("shm", "sem", "msg"):
        for line in pathlib.Path(f"/proc/sysvipc/{name}").read_text().splitlines()[1:]:
            facts.add(f"{name} {' '.join(line.split()[:2])}")
    for name in ("unix", "tcp", "udp", "raw", "packet"):
        lines = pathlib.Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        # Connections that wait for their end are the kernel's.
        facts |= {f"{name} {line}" for line in lines if not (name == "tcp" and line.split()[3] == "06")}
    if shutil.which("nft"):
        facts |= set(subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout.splitlines())
    return facts


class Damage:
    """Mixed into Cycle, whose attributes and helpers it uses."""

    def _damaged_restores(self, images, before):
        """Many damaged copies, then the images must still be good."""
        tempting = Temptations(self.scratch / "tempting")
        self.not_ours = {process.pid for process in tempting.processes}
        try:
            documents = {path.name: self._json_of(path) for path in images.glob("*.img") if not path.name.startswith("pages-")}
            files = [path.name for path in images.iterdir() if path.suffix == ".img"]
            cases = Mutator(documents, files, tempting.values(self.root), f"{self.options.seed}/{self.test.name}")
            whole = self._kept_files()
            self._expect_undamaged_restores(images, tempting, whole)
            chosen = self.options.damage_case
            for number in [chosen] if chosen is not None else range(self.options.damage):
                case = cases.case(number)
                wrong = self._try_damaged(images, case, tempting, whole)
                if wrong:
                    self._note(number, case, wrong)
        finally:
            tempting.end()
            self.not_ours = set()
            shutil.rmtree(self.scratch / "linked", ignore_errors=True)
        if self.damage_found:
            raise Failure(f"{len(self.damage_found)} of the damaged images:\n" + "\n".join(self.damage_found))
        self._expect_dead(before)

    def _expect_undamaged_restores(self, images, tempting, whole):
        """Under the same limits; else no refusal would say anything."""
        wrong = self._try_damaged(images, Case("nothing", lambda *_: True), tempting, whole)
        if wrong or not self.damage_counts["restored"]:
            raise Failure(f"the images as they are do not restore within the limits: {wrong}\n{self.damage_words}")

    def _note(self, number, case, wrong):
        self.damage_found.append(f"case {number}: {case.text[:300]}\n    {wrong}")
        if len(self.damage_found) >= self.options.damage_most:
            raise Failure(f"{len(self.damage_found)} of the damaged images (and no more were tried):\n" + "\n".join(self.damage_found))

    def _kept_files(self):
        """The program's files, to put them back after a restore that has succeeded."""
        copy = self.scratch / "whole"
        if not copy.exists():
            shutil.copytree(self.work, copy, symlinks=True, ignore=lambda folder, names: [
                name for name in names if not os.path.isfile(os.path.join(folder, name))
                and not os.path.isdir(os.path.join(folder, name))])
            (self.scratch / "linked").mkdir()
            for path in self.work.rglob("link_remap.*"):
                os.link(path, self.scratch / "linked" / str(path.relative_to(self.work)).replace("/", "%"))
        return snapshot(self.work)

    def _put_back(self, whole):
        """Contents and removed files; False if that is not enough."""
        for name, facts in whole.items():
            path, copy = self.work / name, self.scratch / "whole" / name
            linked = self.scratch / "linked" / name.replace("/", "%")
            if not path.exists() and linked.exists():
                os.link(linked, path)  # a link of --link-remap, which a restore that has succeeded removes
            elif isinstance(facts[4], bytes) and copy.exists() and (not path.exists() or path.read_bytes() != facts[4]):
                path.write_bytes(facts[4])
                path.chmod(facts[1] & 0o7777)
        for name in snapshot(self.work).keys() - whole.keys():
            path = self.work / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _try_damaged(self, images, case, tempting, whole):
        """One case; what is wrong, or nothing."""
        copy = self.scratch / "damaged"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(images, copy, copy_function=os.link, symlinks=True,
                        ignore=lambda _, names: [name for name in names if not name.endswith(".img")])
        wrongs = []
        if not case.apply(copy, lambda document, path: self._encode(document, path, wrongs)):
            self.damage_counts["not encoded"] += 1
            return "; ".join(wrongs)
        outside = world()
        for action in ("crit", "plan", "restore") if case.for_crit else ("plan", "restore"):
            wrongs += getattr(self, f"_damaged_{action}")(copy)
        succeeded = self.damaged_status == 0
        self.damage_counts["restored" if succeeded else "refused"] += 1
        left = self._end_damaged(succeeded)
        if left:
            wrongs.append(f"restore failed and left processes: {left}")
        if harm := tempting.harm():
            wrongs.append(f"harms {harm}")
            raise Failure(f"{case.text}: {'; '.join(wrongs)}")
        now = snapshot(self.work)
        if now != whole:
            if not succeeded:
                wrongs.append(f"restore failed and left or changed {differing(whole, now)}")
            self._put_back(whole)
            # Files that came back are others now.
            whole.clear()
            whole.update(snapshot(self.work))
        if not succeeded and not self._settles(outside):
            wrongs.append(f"leaves in the namespaces: {sorted(world() - outside)[:5]}")
        return "; ".join(wrongs)

    @staticmethod
    def _settles(outside):
        """Sockets of tasks that were killed go a little later."""
        for _ in range(50):
            if not world() - outside:
                return True
            time.sleep(0.01)
        return False

    def _end_damaged(self, succeeded):
        """Ends what was restored. Returns what lives on after a restore that failed."""
        left = []
        deadline = time.monotonic() + 5
        patience = time.monotonic() + 0.5
        while strays := self._strays():
            if time.monotonic() > patience and not succeeded and not left:
                left = strays
            if succeeded or left:
                for pid in strays:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            if time.monotonic() > deadline:
                raise Failure(f"cannot end {strays}{self._where()}")
            time.sleep(0.001)
            self._reap()
        self._reap()
        return left

    def _reap(self):
        for pid in isolate.descendants(os.getpid()):
            if pid not in self._own():
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass

    # --- commands

    def _limited(self, command, text=""):
        """Runs the tool within limits. Returns (status, its words, what is wrong with that)."""
        name = " ".join(word for word in command if "/" not in str(word))
        with tempfile.TemporaryFile(dir=self.scratch) as output, tempfile.TemporaryFile(dir=self.scratch) as errors:
            process = subprocess.Popen([self.options.criu, *command], cwd=self.work, stdout=output, stderr=errors,
                                       stdin=subprocess.PIPE if text else subprocess.DEVNULL, preexec_fn=self._limits,
                                       env={key: value for key, value in os.environ.items() if not key.startswith("CRIU")})
            if text:
                try:
                    process.stdin.write(text)
                    process.stdin.close()
                except BrokenPipeError:
                    pass
            status, resident = self._wait_limited(process)
            errors.seek(0)
            words = errors.read(1 << 20).decode(errors="surrogateescape")
        wrong = []
        if status is None:
            return None, words, [f"{name} takes longer than {TIME_LIMIT} s{resident}"]
        if status not in (0, 1) or BROKEN.search(words):
            wrong.append(f"{name} exits with {status}: {words[-1500:]}")
        elif status == 1:
            wrong += [f"{name}: {problem}" for problem in self._problems_of(words)]
        if resident > MOST_RESIDENT_KB and not self.sanitized:
            wrong.append(f"{name} takes {resident} kB")
        return status, words, wrong

    @staticmethod
    def _problems_of(words):
        """What is wrong with the text of an error."""
        lines = words.split("\n")
        errors = [line.partition(": ")[2] for line in lines if re.match(r"(Error|crit): ", line)]
        if len(errors) != 1 or not NAMES_SOMETHING.search(errors[0]):
            return [f"not one error that names something: {words[:1500]!r}"]
        if len(words) > 8000 or re.search(r"[\x00-\x08\x0b-\x1f\x7f]", words):
            return [f"the error repeats what only confuses: {words[:200]!r} ({len(words)} characters)"]
        return []

    @property
    def sanitized(self):
        """A build with sanitizers needs terabytes of addresses."""
        return "asan" in str(self.options.criu)

    def _limits(self):
        if not self.sanitized:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    def _wait_limited(self, process):
        """(status or None, resident kB or where it hangs)"""
        deadline = time.monotonic() + TIME_LIMIT
        while time.monotonic() < deadline:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return process.returncode, usage.ru_maxrss
            time.sleep(0.001)
        where = self._where_all()
        process.kill()
        process.wait()
        return None, where

    def _where_all(self):
        lines = []
        for pid in isolate.descendants(os.getpid()):
            try:
                call = pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0]
                lines.append(f"\n      {pid}: {pathlib.Path(f'/proc/{pid}/comm').read_text().strip()} syscall {call}, "
                             f"{pathlib.Path(f'/proc/{pid}/wchan').read_text()}")
            except OSError:
                continue
        return "".join(lines)

    def _encode(self, document, path, wrongs):
        """False if crit refuses, as it may; what else it does is noted."""
        path.unlink(missing_ok=True)
        text = json.dumps(document).encode()
        status, _, wrong = self._limited(["crit", "encode", "-o", str(path)], text)
        wrongs += wrong
        return status == 0

    def _damaged_crit(self, copy):
        wrongs = []
        changed = [path for path in copy.iterdir() if path.is_file() and path.stat().st_nlink == 1]
        for path in changed[:1]:
            for command in (["decode", "-i"], ["show"], ["info"]):
                wrongs += self._limited(["crit", *command, str(path)])[2]
        for what in ("ps", "fds", "mems", "rss"):
            wrongs += self._limited(["crit", "x", str(copy), what])[2]
        return wrongs

    def _damaged_plan(self, copy):
        return self._limited(["restore", "-D", str(copy), "--print-plan", *self.test.opts, *self.test.ropts])[2]

    def _damaged_restore(self, copy):
        command = ["restore", "-d", "-D", str(copy), *self.test.opts, *self.test.ropts]
        self.damaged_status, self.damage_words, wrongs = self._limited(command)
        return wrongs
