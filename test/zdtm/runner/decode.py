"""Decodes every image of a directory with Debian's python crit (pycriu), and holds them to the rules of image_rules.py; prints
what is wrong. Run by /usr/bin/python3."""

import pathlib
import sys

import pycriu

import image_rules  # pylint: disable=import-error

RAW = ("pages-", "tmpfs-", "ifaddr-", "route-", "route6-", "rule-", "iptables-", "ip6tables-", "nftables-", "netns-ct-",
       "netns-exp-")
WORTH_READING = 1 << 18  # above this size, the form for people is left out: it takes as long again


def load(path, failures, pretty=False):
    """The entries of an image, or nothing."""
    try:
        with open(path, "rb") as file:
            return pycriu.images.load(file, pretty=pretty)["entries"]
    except Exception as error:  # whatever crit trips over is a finding
        failures.append(f"{path.name}: {type(error).__name__}: {error}")
        return []


def main():
    """decode.py DIR"""
    folder, failures, images = pathlib.Path(sys.argv[1]), [], {}
    for path in sorted(folder.glob("*.img")):
        if path.name.startswith(RAW):
            continue
        images[image_rules.key_of(path.name)] = load(path, failures)
        if path.stat().st_size < WORTH_READING:
            load(path, failures, pretty=True)
    sizes = {int(path.stem.split("-")[1]): path.stat().st_size for path in folder.glob("pages-*.img")}
    # The statistics lie in the work directory, which is the images' unless the test says otherwise.
    statistics = load(folder / "stats-dump", failures) if (folder / "stats-dump").exists() else None
    failures += image_rules.check(images, sizes, statistics[0]["dump"] if statistics else None)
    print("".join(f"  {line}\n" for line in failures), end="")
    return 1 if failures else 0


sys.exit(main())
