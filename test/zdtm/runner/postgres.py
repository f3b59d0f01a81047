"""PostgreSQL: shared memory of both kinds, a server of many processes, clients that keep their connections."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from . import cycle
from .realprograms import Driver

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")


class Session:
    """One psql, asked line by line."""

    def __init__(self, port):
        self.process = subprocess.Popen(["psql", "-XAtq", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "postgres"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env={"PATH": os.environ["PATH"]})

    def ask(self, statement):
        """Lines of the answer."""
        self.process.stdin.write(f"{statement}\n\\echo ==end\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == "==end\n":
                return lines
            lines.append(line.rstrip("\n"))
        raise cycle.Failure(f"psql has lost its connection in {statement!r}: {lines}")

    def close(self):
        """Ends psql."""
        self.process.communicate("\\q\n", timeout=20)


class Postgres(Driver):
    """PostgreSQL with an open transaction, a cursor, LISTEN, and pgbench at work."""

    needs = [f"command:{BIN / 'postgres'}", "command:psql", "command:pgbench", "command:setpriv", "tcp_repair"]
    opts = ["--tcp-established", "--file-locks"]
    # Backends come and go, and work on.
    skip_observe = [".*"]
    load_seconds = 4
    home = None
    deaths = 0

    def start(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="zdtm-postgres-"))
        shutil.chown(self.home, "postgres", "postgres")
        data, port = self.home / "data", self.free_port()
        as_postgres = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
        subprocess.run([*as_postgres, BIN / "initdb", "-D", data, "-A", "trust", "-N"], check=True, timeout=self.timeout,
                       stdout=subprocess.DEVNULL, cwd=self.home)
        root = self.launch([*as_postgres, str(BIN / "postgres"), "-D", str(data), "-k", str(self.home), "-p", str(port),
                            "-c", "listen_addresses=127.0.0.1"])
        server = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
        self.wait_for(lambda: subprocess.run([BIN / "pg_isready", *server], stdout=subprocess.DEVNULL, check=False).returncode == 0,
                      "PostgreSQL")
        subprocess.run(["pgbench", "-iq", *server, "postgres"], check=True, timeout=self.timeout, capture_output=True)
        self.writer, self.listener, self.other = Session(port), Session(port), Session(port)
        self.listener.ask("LISTEN news;")
        self.writer.ask("CREATE TABLE t (n int); INSERT INTO t VALUES (1);")
        self.writer.ask("BEGIN; INSERT INTO t VALUES (2); DECLARE c CURSOR FOR SELECT generate_series(1, 100000);")
        self.fetched = 0
        self.fetch()
        self.load = subprocess.Popen(["pgbench", "-n", "-c", "3", "-T", str(self.load_seconds), *server, "postgres"],
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.wait_for(lambda: self.other.ask("SELECT count(*) > 20 FROM pgbench_history;") == ["t"], "the load")
        return root

    def clients(self):
        return [self.load.pid, *(session.process.pid for session in (self.writer, self.listener, self.other))]

    def fetch(self):
        """The next rows of the open cursor."""
        rows = self.writer.ask("FETCH 5 FROM c;")
        self.expect(rows, [str(self.fetched + i) for i in range(1, 6)], "FETCH")
        self.fetched += 5

    def before_dump(self, root):
        self.fetch()

    def while_dead(self):
        """Every second restore finds the System V segment, the others create it (with the id in postmaster.pid)."""
        self.deaths += 1
        if self.deaths % 2:
            segment = (self.home / "data/postmaster.pid").read_text().split("\n")[6].split()[1]
            subprocess.run(["ipcrm", "-m", segment], check=True)

    def after_restore(self, root):
        self.fetch()
        self.expect(self.other.ask("SELECT n FROM t ORDER BY n;"), ["1"], "another session sees")
        self.other.ask("NOTIFY news, 'hello';")
        if not any("hello" in line for line in self.listener.ask("SELECT 1;")):
            raise cycle.Failure("the notification is lost")

    def verify(self, root):
        self.writer.ask("INSERT INTO t VALUES (3); COMMIT;")
        self.expect(self.other.ask("SELECT n FROM t ORDER BY n;"), ["1", "2", "3"], "after COMMIT")
        report = self.load.communicate(timeout=self.timeout)[0]
        if self.load.returncode or "number of failed transactions: 0 " not in report:
            raise cycle.Failure(f"pgbench: {report}")
        # What was committed is there once, in all tables that a transaction changes.
        done = int(report.split("number of transactions actually processed: ")[1].split()[0])
        self.expect(self.other.ask("SELECT count(*) FROM pgbench_history;"), [str(done)], "transactions")
        self.expect(self.other.ask("SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history);"),
                    ["t"], "balance")
        for session in (self.writer, self.listener, self.other):
            session.close()
        # Begins backends anew: the postmaster still forks, and runs to its end.
        self.end(root)
        shutil.rmtree(self.home)
