#!/usr/bin/env python3
"""The rules that our images are held to (test/zdtm/runner/image_rules.py) hold for those of CRIU 4.2 as well.

usage: rules_test.py CRIU [DIR...]      without DIR: the golden directories, and damaged copies that have to be found out
"""
import copy
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "zdtm"))

from runner import image_rules  # pylint: disable=wrong-import-position

GOLDEN = ("sampler", "net", "container")
RAW = ("pages-", "tmpfs-", "ifaddr-", "route-", "route6-", "rule-", "iptables-", "ip6tables-", "nftables-")


def decode(image):
    """The entries of an image."""
    return json.loads(subprocess.check_output([sys.argv[1], "crit", "decode", "-i", image]))["entries"]


def load(folder):
    """What image_rules.check() takes."""
    images = {image_rules.key_of(path.name): decode(path) for path in folder.glob("*.img") if not path.name.startswith(RAW)}
    sizes = {int(path.stem.split("-")[1]): path.stat().st_size for path in folder.glob("pages-*.img")}
    statistics = decode(folder / "stats-dump")[0]["dump"] if (folder / "stats-dump").exists() else None
    return images, sizes, statistics


# What the rules must notice: a change of the sampler's images, and a word of what they say then.
DAMAGES = [
    (lambda i: i["pstree", 0].reverse(), "comes after it"),
    (lambda i: i.pop(("core", 885)), "core-885.img is missing"),
    (lambda i: i["core", 883][0]["thread_core"].pop("creds"), "creds is missing"),
    (lambda i: i["core", 883][0]["tc"]["sigactions"].pop(), "signal actions"),
    (lambda i: i["fdinfo", 2].reverse(), "do not ascend"),
    (lambda i: i["fdinfo", 2][3].update(type="PIPE"), "no such file"),
    (lambda i: i["files", 0].append(i["files", 0][0]), "an id twice"),
    (lambda i: i["files", 0][0]["reg"].update(id=777), "another id within"),
    (lambda i: i["remap-fpath", 0][0].update(remap_id=99), "is not there"),
    (lambda i: i["sk-queues", 0][0].update(id_for=1), "no socket"),
    (lambda i: i["pipes-data", 0].append(i["pipes-data", 0][0]), "a pipe twice"),
    (lambda i: i["filelocks", 0][0].update(fd=99), "has no fd"),
    (lambda i: i["mm", 883][0]["vmas"].reverse(), "do not ascend"),
    (lambda i: i["mm", 883][0]["vmas"][0].update(shmid=999), "the file is not there"),
    (lambda i: i["pagemap", 883][1].update(vaddr=4096), "outside of all mappings"),
    (lambda i: i["pagemap", 883][1].update(flags=6), "has flags 6"),
    (lambda i: i["pagemap", 883].pop(), "are described"),
    (lambda i: i.pop(("tcp-stream", min(n for k, n in i if k == "tcp-stream"))), "tcp-stream"),
]


def main():
    """Exit code 1 if a rule does not hold, or does not notice."""
    failed = []
    folders = [pathlib.Path(name) for name in sys.argv[2:]] or [HERE / name for name in GOLDEN]
    for folder in folders:
        failed += [f"{folder.name}: {line}" for line in image_rules.check(*load(folder))]
    images, sizes, statistics = load(HERE / "sampler")
    for number, (change, words) in enumerate(DAMAGES):
        damaged = copy.deepcopy(images)
        change(damaged)
        found = image_rules.check(damaged, sizes, statistics)
        if not any(words in line for line in found):
            failed.append(f"damage {number}: nothing is said of {words!r}, but {found}")
    if not any("stats-dump" in line for line in image_rules.check(images, sizes, statistics | {"pages_written": 1})):
        failed.append("wrong statistics are not noticed")
    print("\n".join(failed) if failed else f"ok {len(folders)} directories, {len(DAMAGES) + 1} damages")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
