#!/usr/bin/env python3
"""Checks that every layer includes only those below it (Documentation/architecture.md).

A header that no rule places is an error, so that a new folder cannot go unnoticed.
"""
import pathlib
import re
import sys

# Folders of one rank do not see each other, except as listed in SIBLINGS.
RANK = {
    "include": 0,
    "images": 1,
    "compel": 1,
    "criu/kernel": 2,
    "criu/kernel/memory": 3,
    "criu/parse": 2,
    "criu/image": 2,
    "criu/tree": 2,
    "operations": 3,
    "criu/pages": 4,
    "criu/resource": 4,
    "criu/crit": 4,
    "criu/plan": 5,
    "criu/engine": 6,
    "criu/engine/restore": 7,
    "criu/engine/tracking": 7,
    "criu/engine/dump": 8,  # plans the restore of what it has written
    "criu/engine/page_server": 7,
    "criu/engine/lazy": 8,
    "criu/engine/images": 8,
    "criu/engine/pre_dump": 9,
    "criu/engine/check": 9,
    "criu/engine/migrate": 10,  # made of dumps and restores
    "criu/cli": 11,
    "criu/service": 12,
    "criu/pch": 11,
    "criu": 13,
}
# A resource hands memory to the page engine; crit reads what that has written; a tree is made of parsed facts, and the kernel asked for its values.
SIBLINGS = {
    ("criu/tree", "criu/parse"),
    ("criu/kernel", "criu/tree"),
    ("criu/resource", "criu/pages"),
    ("criu/crit", "criu/pages"),
}
# Files that count as a part of another layer than their folder's.
FILES = {
    # Numbers of the image format that stand beside the resource they belong to.
    "criu/resource/mm/vma_status.hh": "criu/image",
    # Resources file operations; the compiler that puts whole plans together from resources is above both.
    "criu/plan/ops.hh": "operations",
    "criu/plan/ops.cc": "operations",
}

# What the user may say is the fronts' business: the engines see requests.
OPTIONS = "criu/cli/options.hh"
FRONTS = ("criu/cli/", "criu/service/")
OPTIONS_NAME = re.compile(r"\bcli::")

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def layer(path):
    """The folder of RANK that a path of the repository lies in."""
    if path in FILES:
        return FILES[path]
    parts = path.split("/")
    for depth in (3, 2, 1):
        name = "/".join(parts[:depth])
        if len(parts) > depth and name in RANK:
            return name
    return None


def resolve(root, source, name):
    """The repository path that an include means; None for generated and system headers."""
    for candidate in (name, "include/" + name, str(pathlib.PurePath(source).parent / name)):
        if (root / candidate).is_file():
            return candidate
    return None


def check(root):
    problems = []
    sources = [p for top in ("include", "compel", "images", "criu") for p in sorted((root / top).rglob("*"))]
    for path in sources:
        if path.suffix not in (".cc", ".hh", ".S", ".h"):
            continue
        source = path.relative_to(root).as_posix()
        home = layer(source)
        if home is None:
            problems.append(f"{source}: lies in no layer")
            continue
        text = path.read_text()
        if source.startswith("criu/") and not source.startswith(FRONTS) and source != "criu/main.cc":
            if OPTIONS in text or OPTIONS_NAME.search(text):
                problems.append(f"{source}: only {' and '.join(FRONTS)} use options")
        for name in INCLUDE.findall(text):
            target = resolve(root, source, name)
            if target is None:
                # Messages are generated into the build folder from images/*.proto.
                if name.endswith(".pb.h") and RANK[home] < RANK["images"] and source != "include/images_pb.hh":
                    problems.append(f"{source}: {name}: messages are above {home}")
                continue
            other = layer(target)
            if other is None:
                problems.append(f"{source}: includes {target}, which lies in no layer")
            elif other != home and RANK[other] >= RANK[home] and (home, other) not in SIBLINGS:
                problems.append(f"{source}: {home} must not use {other} ({target})")
    return problems


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    problems = check(root)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
