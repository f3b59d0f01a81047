"""The life of one program in its place: start, checkpoint and restore as often as asked, verify.

Runs as the supervisor (see isolate.py): everything that loses its parent becomes its child, so exit statuses of restored
trees arrive here.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from . import damage, flavors, isolate, kernel, migration, observe
from .hostility import Failure, Hostility, name_of, parent_of, state_of


class Cycle(Hostility, damage.Damage, migration.Migration):
    """One test in progress."""

    def __init__(self, test, options, programs, scratch, flavor):
        self.test = test
        self.options = options
        self.scratch = pathlib.Path(scratch)
        self.timeout = test.timeout or options.timeout
        self.place = flavors.place(flavor, scratch, self.timeout, programs / "container")
        self.work = self.place.work
        self.program = programs / test.executable if test.source else None
        self.outfile = self.work / "out"
        self.times = {}
        self.root = 0
        self.keeper = None  # the process that restored the root as its child (--sibling)
        self.real = None
        self.not_ours = set()  # processes that have nothing to do with the test
        self.passed = []
        self.damage_found = []
        self.damage_counts = {"not encoded": 0, "refused": 0, "restored": 0}

    def run(self):
        """Result as a plain value."""
        began = time.monotonic()
        self.program = self.place.prepare(self.program)
        if self.options.damage:
            kernel.unshare(kernel.CLONE_NEWIPC)
            damage.read_only_but(self.scratch)
        try:
            for number in range(self.options.kill_target if not self.test.real else 0):
                self._start()
                self._killed_target(number)
            self._start()
            if not self.options.no_checkpoint:
                self._checkpoints()
            self._finish()
            result = {"status": "pass", "reason": ""}
            if self.options.damage:
                result["note"] = ", ".join(f"{count} {what}" for what, count in self.damage_counts.items())
        except Failure as error:
            result = {"status": "fail", "reason": str(error)}
        except subprocess.TimeoutExpired as error:
            result = {"status": "fail", "reason": f"{' '.join(map(str, error.cmd[:2]))} took longer than {error.timeout:g} s"}
        return result | {"seconds": time.monotonic() - began, "times": self.times}

    # --- the program

    def _start(self):
        if self.test.real:
            self.real = self.test.real(self.work, self.timeout)
            self.root = self.real.start()
            return
        pidfile = self.work / "pid"
        command = self.place.command(self.program, pidfile, self.outfile) + ["--filename", "test.file", "--dirname", "test.dir"]
        log = open(self.scratch / "start.log", "wb")
        with log:
            done = subprocess.run(command + self.test.args, cwd=self.work, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  timeout=self.timeout, env=os.environ | self.test.env)
        if done.returncode:
            raise Failure(f"set-up failed with status {done.returncode}: {self._words()}")
        self.root = int(pidfile.read_text())
        pidfile.unlink()

    def _words(self):
        text = ""
        for path in (self.scratch / "start.log", self.outfile):
            if path.exists():
                text += path.read_text(errors="replace")
        return text.strip() or "(no words)"

    def _finish(self):
        if self.real:
            self.real.verify(self.root)
            return
        try:
            os.kill(self.root, signal.SIGTERM)
        except ProcessLookupError:
            raise Failure(f"the program is gone: {self._words()}") from None
        status = self._wait_root()
        lines = self.outfile.read_text(errors="replace").strip().split("\n")
        if status or lines[-1:] != ["PASS"] or any("FAIL" in line for line in lines):
            raise Failure(f"wait status {status:#x}: {self._words()}")

    def _wait_root(self):
        if self.keeper:
            try:
                self.keeper.wait(self.timeout)
            except subprocess.TimeoutExpired:
                raise Failure(f"did not end after SIGTERM: {self._words()}") from None
            return self.keeper.returncode
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.root, os.WNOHANG)
            if pid:
                return status
            time.sleep(0.002)
        raise Failure(f"did not end after SIGTERM: {self._words()}{self._where()}")

    def _where(self):
        """Where every thread of the tree hangs, for the report."""
        lines = []
        for pid in [self.root] + isolate.descendants(self.root):
            try:
                for tid in os.listdir(f"/proc/{pid}/task"):
                    wchan = pathlib.Path(f"/proc/{pid}/task/{tid}/wchan").read_text()
                    call = pathlib.Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()[0]
                    lines.append(f"\n  task {tid}: syscall {call}, {wchan}")
            except OSError:
                continue
        return "".join(lines)

    def _json_of(self, path):
        """An image file, decoded."""
        done = subprocess.run([self.options.criu, "crit", "decode", "-i", path], capture_output=True, check=True, timeout=self.timeout)
        return json.loads(done.stdout)

    # --- checkpoints

    def _checkpoints(self):
        for round_ in range(self.options.iters):
            if self.real:
                self.real.before_dump(self.root)
            before = self._observe()
            files = self._listing()
            if self.test.expect_dump_fail:
                self._refused_dump(round_, before)
                return
            if self.options.kill_dump and "noleave" not in self.test.flags:
                self._killed_dumps(round_, before)
            if self.options.walk:
                self._walk_dumps(before)
            if self.options.obstacles:
                self._obstructed_dumps(round_, before)
            if (self.options.leave_running or self.options.dump_only) and "noleave" not in self.test.flags:
                self._decode(self._dump(f"{round_}r", ["-R"]))
                self._compare(before, self._observe(), "after dump --leave-running")
                if self.options.dump_only:
                    continue
                if self.real:
                    self.real.before_dump(self.root)
                    before = self._observe()
                    files = self._listing()
            for number in range(self.real.rehearsals if self.real else 0):
                images = self._dump(f"{round_}-{number}", ["-R"])
                self._decode(images)
                shutil.rmtree(images)
                self.real.after_rehearsal(self.root)
            earlier = self._earlier_images(round_)
            images = self._dump(str(round_), ["-s"] if self._stopped() else [], earlier)
            self._expect_dead(before)
            self._decode(images)
            if self.real:
                self.real.edit_images(self.root, self._json_of, images)
                self.real.while_dead()
            if self.test.while_dead:
                self._refused_restore(images)
            if self.options.walk:
                self._walk_restores(images, before)
            if self.options.damage:
                self._damaged_restores(images, before)
            if self.options.kill_restore and self._killed_restores(images, before):
                continue
            self._restore(round_, images, before, files)
            if self.real:
                self.real.after_restore(self.root)

    def _stopped(self):
        return self.options.stopped and not {"nostop", "noleave"} & set(self.test.flags)

    def _criu(self, action, images, log, options, runner=None, fault=""):
        tool = self.options.restorer if action == "restore" and self.options.restorer else self.options.criu
        stream = images / "stream" if self.options.stream and action != "pre-dump" else None
        where = ["-D", images] if not stream else ["-D", "-" if action == "dump" else stream, "-W", images]
        command = [tool, action, *where, "-o", log, "-v4"] + self.test.opts + options
        command += self.place.restore_options if action == "restore" else []
        command += self.options.restore_option if action == "restore" else self.options.dump_option
        began = time.monotonic()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CRIU")}
        if fault:
            environment["CRIU_STRIKE"] = fault
        with open(self.scratch / f"{log}.output", "wb") as output, open(stream if stream and action == "dump" else os.devnull, "wb") as into:
            run = runner or subprocess.run
            done = run(command, cwd=self.work, stdin=subprocess.DEVNULL, stdout=into if stream and action == "dump" else output, stderr=output,
                       timeout=self.timeout, env=environment, pass_fds=[*(self.real.passed if self.real else ()), *self.passed])
        self.times[action] = self.times.get(action, 0) + time.monotonic() - began
        return done.returncode

    def _log_tail(self, images, log):
        lines = []
        for path in (images / log, self.scratch / f"{log}.output"):
            if path.exists():
                lines += path.read_text(errors="replace").strip().split("\n")
        errors = [line for line in lines if re.search(r"Error|Hint|Bug|terminate called", line)]
        return "\n  ".join(list(dict.fromkeys(errors[-8:] or lines[-5:])))

    def _earlier_images(self, round_):
        """The folder that the dump builds on: the last of the pre-dumps and snapshots asked for."""
        earlier = None
        for number in range(self.options.pre):
            earlier = self._dump(f"{round_}p{number}", [], earlier, "pre-dump")
            time.sleep(0.05)
        if not {"noleave"} & set(self.test.flags):
            for number in range(self.options.snaps):
                earlier = self._dump(f"{round_}s{number}", ["-R", "--track-mem"], earlier)
                time.sleep(0.05)
        return earlier

    def _dump(self, name, options, earlier=None, action="dump"):
        images = self.scratch / f"images-{name}"
        images.mkdir()
        log = "dump.log"
        options = options + (self.real.dump_options() if self.real else [])
        if self.options.dedup:
            options = options + ["--auto-dedup"]
        if self.options.snapshot and "-R" in options:
            options = options + ["--snapshot", self.options.snapshot]
        if self.options.compress:
            options = options + [f"--compress={self.options.compress}"]
        if earlier:
            options = options + ["--prev-images-dir", f"../{earlier.name}"]

        def run(more=()):
            return self._criu(action, images, log, ["-t", str(self.root)] + self.test.dopts + options + list(more))

        status = self._dump_by_server(images, run) if self.options.page_server else run()
        if status:
            raise Failure(f"{action} exited with {status}:\n  {self._log_tail(images, log)}")
        if "-s" in options:
            self._expect_stopped_then_kill()
        if self.options.stream and action == "dump":
            self._unpack(images)
        return images

    def _unpack(self, images):
        """What looks at images wants a folder of them."""
        unpacked = self.scratch / f"{images.name}-unpacked"
        done = subprocess.run([self.options.criu, "merge", "-D", images / "stream", "--into", unpacked], capture_output=True, text=True, timeout=self.timeout)
        if done.returncode:
            raise Failure(f"the stream cannot be unpacked: {done.stderr}")
        for path in unpacked.iterdir():
            path.rename(images / path.name)
        unpacked.rmdir()

    def _expect_stopped_then_kill(self):
        """dump --leave-stopped: every task must be stopped; then it has served."""
        tree = [self.root] + isolate.descendants(self.root)
        for pid in tree:
            for tid in os.listdir(f"/proc/{pid}/task"):
                state = state_of(tid)
                if state not in "TZ":
                    raise Failure(f"task {tid} is in state {state} after dump --leave-stopped")
        for pid in tree:
            os.kill(pid, signal.SIGKILL)

    def _expect_dead(self, before):
        deadline = time.monotonic() + self.timeout
        for pid in observe.pids_of(before):
            while os.path.exists(f"/proc/{pid}"):
                # The init of a pid namespace ends when all others in it are collected.
                for each in observe.pids_of(before):
                    try:
                        os.waitpid(each, os.WNOHANG)
                    except ChildProcessError:
                        pass
                if time.monotonic() > deadline:
                    raise Failure(f"task {pid} is still there after the dump, state {state_of(pid)}")
                time.sleep(0.001)
        # Tasks that came after the observation have ended too; their pids must be free.
        for pid in isolate.descendants(os.getpid()):
            if state_of(pid) == "Z" and pid not in self._own():
                try:
                    os.waitpid(pid, 0)
                except ChildProcessError:
                    pass
        strays = self._strays()
        if strays:
            raise Failure(f"the dump has left processes: {strays}")

    def _strays(self):
        """Living tasks below us that are not the runner's own."""
        own = self._own()
        return [pid for pid in isolate.descendants(os.getpid()) if pid not in own and state_of(pid) not in ("Z", "gone")]

    def _own(self):
        """Processes beside the tree that belong there."""
        servers = [pid for pid in isolate.descendants(os.getpid()) if self.test.servers and name_of(pid) in self.test.servers]
        trackers = [pid for pid in isolate.descendants(os.getpid()) if name_of(pid) == "criu-tracker"]
        return {self.keeper.pid if self.keeper else 0, *self.not_ours, *trackers, *servers, *(self.real.clients() if self.real else ())}

    def _decode(self, images):
        if self.options.no_crit:
            return
        helper = pathlib.Path(__file__).with_name("decode.py")
        # In Python, and slow with ten thousands of mappings: a busy machine must not make that a failure.
        done = subprocess.run(["/usr/bin/python3", helper, images], capture_output=True, text=True, timeout=self.timeout * 5,
                              check=False)
        if done.returncode:
            raise Failure("images do not decode with Debian's crit:\n" + done.stdout + done.stderr)

    def _restore(self, round_, images, before, files):
        pidfile = self.scratch / f"restored-{round_}"
        log = "restore.log"
        stop = self._stopped()
        options = ["-d", "--pidfile", pidfile] + self.test.ropts + (["-s"] if stop else [])
        sibling = self.options.sibling and "nosibling" not in self.test.flags
        if sibling:
            options.append("-S")
        options += self.real.restore_options() if self.real else []
        lazily = self.options.lazy_pages or self.options.remote_lazy_pages
        daemons = self._start_lazy(images) if lazily else []
        status = self._criu("restore", images, log, options + (["--lazy-pages"] if lazily else []),
                            self._through_keeper if sibling else None)
        if status:
            raise Failure(f"restore exited with {status}:\n  {self._log_tail(images, log)}")
        self._end_lazy(daemons, images)
        restored = int(pidfile.read_text())
        if restored != self.root and self.place.name == "h":
            raise Failure(f"pid file says {restored} instead of {self.root}")
        self.root = restored
        if stop:
            self._expect_stopped_then_continue(before)
        after = self._observe()
        parent = parent_of(self.root)
        if sibling and parent != self.keeper.pid:
            raise Failure(f"parent of the root is {parent}, not criu's parent {self.keeper.pid}")
        self._compare(before, after, "after restore", sibling)
        if not self.real and self._listing() != files:
            raise Failure(f"files differ after restore: {sorted(self._listing() ^ files)}")

    def _through_keeper(self, command, **settings):
        """criu as the child of a process of our own, which then is what --restore-sibling makes the parent."""
        settings.pop("timeout")
        settings.pop("pass_fds")
        helper = pathlib.Path(__file__).with_name("keeper.py")
        reader, writer = os.pipe()
        self.keeper = subprocess.Popen(["/usr/bin/python3", helper, str(writer)] + command, pass_fds=[writer], **settings)
        os.close(writer)
        with os.fdopen(reader) as file:
            text = file.readline()
        return subprocess.CompletedProcess(command, int(text or 1))

    def _expect_stopped_then_continue(self, before):
        tree = [self.root] + isolate.descendants(self.root)
        for pid in tree:
            state = state_of(pid)
            if state not in "TZ":
                raise Failure(f"task {pid} is in state {state} after restore --leave-stopped")
        for pid in tree:
            inner = self.place.inner(pid)
            if before.get(f"{inner}.threads.{inner}.status.State", "alive") == "alive":
                os.kill(pid, signal.SIGCONT)

    def _observe(self):
        """What the tree looks like now."""
        return self.place.observe(self.root, self.real.skip_observe if self.real else self.test.skip_observe)

    def _compare(self, before, after, when, sibling=False, patience=1.0):
        skip = self.test.skip_observe + self.options.ignore + self.place.differing()
        if self.real:
            skip += self.real.skip_observe
        if sibling or self.keeper:
            skip += [f"{self.root}.*status.PPid"]
        lines = observe.differences(before, after, skip)
        # A program that just woke up may be between two states; look again before judging.
        for _ in range(int(patience / 0.05)):
            if not lines:
                return
            time.sleep(0.05)
            lines = observe.differences(before, self._observe(), skip)
        if lines:
            raise Failure(f"{when}, {len(lines)} facts differ:\n  " + "\n  ".join(lines[:20]))

    def _listing(self):
        return {str(path.relative_to(self.work)) for path in self.work.rglob("*")}


def run(test, options, programs, scratch, flavor):
    """Entry point for isolate.start()."""
    result = Cycle(test, options, programs, scratch, flavor).run()
    if result["status"] == "pass":
        shutil.rmtree(scratch, ignore_errors=True)
    return result
