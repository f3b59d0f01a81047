"""What may go wrong around a checkpoint, one method each: refusals, killed tools, killed targets, full disks.

The part of a cycle (see cycle.py) that checks that the tool never harms and never does half of something.
"""

import os
import pathlib
import re
import shutil
import signal
import time

from . import accidents, isolate, kernel


class Failure(Exception):
    """The test failed; the text says how."""


def name_of(pid):
    """What the process is called; nothing if it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def state_of(tid):
    """State letter of a task, or "gone"."""
    try:
        text = pathlib.Path(f"/proc/{tid}/stat").read_text(errors="replace")
    except OSError:
        return "gone"
    return text[text.rindex(")") + 2]


def parent_of(pid):
    """Its parent's pid."""
    text = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return int(text[text.rindex(")") + 2 :].split()[1])


class Hostility:
    """Mixed into Cycle, whose attributes and helpers it uses."""

    def _refused_dump(self, round_, before):
        images = self.scratch / f"images-{round_}"
        images.mkdir()
        status = self._criu("dump", images, "dump.log", ["-t", str(self.root)] + self.test.dopts)
        if status == 0:
            raise Failure("dump succeeded although it has to refuse")
        text = self._log_tail(images, "dump.log")
        if status < 0 or not re.search(self.test.expect_dump_fail, text):
            raise Failure(f"dump exited with {status} and does not say '{self.test.expect_dump_fail}':\n  {text}")
        if self.test.check_refuses and self._criu("check", images, "check.log", ["-t", str(self.root)] + self.test.dopts) == 0:
            raise Failure("check --tree sees nothing that would prevent a dump")
        self._compare(before, self._observe(), "after the refused dump")

    def _gone_soon(self, before):
        """True if nothing of the tree is left within two seconds."""
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            if not self._strays():
                self._expect_dead(before)
                return True
            self._collect()
            time.sleep(0.01)
        return False

    @staticmethod
    def _collect():
        """The init of a pid namespace ends when all others in it are collected, also those that have become ours."""
        for pid in isolate.descendants(os.getpid()):
            try:
                if state_of(pid) == "Z":
                    os.waitpid(pid, os.WNOHANG)
            except (ChildProcessError, FileNotFoundError, ProcessLookupError):
                pass

    def _refused_restore(self, images):
        """The world has changed: restore must say so, by name, and leave nothing."""
        with accidents.happen(self.test.while_dead, self.work, images, self.place.inner_root(self.root), self.options.criu, self.place.inner_work):
            files = self._listing()
            status = self._criu("restore", images, "refused.log", ["-d"] + self.test.ropts)
            text = self._log_tail(images, "refused.log")
            if status == 0:
                raise Failure("restore succeeded although it has to refuse")
            if status < 0 or not re.search(self.test.expect_restore_fail, text):
                raise Failure(f"restore exited with {status} and does not say '{self.test.expect_restore_fail}':\n  {text}")
            if self._listing() != files:
                raise Failure(f"the refused restore has left {sorted(self._listing() ^ files)}")
        strays = self._strays()
        if strays:
            raise Failure(f"the refused restore has left processes {strays}")

    def _killed_dumps(self, round_, before):
        """SIGKILL to the tool at times spread over a whole dump: the tree goes on as it was."""
        began = time.monotonic()
        self._dump(f"{round_}-whole", ["-R"])
        whole = time.monotonic() - began
        for number in range(self.options.kill_dump):
            images = self.scratch / f"images-{round_}-killed-{number}"
            images.mkdir()
            options = ["-t", str(self.root), "-R"] + self.test.dopts
            self._criu("dump", images, "dump.log", options, accidents.kill_after(whole * (number + 0.5) / self.options.kill_dump))
            self._compare(before, self._observe(), f"after a dump that was killed ({number} of {self.options.kill_dump})")
            shutil.rmtree(images)

    def _killed_target(self, number):
        """The root is killed at some time of a dump: the tool says so and ends."""
        images = self.scratch / f"images-target-{number}"
        images.mkdir()
        killing = accidents.victim_dies_after(self.root, 0.03 * (number + 0.5) / self.options.kill_target)
        status = self._criu("dump", images, "dump.log", ["-t", str(self.root), "-R"] + self.test.dopts, killing)
        if status not in (0, 1):
            raise Failure(f"dump of a target that died exits with {status}:\n  {self._log_tail(images, 'dump.log')}")
        isolate.end_strays()
        shutil.rmtree(images)
        # What the program has mounted there would go with it if it ended by itself.
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()[::-1]:
            if line.split()[4].startswith(f"{self.work}/"):
                kernel.unmount(line.split()[4])
        shutil.rmtree(self.work)
        self.work.mkdir()

    def _obstructed_dumps(self, round_, before):
        """Dumps that cannot succeed: each says so with its exit status and leaves the tree as it was."""
        target = ["-t", str(self.root)] + self.test.dopts
        nowhere = self.scratch / "nowhere"
        if self._criu("dump", nowhere, "dump.log", target) != 1:
            raise Failure("dump into a folder that does not exist does not exit with 1")
        self._compare(before, self._observe(), "after a dump into a folder that does not exist")
        for kilobytes in (8, 64, 200):
            with accidents.small_disk(self.scratch / "small", kilobytes) as disk:
                status = self._criu("dump", disk, "dump.log", target + ["-R"])
                if status not in (0, 1):
                    raise Failure(f"dump into {kilobytes} kB exits with {status}")
                self._compare(before, self._observe(), f"after a dump into {kilobytes} kB")
        began = time.monotonic()
        shutil.rmtree(self._dump(f"{round_}-timed", ["-R"]))
        whole = time.monotonic() - began
        for number in range(3):
            images = self.scratch / f"images-{round_}-ended-{number}"
            images.mkdir()
            ending = accidents.kill_after(whole * (number + 0.5) / 3, signal.SIGTERM)
            self._criu("dump", images, "dump.log", target + ["-R"], ending)
            self._compare(before, self._observe(), f"after a dump that SIGTERM has ended ({number} of 3)")
            shutil.rmtree(images)

    def _killed_restores(self, images, before):
        """The same for restores: nothing half restored stays. True if one has come to its end before it was killed."""
        for number in range(self.options.kill_restore):
            limit = self.times["dump"] * (number + 0.5) / self.options.kill_restore
            done = self._criu("restore", images, "killed.log", ["-d"] + self.test.ropts, accidents.kill_after(limit))
            if done != 0 and self._gone_soon(before):
                continue
            # Past the point where the tree was let go it has to be whole.
            self._compare(before, self._observe(), f"after a restore that was killed ({number} of {self.options.kill_restore})")
            return True
        return False

    def _steps(self, action, options, images):
        """Every step that the tool takes, source:line, in order."""
        listing = self.scratch / f"{action}-steps"
        status = self._criu(action, images, "steps.log", options, fault=f"list:{listing}")
        if status:
            raise Failure(f"{action} exited with {status}:\n  {self._log_tail(images, 'steps.log')}")
        if not listing.exists():
            raise Failure("no steps were listed: is this tool one that knows CRIU_STRIKE?")
        steps = list(dict.fromkeys(listing.read_text().split()))
        return steps[:: self.options.walk]

    def _walk_dumps(self, before):
        """The tool fails, or is killed, at every step of a dump: the tree goes on as it was, no half checkpoint stays."""
        images = self.scratch / "images-walk"
        options = ["-t", str(self.root), "-R"] + self.test.dopts
        images.mkdir()
        for step in self._steps("dump", options, images):
            for how in ("fail", "kill"):
                shutil.rmtree(images)
                images.mkdir()
                status = self._criu("dump", images, "dump.log", options, fault=f"{how}:{step}")
                # An inventory says that the images are complete, whatever went wrong behind it.
                if (images / "inventory.img").exists() and self._criu("restore", images, "plan.log", ["--print-plan"]):
                    raise Failure(f"{how} at {step}: exits with {status} and leaves an inventory, but half of the images")
                if how == "fail" and status not in (0, 1):
                    raise Failure(f"{how} at {step}: exits with {status}:\n  {self._log_tail(images, 'dump.log')}")
                self._compare(before, self._observe(), f"{how} at {step}")
        shutil.rmtree(images)

    def _walk_restores(self, images, before):
        """The same for restores: nothing of a tree stays, or all of it."""
        options = ["-d"] + self.test.ropts
        steps = self._steps("restore", options, images)
        self._end_tree(before)
        files = self._listing()
        for step in steps:
            for how in ("fail", "kill"):
                status = self._criu("restore", images, "walk.log", options, fault=f"{how}:{step}")
                if status == 0:
                    self._compare(before, self._observe(), f"{how} at {step}: succeeds, but")
                    self._end_tree(before)
                elif not self._gone_soon(before):
                    # Killed past the point where the tree was let go.
                    self._compare(before, self._observe(), f"{how} at {step}: the tree is there, but")
                    self._end_tree(before)
                if self._listing() != files:
                    raise Failure(f"{how} at {step}: files differ: {sorted(self._listing() ^ files)}")

    def _end_tree(self, before):
        isolate.end_strays()
        self._expect_dead(before)
