"""A program whose state is saved by a plugin (-L): test/plugin/witness.c, which is built here, against our header."""

import socket
import subprocess

from . import cycle
from .realprograms import SCRIPTS, Driver

ROOT = SCRIPTS.parents[1]


class Plugin(Driver):
    """A device and a connection that only a plugin can save; it is told of all moments, and needed by the restore."""

    needs = ["command:python3", "command:cc", "/dev/fuse"]
    skip_observe = Driver.skip_observe + ["net.unix"]

    def start(self):
        self.plugins = self.work / "plugins"
        self.plugins.mkdir()
        subprocess.run(["cc", "-shared", "-fPIC", "-I", ROOT / "include", "-o", self.plugins / "witness.so",
                        ROOT / "test" / "plugin" / "witness.c"], check=True)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(self.work / "server"))
        self.server.listen()
        root = self.launch(["/usr/bin/python3", SCRIPTS / "plugged.py", str(self.work / "server")])
        self.accept()
        self.ask_program(b"before\n")
        return root

    def accept(self):
        """The program connects at its start, the plugin at each restore."""
        self.server.settimeout(self.timeout)
        self.client, _ = self.server.accept()
        self.client.settimeout(self.timeout)

    def ask_program(self, line):
        """It answers with the number of its device."""
        self.client.sendall(line)
        self.expect(self.receive(self.client), b"10:229 " + line, "the program's answer")

    def dump_options(self):
        return ["-L", str(self.plugins)]

    restore_options = dump_options

    def edit_images(self, root, decode, images):
        inventory = decode(images / "inventory.img")["entries"][0]
        self.expect(inventory["plugins_entry"].get("plugins"), ["witness"], "plugins in the inventory")
        self.witness, self.seen = images / "witness.txt", ["start 0", f"pause {root}", f"checkpoint {root}", f"late {root}"]

    def after_restore(self, root):
        self.accept()
        self.ask_program(b"after\n")
        moments = self.witness.read_text().split("\n")[:-1]
        restore = moments[moments.index("start 2"):]
        self.expect(moments[:len(self.seen)], self.seen, "moments of the dump")
        self.expect(restore[:4], ["start 2", "init 0", "forked 0", f"resume {root}"], "moments of the restore")
        if "failed" in " ".join(moments):
            raise cycle.Failure(f"the plugin was told of a failure: {moments}")

    def verify(self, root):
        self.ask_program(b"at the end\n")
        self.end(root)
