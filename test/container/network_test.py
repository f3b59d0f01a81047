#!/usr/bin/env python3
"""The network of a container: what `ip` and `nft` list of a namespace, before a dump and after the restore.

usage: network_test.py CRIU

Prints `ok NAME` or `not ok NAME: why` for each. Needs root, iproute2 and nftables. Everything lies in network namespaces that end
with the test, also the network of "the host".
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from steps import LIMIT, Failure, check, must, run, wait_for  # noqa: E402

CRIU = os.path.abspath(sys.argv[1])


def inside(pid, *command):
    return must("nsenter", "-n", "-t", pid, *command)


def comm_of(pid):
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


class Tree:
    """A process in a network namespace of its own, set up by a script."""

    def __init__(self, script):
        self.starter = subprocess.Popen(["setsid", "unshare", "-n", "--", "/bin/sh", "-ec", script + "\nexec sleep 1000"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.pid = self.starter.pid
        wait_for(self.is_set_up, "the set-up")
        self.alive = True

    def is_set_up(self):
        if self.starter.poll() is not None:
            raise Failure(f"set-up: {self.starter.stderr.read().decode()}")
        return comm_of(self.pid) == "sleep"

    def end(self):
        if self.alive:
            run("kill", "-9", self.pid)
            self.starter.wait()
            self.alive = False
        self.starter.stderr.close()


# What is different in every namespace, or counts time and packets.
CHANGING = ("link_netnsid", "stats64", "valid_life_time", "preferred_life_time", "hello_timer", "tcn_timer", "topology_change_timer",
            "gc_timer", "age", "bridge_id", "root_id", "designated_bridge", "designated_root", "message_age_timer", "forward_delay_timer",
            "hold_timer", "operstate", "state", "dadfailed", "carrier_changes", "id", "updated", "used", "confirmed", "port_no", "no", "perm_address", "tentative", "nodad")


# The addresses that the set-up enters into forwarding tables. The kernel adds one of its own choice for every link.
FORWARDED = ("02:00:00:00:00:77", "02:00:00:00:00:99")


def stable(value):
    if isinstance(value, dict):
        return {key: stable(inner) for key, inner in value.items() if key not in CHANGING and inner is not None}
    if isinstance(value, list):
        return sorted((stable(inner) for inner in value), key=json.dumps)
    return value


def listing(pid):
    """What there is, as one value for each question, once IPv6 has looked for duplicates of its addresses."""
    while "tentative" in inside(pid, "ip", "addr"):
        time.sleep(0.05)
    questions = {"links": "ip -d -j link", "addresses": "ip -j addr", "routes": "ip -j route show table all",
                 "routes6": "ip -6 -j route show table all", "rules": "ip -j rule", "rules6": "ip -6 -j rule",
                 "neighbours": "ip -j neigh show nud permanent", "forwarding": "bridge -j fdb", "nexthops": "ip -j nexthop"}
    answers = {name: json.loads(inside(pid, *question.split()) or "[]") for name, question in questions.items()}
    answers["forwarding"] = [entry for entry in answers["forwarding"] if entry["mac"] in FORWARDED]  # not those that are learned
    listed = {name: stable(answer) for name, answer in answers.items()}
    # Rules of iptables come back as the same rules of nftables.
    listed["filters"] = [" ".join(line.split()) for line in inside(pid, "nft", "list", "ruleset").splitlines() if not line.startswith("#")]
    listed["disciplines"] = [re.sub(r"direct_packets_stat \d+", "", line) for line in inside(pid, "tc", "qdisc").splitlines()]
    for link in answers["links"]:
        listed["disciplines"] += inside(pid, "tc", "class", "show", "dev", link["ifname"]).splitlines()
    return listed


def compare(before, after, without=()):
    for name, old in before.items():
        new = after[name]
        if name in ("links", "addresses"):
            old, new = ([{key: value for key, value in link.items() if key not in without} for link in links] for links in (old, new))
        gone = [entry for entry in old if entry not in new]
        more = [entry for entry in new if entry not in old]
        check(not gone and not more, f"{name}: missing {gone}, new {more}")


def through(script, *options):
    """Through dump and restore: nothing may be different."""
    tree = Tree(script)
    new = None
    with tempfile.TemporaryDirectory() as images:
        try:
            before = listing(tree.pid)
            must(CRIU, "dump", "-t", tree.pid, "-D", images)
            tree.starter.wait()
            tree.alive = False
            must(CRIU, "restore", "-d", "-D", images, "--pidfile", f"{images}/pid", *options)
            new = pathlib.Path(f"{images}/pid").read_text()
            compare(before, listing(new))
        finally:
            tree.end()
            if new:
                run("kill", "-9", new)


def links():
    """A bridge with its ports, both ends of a veth, an ifb, a vxlan: names, addresses, parameters, order of indexes."""
    through("""
