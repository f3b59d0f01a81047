#!/usr/bin/env python3
"""Restores test/golden/net: a `sleep` of CRIU 4.2's with network, ipc and uts namespaces of its own (golden/net.sh made it).

usage: net_test.py CRIU

Looks at everything that net.sh has set up: links, addresses, routes, rules, packet filters (nftables; those of the old iptables come
back as nftables, the lock of the dump does not), System V objects, the host name. Needs Debian 12's sleep and C library, whose
build ids are in the images; anywhere else it is skipped. Prints `ok NAME` or `not ok NAME: why`.
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

CRIU = os.path.abspath(sys.argv[1])
IMAGES = pathlib.Path(__file__).resolve().parents[1] / "net"
SIZES = {"/usr/bin/sleep": 43888, "/usr/lib/x86_64-linux-gnu/libc.so.6": 1926232}
PID = 925
SKIPPED = 77


def inside(*command):
    return subprocess.run(["nsenter", "-n", "-i", "-u", "-t", str(PID), *command], check=True, capture_output=True, text=True).stdout


def have(text, *words):
    missing = [word for word in words if word not in text]
    return f"{missing} not in: {text}" if missing else ""


def links():
    found = {link["ifname"]: link for link in json.loads(inside("ip", "-d", "-j", "link"))}
    if set(found) < {"lo", "br0", "ve0", "ve1"}:
        return f"links {set(found)}"
    return "" if found["ve0"].get("master") == "br0" and found["ve0"]["linkinfo"]["info_kind"] == "veth" else str(found["ve0"])


def addresses():
    return have(inside("ip", "-o", "addr"), "10.8.0.1/24", "fd00::5/64")


def routes():
    return have(inside("ip", "route"), "10.99.0.0/16 via 10.8.0.2") or have(inside("ip", "rule"), "from 10.8.0.0/24 lookup 100")


def filters():
    rules = " ".join(inside("nft", "list", "ruleset").split())
    return have(rules, "tcp dport 22 accept", "tcp dport 23 counter packets 0 bytes 0 drop") or ("the lock is there" if "CRIU" in rules else "")


def objects():
    return have(inside("ipcs", "-m"), "8192") or have(inside("ipcs", "-s"), " 3 ") or have(inside("ipcs", "-q"), "0x")


def name():
    return have(inside("hostname"), "sampler")


TESTS = (links, addresses, routes, filters, objects, name)


def in_place():
    """In pid and mount namespaces of the test's own, where the pid and the folder of the images are free."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/srv"], check=True)
    os.mkdir("/srv/golden")
    with tempfile.TemporaryDirectory() as work:
        done = subprocess.run([CRIU, "restore", "-d", "--lower-limits", "-D", IMAGES, "-W", work], capture_output=True, text=True, check=False)
    if "does not have" in done.stderr or "this CPU" in done.stderr:
        print("skipped: " + done.stderr.strip().split("\n")[0])
        return SKIPPED
    if done.returncode:
        print(f"not ok golden net: {done.stderr.strip()}")
        return 1
    failed = 0
    for test in TESTS:
        why = test()
        failed += bool(why)
        print(f"not ok golden net: {test.__name__}: {why}" if why else f"ok golden net: {test.__name__}")
    os.kill(PID, signal.SIGKILL)
    return 1 if failed else 0


def main():
    if len(sys.argv) > 2:
        return in_place()
    for path, size in SIZES.items():
        if not os.path.exists(path) or os.stat(path).st_size != size:
            print(f"skipped: {path} is not the one of the images")
            return SKIPPED
    again = ["unshare", "-m", "-p", "-f", "--mount-proc", "--propagation", "private", sys.executable, __file__, CRIU, "in-place"]
    return subprocess.run(again, check=False).returncode


sys.exit(main())
