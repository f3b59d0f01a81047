"""The messages of images/*.proto, as far as damaging needs them: which fields a message could have beside those it has."""

import pathlib
import re

IMAGES = pathlib.Path(__file__).resolve().parents[3] / "images"
INTEGERS = {"uint32", "uint64", "int32", "int64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64"}


class Schema:
    """Fields by message: {message: {field: (label, type)}}; enums: {enum: [names]}."""

    def __init__(self):
        self.messages, self.enums = {}, {}
        for path in sorted(IMAGES.glob("*.proto")):
            text = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.S)
            for name, body in re.findall(r"\bmessage\s+(\w+)\s*\{(.*?)\}", text, re.S):
                fields = re.findall(r"\b(optional|required|repeated)\s+([\w.]+)\s+(\w+)\s*=", body)
                self.messages[name] = {field: (label, kind.split(".")[-1]) for label, kind, field in fields}
            for name, body in re.findall(r"\benum\s+(\w+)\s*\{(.*?)\}", text, re.S):
                self.enums[name] = re.findall(r"(\w+)\s*=", body)

    def message_of(self, entry):
        """The message that has all these fields, and few others; nothing if there is none."""
        fitting = [name for name, fields in self.messages.items() if entry and entry.keys() <= fields.keys()]
        return min(fitting, key=lambda name: len(self.messages[name]), default=None)

    def message_at(self, entry, path):
        """The message of the value there, below an entry; nothing if that is none."""
        name = self.message_of(entry)
        for step in path:
            if isinstance(step, str):
                name = self.messages.get(name, {}).get(step, ("", None))[1]
        return name if name in self.messages else None

    def missing(self, name, value):
        """Fields that it could have: [(field, label, type)]."""
        return [(field, *what) for field, what in self.messages[name].items() if field not in value]

    def make(self, kind, number, word, depth=0):
        """A value of that type, numbers and words as the caller draws them."""
        if kind in INTEGERS:
            return number()
        if kind == "bool":
            return True
        if kind in self.enums:
            names = self.enums[kind]
            return names[number() % len(names)]
        if kind not in self.messages or depth > 4:
            return word()
        return {field: self._list(label, self.make(inner, number, word, depth + 1))
                for field, (label, inner) in self.messages[kind].items() if label == "required" or number() % 3 == 0}

    @staticmethod
    def _list(label, value):
        return [value] if label == "repeated" else value