ip link set lo up
ip link add br0 type bridge forward_delay 700 ageing_time 12000
ip link add va type veth peer name vb
ip link set va master br0
ip link property add dev vb altname a-much-longer-name-for-it
ip link set vb alias 'the other end' txqueuelen 77 group 5 mtu 1400 address 02:00:00:00:00:0b
ip link add ifb0 type ifb
ip link add vx type vxlan id 42 dstport 4789 local 10.1.0.1 nolearning
ip addr add 10.1.0.1/24 dev br0
ip addr add fd00::1/64 dev br0 nodad
ip addr add 10.2.0.1/24 dev vb
ip link set br0 up; ip link set va up; ip link set vb up; ip link set vx up
bridge link set dev va learning off hairpin on
bridge fdb append 02:00:00:00:00:99 dev vx dst 10.1.0.9
bridge fdb add 02:00:00:00:00:77 dev va master static
ip neigh add 10.1.0.77 lladdr 02:00:00:00:00:77 nud permanent dev br0
ip route add 10.9.0.0/16 via 10.1.0.2
ip route add default via 10.1.0.3 table 100
ip rule add from 10.2.0.0/16 table 100
ip -6 route add fd01::/64 via fd00::2
sleep 0.1
""")


def routed():
    """Nexthop objects with a group, routes by them; queueing disciplines with classes."""
    through("""
ip link set lo up
ip link add va type veth peer name vb
ip addr add 10.1.0.1/24 dev va
ip link set va up; ip link set vb up
ip nexthop add id 10 via 10.1.0.2 dev va
ip nexthop add id 11 via 10.1.0.3 dev va
ip nexthop add id 20 group 10/11,3
ip nexthop add id 30 blackhole
ip route add 10.50.0.0/16 nhid 20
ip route add 10.51.0.0/16 nhid 10
ip route add 10.52.0.0/16 nhid 30
tc qdisc add dev va root handle 1: htb default 10
tc class add dev va parent 1: classid 1:1 htb rate 10mbit ceil 10mbit
tc class add dev va parent 1:1 classid 1:10 htb rate 1mbit ceil 2mbit prio 3
tc class add dev va parent 1:1 classid 1:11 htb rate 3mbit ceil 4mbit
tc qdisc add dev va parent 1:10 handle 20: pfifo limit 55
tc qdisc add dev va parent 1:11 handle 30: tbf rate 1mbit burst 10kb latency 50ms
tc qdisc add dev vb root handle 5: bfifo limit 70000
tc qdisc add dev vb ingress
sleep 0.1
""")


def refused():
    """A dump names what it cannot make again: filters of traffic control."""
    tree = Tree("ip link set lo up; ip link add va type veth peer name vb; tc qdisc add dev va ingress; "
                "tc filter add dev va ingress protocol ip prio 1 u32 match u32 0 0 action drop || touch /dev/null")
    try:
        if inside(tree.pid, "tc", "filter", "show", "dev", "va", "ingress"):  # not every kernel has them
            with tempfile.TemporaryDirectory() as images:
                status, output = run(CRIU, "dump", "-t", tree.pid, "-D", images)
                check(status != 0 and "has filters of traffic control" in output, output)
    finally:
        tree.end()


def filters():
    """Chains, sets, maps, counters, quotas, rules of iptables: the text that nft lists."""
    through("""
