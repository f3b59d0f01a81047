"""Programs under sanitizers, whose shadow memory fills most of the address space."""

import subprocess

from .realprograms import SCRIPTS, Script


class Sanitized(Script):
    """A program with threads and a child, built with -fsanitize=address."""

    needs = ["command:gcc"]
    kind = "address"
    # Threads at work.
    skip_observe = ["maps", "threads", "fds", "status\\..*", "stat\\..*"]

    def start(self):
        program = self.work / "program"
        subprocess.run(["gcc", "-O1", "-g0", f"-fsanitize={self.kind}", SCRIPTS / "sanitized.c", "-o", program, "-lpthread"],
                       check=True, timeout=self.timeout)
        self.command = [program]
        return super().start()


class ThreadSanitizer(Sanitized):
    """The same with -fsanitize=thread: more mapped than half of the address space."""

    kind = "thread"
