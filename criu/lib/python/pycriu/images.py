"""Images as Python values, in the form of crit's JSON: {"magic": ..., "entries": [...]}. The program crit does the work."""
import json
import subprocess

program = ["crit"]


def loads(data, pretty=False, no_payload=False):
    """The image in these bytes. Without payload only people's form exists, as with crit."""
    if no_payload:
        return json.loads(_run(["show", "--nopl", "/dev/stdin"], data))
    return json.loads(_run(["decode", *(["--pretty"] if pretty else [])], data))


def load(f, pretty=False, no_payload=False):
    """The image in this file."""
    return loads(f.read(), pretty, no_payload)


def dumps(img):
    """The bytes of an image."""
    return _run(["encode"], json.dumps(img).encode())


def dump(img, f):
    """Writes an image to this file."""
    f.write(dumps(img))


def info(f):
    """What the image in this file is: its magic, the number of its entries."""
    return json.loads(_run(["info", "/dev/stdin"], f.read()))


class MagicException(Exception):
    """The bytes are no image; `magic` says more."""

    def __init__(self, magic):
        super().__init__(magic)
        self.magic = magic


def _run(arguments, data):
    done = subprocess.run([*program, *arguments], input=data, capture_output=True, check=False)
    if done.returncode:
        raise MagicException(done.stderr.decode(errors="replace").strip())
    return done.stdout