ip link set lo up
nft -f - <<'RULES'
table inet filter {
    set blocked {
        type ipv4_addr
        flags interval
        elements = { 10.0.0.0/8, 192.168.1.1 }
    }
    map ports {
        type inet_service : verdict
        elements = { 22 : accept, 80 : jump web }
    }
    counter seen {
        packets 17 bytes 1234
    }
    chain web {
        comment "include nothing"
        limit rate 10/second burst 5 packets accept
    }
    chain input {
        type filter hook input priority filter; policy accept;
        ip saddr @blocked counter packets 3 bytes 4 drop
        tcp dport vmap @ports
        iifname "lo" counter name "seen" accept
        ct state established,related accept
    }
}
table ip nat {
    chain post {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "eth0" masquerade
    }
}
table netdev early {
}
RULES
iptables-nft -A INPUT -p tcp -m addrtype --dst-type LOCAL -j ACCEPT
iptables-nft -A OUTPUT -p udp --dport 53 -m comment --comment 'a b' -j DROP
""")


# Prints the tracked connections of its network namespace: both tuples as the kernel says them, whether they are translated.
TRACKED = """
import socket, struct
line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
line.send(struct.pack("IHHIIBBH", 20, 0x0101, 0x301, 1, 0, 0, 0, 0))
found, more = [], True
while more:
    data = line.recv(1 << 20)
    while len(data) >= 16 and more:
        size, kind = struct.unpack("IH", data[:6])
        body, data = data[20:size], data[(size + 3) // 4 * 4:]
        more = kind != 3
        entry = {}
        while more and len(body) >= 4:
            length, attribute = struct.unpack("HH", body[:4])
            entry[attribute & 0x3fff] = body[4:length]
            body = body[(length + 3) // 4 * 4:]
        if entry:
            found.append((entry[1].hex(), entry[2].hex(), struct.unpack(">I", entry[3])[0] & 0x3b2))
print(sorted(found))
"""

# Talks to itself over a connection whose both addresses are translated, and says how often.
TALK = """
import socket, time, sys
listener = socket.socket()
listener.bind(("0.0.0.0", 7080))
listener.listen()
here = socket.create_connection(("10.4.0.1", 80), timeout=5)
there, peer = listener.accept()
assert peer[0] == "10.4.0.9", peer
rounds = 0
while True:
    here.send(b"x")
    assert there.recv(1) == b"x"
    rounds += 1
    open(sys.argv[1], "w").write(str(rounds))
    time.sleep(0.05)
"""


def tracked():
    """A connection whose addresses are translated goes on; what the packet filter remembers of it and of others is there."""
    new = None
    with tempfile.TemporaryDirectory() as images:
        talk = pathlib.Path(images, "talk.py")
        talk.write_text(TALK)
        counter = pathlib.Path(images, "rounds")
        tree = Tree(f"""
ip link set lo up
ip addr add 10.4.0.1/32 dev lo
ip addr add 10.4.0.9/32 dev lo
nft -f - <<'RULES'
table ip nat {{
    chain out {{
        type nat hook output priority -100; policy accept;
        ip daddr 10.4.0.1 tcp dport 80 dnat to 127.0.0.1:7080
    }}
    chain post {{
        type nat hook postrouting priority 100; policy accept;
        tcp dport 7080 snat to 10.4.0.9
    }}
}}
RULES
/usr/bin/python3 {talk} {counter} < /dev/null > {images}/out 2>&1 &
/usr/bin/python3 -c 'import socket; socket.socket(2, 2).sendto(b"x", ("10.4.0.1", 9))'
""")
        rounds = lambda: int((counter.read_text() if counter.exists() else "") or 0)  # noqa: E731
        listed = lambda pid: inside(pid, "/usr/bin/python3", "-c", TRACKED)  # noqa: E731
        try:
            wait_for(lambda: rounds() > 2, "the connection")
            before = listed(tree.pid)
            must(CRIU, "dump", "-t", tree.pid, "-D", images, "--tcp-established")
            tree.starter.wait()
            tree.alive = False
            count = rounds()
            must(CRIU, "restore", "-d", "-D", images, "--pidfile", f"{images}/pid", "--tcp-established")
            new = pathlib.Path(f"{images}/pid").read_text()
            check(listed(new) == before, f"tracked before {before}, now {listed(new)}")
            wait_for(lambda: rounds() > count + 2, "the connection goes on")
        finally:
            for pid in filter(None, (tree.alive and tree.pid, new)):
                children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                run("kill", "-9", *children, pid)
            tree.end()


def outside(way):
    """The other end of a veth is on a bridge of the host's, found by name."""
    def test():
        with_host = f"unshare -n -- /usr/bin/python3 {__file__} {CRIU} {way}"
        must(*with_host.split())
    return test


def settle():
    must("ip", "link", "set", "lo", "up")
    must("ip", "link", "add", "br9", "type", "bridge")
    must("ip", "link", "set", "br9", "up")
    must("ip", "addr", "add", "10.7.0.1/24", "dev", "br9")


def reaches(pid):
    """The container reaches the host over the pair."""
    end = time.monotonic() + LIMIT
    program = "import socket; s = socket.create_connection(('10.7.0.1', 7777), 1)"
    with subprocess.Popen(["/usr/bin/python3", "-c", "import socket\ns = socket.create_server(('', 7777))\ns.accept()"]) as server:
        try:
            while run("nsenter", "-n", "-t", pid, "/usr/bin/python3", "-c", program)[0]:
                check(time.monotonic() < end, "the container does not reach the host")
                time.sleep(0.2)
        finally:
            server.kill()


def start_with_pair():
    starter = subprocess.Popen(["setsid", "unshare", "-n", "--", "/bin/sh", "-ec", """
until ip link show eth0 2> /dev/null > /dev/null; do sleep 0.02; done
ip link set lo up; ip addr add 10.7.0.2/24 dev eth0; ip link set eth0 up; ip route add default via 10.7.0.1
exec sleep 1000"""], stdin=subprocess.DEVNULL)
    own = os.readlink("/proc/self/ns/net")
    wait_for(lambda: os.readlink(f"/proc/{starter.pid}/ns/net") != own, "a namespace of its own")
    must("ip", "link", "add", "host0", "type", "veth", "peer", "name", "eth0", "netns", starter.pid)
    must("ip", "link", "set", "host0", "master", "br9", "up")
    wait_for(lambda: comm_of(starter.pid) == "sleep", "the container's set-up")
    return starter


def restore_with(images, *options):
    return run(CRIU, "restore", "-d", "-D", images, "--pidfile", f"{images}/pid", *options)


def dumped_pair(images):
    starter = start_with_pair()
    before = listing(starter.pid)
    must(CRIU, "dump", "-t", starter.pid, "-D", images)
    starter.wait()
    return before


def host_links():
    return {(link["ifname"], link["ifindex"]) for link in json.loads(must("ip", "-j", "link"))}


def pair(images):
    before = dumped_pair(images)
    status, output = restore_with(images, "--external", "veth[eth0]:host1@br9")
    check(status == 0, output)
    pid = pathlib.Path(f"{images}/pid").read_text()
    try:
        compare(before, listing(pid), without=("link_index",))  # the other end's number, where it is now
        check("master br9" in must("ip", "link", "show", "host1"), "host1 is no port of the bridge")
        reaches(pid)
    finally:
        run("kill", "-9", pid)


def moved(images):
    """A device of the host's goes inside; when the restore fails it is the host's again."""
    before = dumped_pair(images)
    must("ip", "link", "add", "host2", "type", "veth", "peer", "name", "spare")
    must("ip", "link", "set", "host2", "master", "br9", "up")
    status, _ = restore_with(images, "--external", "netdev[eth0]:spare", "--action-script", "/bin/false")
    check(status != 0, "a restore whose hook fails succeeds")
    must("ip", "link", "show", "spare")
    status, output = restore_with(images, "--external", "netdev[eth0]:spare")
    check(status == 0, output)
    pid = pathlib.Path(f"{images}/pid").read_text()
    try:
        compare(before, listing(pid), without=("link_index",))  # the other end's number, where it is now
        reaches(pid)
    finally:
        run("kill", "-9", pid)


def unnamed(images):
    """Nobody says where the other end is to be: it gets a name of the kernel's."""
    dumped_pair(images)
    before = host_links()
    status, output = restore_with(images)
    check(status == 0, output)
    pid = pathlib.Path(f"{images}/pid").read_text()
    try:
        check(host_links() - before, "no other end in the host's network")
    finally:
        run("kill", "-9", pid)


WAYS = {"pair": pair, "moved": moved, "unnamed": unnamed}
TESTS = {"links": links, "routed": routed, "refused": refused, "filters": filters, "tracked": tracked, **{f"outside: {way}": outside(way) for way in WAYS}}


def main():
    if len(sys.argv) > 2:
        settle()
        with tempfile.TemporaryDirectory() as images:
            WAYS[sys.argv[2]](images)
        return 0
    failed = False
    for name, test in TESTS.items():
        try:
            test()
            print(f"ok network: {name}")
        except Failure as failure:
            failed = True
            print(f"not ok network: {name}: {failure}")
    return failed


sys.exit(main())
