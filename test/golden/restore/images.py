"""Golden images made ready for this machine: copied, and edited with our crit."""

import json
import shutil
import struct
import subprocess

OLD_HOME = "/srv/golden"


class Images:
    """A copy of a golden directory."""

    def __init__(self, criu, golden, folder):
        self.criu, self.golden, self.folder = criu, golden, folder
        folder.mkdir()
        for image in golden.iterdir():
            if image.is_file():
                shutil.copy(image, folder / image.name)

    def decode(self, name):
        """The image as crit shows it to programs: {"magic": ..., "entries": [...]}."""
        return decode(self.criu, self.folder / name)

    def edit(self, name, change):
        """Replaces the entries of an image by change(entries)."""
        image = self.decode(name)
        image["entries"] = change(image["entries"])
        subprocess.run([self.criu, "crit", "encode", "-o", str(self.folder / name)], input=json.dumps(image).encode(),
                       check=True)

    def build_id(self):
        """That of the program which the images were made of, in hexadecimal."""
        program = self.decode("files.img")["entries"][0]["reg"]
        return b"".join(struct.pack("<I", word) for word in program["build_id"]).hex()

    def move(self, home):
        """Puts everything that lay in the old home to the new one."""
        self.edit("files.img", lambda entries: json.loads(json.dumps(entries).replace(OLD_HOME, str(home))))

    def renumber(self):
        """Descriptors get the numbers of the first set, which was made where one more had been inherited: 10. The
        program itself has chosen 20."""
        def higher(entry, key):
            old = entry[key]
            return {**entry, key: old + (old >= 10) + (old == 19) if old != 20 else 20}

        for image in sorted(self.folder.glob("fdinfo-*.img")):
            self.edit(image.name, lambda entries: [higher(entry, "fd") for entry in entries])
        self.edit("filelocks.img", lambda entries: [higher(entry, "fd") for entry in entries])
        self.edit("files.img", lambda entries: [
            {**entry, "epfd": {**entry["epfd"], "tfd": [higher(target, "tfd") for target in entry["epfd"]["tfd"]]}}
            if "epfd" in entry else entry for entry in entries])

    def port(self, number):
        """The port that a socket of the root task is bound to."""
        file_id = next(entry["id"] for entry in self.decode("fdinfo-2.img")["entries"] if entry["fd"] == number)
        return next(entry["isk"]["src_port"] for entry in self.decode("files.img")["entries"] if entry["id"] == file_id)

    def numbers(self):
        """Descriptors of the root task's table."""
        return [entry["fd"] for entry in self.decode("fdinfo-2.img")["entries"]]

    def drop(self, kinds):
        """Takes all descriptors of these kinds out; returns their numbers."""
        numbers = []

        def without(entries):
            numbers.extend(entry["fd"] for entry in entries if entry["type"] in kinds)
            return [entry for entry in entries if entry["type"] not in kinds]

        for image in sorted(self.folder.glob("fdinfo-*.img")):
            self.edit(image.name, without)
        self.edit("files.img", lambda entries: [entry for entry in entries if entry["type"] not in kinds])
        return numbers


def decode(criu, image):
    """One image as a value."""
    return json.loads(subprocess.check_output([criu, "crit", "decode", "-i", str(image)]))
