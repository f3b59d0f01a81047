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
