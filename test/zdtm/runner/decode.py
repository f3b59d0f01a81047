"""Decodes every image of a directory with Debian's python crit (pycriu); prints what it cannot. Run by /usr/bin/python3."""

import pathlib
import sys

RAW = ("pages-", "tmpfs-", "ifaddr-", "route-", "route6-", "rule-", "iptables-", "ip6tables-", "nftables-", "netns-ct-",
       "netns-exp-")


def main():
    """decode.py DIR"""
    import pycriu

    failed = 0
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.img")):
        if path.name.startswith(RAW):
            continue
        try:
            with open(path, "rb") as file:
                pycriu.images.load(file, pretty=True)
        except Exception as error:  # whatever crit trips over is a finding
            print(f"  {path.name}: {type(error).__name__}: {error}")
            failed = 1
    return failed


sys.exit(main())
