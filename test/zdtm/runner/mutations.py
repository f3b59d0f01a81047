"""Damage to images: what a stranger, a bad disk or a mistake could make of a checkpoint.

An image is decoded with crit, one thing in it is changed, and it is encoded again: such images are well-formed and say
something impossible. Others are damaged as bytes or as files. A Mutator draws both from one seed, so that a case can be
repeated by its number. Fields are chosen by their place in the message and not by how often they occur: of the hundred
numbers of a register set one is as good as another.
"""

import copy
import json
import random
import re

from .schema import Schema

NUMBERS = [0, 1, -1, 2, 7, 255, 4095, 4096, 65535, 1 << 20, (1 << 30) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32,
           1 << 46, 0x7FFFFFFFF000, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 4096]
WORDS = ["", "/", ".", "..", "relative", "../" * 40 + "etc/hosts", "/" + "x" * 100_000, "y" * 100_000, "/proc/self/mem",
         "/proc/1/fd/0", "/proc/kmsg", "/dev/ptmx", "/dev/tty", "%s%n", "line\nError: another\x1b[31m", "\u0000", "/a\u0000b", "é\udcff"]


class Case:
    """One damaged directory: `apply(directory, encode)` damages a copy; `text` says how.

    `for_crit`: whether crit shall read it as well. It takes any well-formed image, so most changed fields teach nothing.
    """

    def __init__(self, text, apply, for_crit=True):
        self.text, self.apply, self.for_crit = text, apply, for_crit


