"""Memory that goes another way than into the images: by a page server, or after the restore."""

import os
import socket
import subprocess

from .hostility import Failure


class Migration:
    """The other end of a dump or a restore, for Cycle."""

    def _start_end(self, log, command, fds):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CRIU")}
        with open(self.scratch / f"{log}.output", "wb") as output:
            process = subprocess.Popen([self.options.criu] + [str(word) for word in command] + ["-o", log, "-v4"], stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output, env=environment, pass_fds=fds, cwd=self.work)
        self.not_ours.add(process.pid)
        return process

    def _end_of(self, process, images, log):
        """It ends by itself, and well."""
        status = process.wait(self.timeout)
        self.not_ours.discard(process.pid)
        if status:
            raise Failure(f"{process.args[1]} ended with {status}:\n  {self._log_tail(images, log)}")

    def _dump_by_server(self, images, run):
        """`run(options)` dumps; its pages come into the same folder over a socket."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            server = self._start_end("server.log", ["page-server", "-D", images, "--ps-socket", theirs.fileno()], [theirs.fileno()])
            theirs.close()
            self.passed = [ours.fileno()]
            status = run(["--page-server", "--ps-socket", str(ours.fileno())])
            self.passed = []
            ours.close()
            if status == 0:
                self._end_of(server, images, "server.log")
            else:
                server.wait(self.timeout)
            self.not_ours.discard(server.pid)
        return status

    def _start_lazy(self, images):
        """The daemon, to which a restore can connect."""
        ends, fds, more = [], [], []
        if self.options.remote_lazy_pages:
            ours, theirs = socket.socketpair()
            with theirs:
                ends.append((self._start_end("images.log", ["page-server", "--lazy-pages", "-D", images, "--ps-socket", theirs.fileno()],
                                             [theirs.fileno()]), "images.log"))
            fds, more = [ours.fileno()], ["--page-server", "--ps-socket", ours.fileno()]
        reader, writer = os.pipe()
        ends.append((self._start_end("lazy.log", ["lazy-pages", "-D", images, "--status-fd", writer] + more, [writer] + fds), "lazy.log"))
        os.close(writer)
        for fd in fds:
            os.close(socket.socket(fileno=fd).detach())
        ready = os.read(reader, 1)
        os.close(reader)
        if ready != b"\0":
            raise Failure(f"the daemon is not ready:\n  {self._log_tail(images, 'lazy.log')}")
        return ends

    def _end_lazy(self, ends, images):
        """All memory is there."""
        for process, log in reversed(ends):
            self._end_of(process, images, log)