def leaves(value, path=()):
    """Every value below, lists and messages included, as (path, value)."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from leaves(below, path + (key,))


def place_of(name, path):
    """The field whatever the pid and the position: core-*.entries.*.tc.comm."""
    return ".".join([re.sub(r"-[0-9a-f]+(?=\.img)", "-*", name)] + ["*" if isinstance(step, int) else step for step in path])


def at(document, path):
    """The value there."""
    for step in path:
        document = document[step]
    return document


def shorter(value):
    """For messages."""
    text = json.dumps(value)
    return text if len(text) < 60 else text[:50] + f"... ({len(text)})"


class Mutator:
    """Cases from decoded images ({file name: JSON}), all files, and tempting values ({"paths": [...], "pids": [...]})."""

    def __init__(self, documents, files, temptations, seed):
        self.documents, self.files, self.temptations, self.seed = documents, sorted(files), temptations, seed
        self.schema = Schema()
        self.places = {}
        for name, document in sorted(documents.items()):
            for path, value in leaves(document["entries"], ("entries",)):
                self.places.setdefault(place_of(name, path), []).append((name, path))
        self.kinds = {}
        for place in sorted(self.places):
            self.kinds.setdefault(place.partition(".")[0], []).append(place)
        # Images that lead to others, and whose kinds of content are many, are worth more.
        self.weights = [{"core-*": 2, "files": 4, "mm-*": 2}.get(kind, 1) for kind in self.kinds]

    def case(self, number):
        """Always the same one for the same seed and number."""
        draw = random.Random(f"{self.seed}/{number}")
        kind = draw.random()
        if kind < 0.12:
            return self._bytes(draw)
        if kind < 0.18:
            return self._files(draw)
        return self._fields(draw, 1 if kind < 0.85 else draw.choice([2, 3, 5]))

    # --- fields

    def _fields(self, draw, count):
        changed, texts = {}, []
        for _ in range(count):
            kind = draw.choices(list(self.kinds), self.weights)[0]
            name, path = draw.choice(self.places[draw.choice(self.kinds[kind])])
            document = changed.setdefault(name, copy.deepcopy(self.documents[name]))
            texts.append(f"{name} {'.'.join(map(str, path))}: {self._change(draw, name, document, path)}")

        def apply(directory, encode):
            return all([encode(document, directory / name) for name, document in changed.items()])

        return Case("; ".join(texts), apply, draw.random() < 0.2)

    def _change(self, draw, name, document, path):
        try:
            above, old = at(document, path[:-1]), at(document, path)
        except (KeyError, IndexError, TypeError):
            return "gone already"
        if isinstance(old, dict) and draw.random() < 0.6 and (added := self._add_field(draw, document, path, old)):
            return added
        kind, fields = draw.random(), isinstance(above, dict)
        if fields and kind < 0.08 and path != ("entries",):
            del above[path[-1]]
            return "removed"
        if fields and kind < 0.12:
            # A field that another message of the sort has and this one has not.
            other = self._siblings(draw, name, path)
            above[path[-1]] = copy.deepcopy(other)
            return f"{shorter(old)} -> {shorter(other)}, another's"
        above[path[-1]] = new = self._new_value(draw, name, path, old)
        return f"{shorter(old)} -> {shorter(new)}"

    def _add_field(self, draw, document, path, message):
        """A field that is not there: kinds of state that this program does not have."""
        name = self.schema.message_at(document["entries"][path[1]], path[2:])
        missing = self.schema.missing(name, message) if name else []
        if not missing:
            return None
        field, label, kind = draw.choice(missing)
        value = self.schema.make(kind, lambda: draw.choice(NUMBERS[:9]), lambda: draw.choice(WORDS + self.temptations["paths"]))
        message[field] = [value] * draw.choice([1, 2, 100]) if label == "repeated" else value
        return f"{field} added: {shorter(message[field])}"

    def _new_value(self, draw, name, path, old):
        if isinstance(old, bool):
            return not old
        if isinstance(old, int):
            new = self._new_number(draw, name, path, old)
            fits = isinstance(new, int) and (old >> 32 or draw.random() < 0.3)
            return new if fits or not isinstance(new, int) else new & 0xFFFFFFFF
        if isinstance(old, str):
            return self._new_word(draw, name, path, old)
        if isinstance(old, list):
            return self._new_list(draw, old)
        return {} if draw.random() < 0.5 else {key: value for key, value in old.items() if draw.random() < 0.5}

    def _siblings(self, draw, name, path):
        """What stands at the same place elsewhere: makes twins, cycles and dangling references."""
        other, there = draw.choice(self.places[place_of(name, path)])
        return at(self.documents[other], there)

    def _new_number(self, draw, name, path, old):
        kind = draw.random()
        if kind < 0.25:
            return self._siblings(draw, name, path)
        if kind < 0.35:
            return old + draw.choice([-4096, -1, 1, 4096])
        if kind < 0.5:
            return old ^ 1 << draw.randrange(64 if old >> 32 else 32)
        if kind < 0.6:
            return draw.choice(self.temptations["pids"])
        if kind < 0.65:
            return draw.randrange(1 << draw.choice([4, 8, 16, 32, 64]))
        return draw.choice(NUMBERS)

    def _new_word(self, draw, name, path, old):
        kind = draw.random()
        if old.startswith("/") and kind < 0.5:
            return draw.choice(self.temptations["paths"])
        if kind < 0.65:
            other = self._siblings(draw, name, path)
            return other if isinstance(other, str) else json.dumps(other)
        if kind < 0.75:
            return draw.choice(self.temptations["paths"])
        if kind < 0.8:
            return old[: len(old) // 2]
        return draw.choice(WORDS)

    def _new_list(self, draw, old):
        kind = draw.randrange(8)
        if not old or kind == 0:
            return [] if old else [0]
        one = draw.randrange(len(old))
        if kind == 1:
            return old[:one] + old[one + 1 :]
        if kind == 2:
            return old[: one + 1] + copy.deepcopy(old[one:])
        if kind == 3:
            return old[::-1]
        if kind == 4:
            return [copy.deepcopy(value) for value in old for _ in range(2)]
        if kind == 5:
            return [copy.deepcopy(old[one]) for _ in range(min(5000, 1 + 500_000 // len(json.dumps(old[one]))))]
        if kind == 6:
            return draw.sample(old, len(old))
        return old[:one]

    # --- bytes and files

    def _bytes(self, draw):
        name = draw.choice([name for name in self.files if not name.startswith("pages-")])
        how, place, value = draw.randrange(5), draw.random(), draw.randrange(256)

        def apply(directory, _):
            path = directory / name
            data = bytearray(path.read_bytes())
            spot = int(place * len(data)) if how else int(place * min(24, len(data)))
            if how == 2:
                del data[spot:]
            elif how == 3:
                data[spot:spot] = bytes([value]) * 5
            elif how == 4:
                del data[spot : spot + 7]
            elif data:
                data[spot] ^= value or 255
            path.unlink()
            path.write_bytes(data)
            return True

        return Case(f"{name} as bytes: kind {how} at {place:.4f}, {value}", apply)

    def _files(self, draw):
        name, other = draw.choice(self.files), draw.choice(self.files)
        how = draw.choice(["removed", "empty", "directory", "copy", "dangling link", "fifo", "doubled"])

        def apply(directory, _):
            path = directory / name
            data = path.read_bytes()
            path.unlink()
            if how == "empty":
                path.touch()
            elif how == "directory":
                path.mkdir()
            elif how == "copy" and other != name:
                path.write_bytes((directory / other).read_bytes())
            elif how == "dangling link":
                path.symlink_to("nowhere")
            elif how == "fifo":
                import os

                os.mkfifo(path)
            elif how == "doubled":
                path.write_bytes(data + data)
            return True

        return Case(f"{name}: {how}" + (f" of {other}" if how == "copy" else ""), apply)
