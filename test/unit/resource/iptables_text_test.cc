#include "criu/resource/namespace/net/iptables_text.hh"

#include <catch2/catch.hpp>

using resource::net::IpFamily;
using resource::net::iptables_to_nftables;

namespace {

/// What becomes of one rule of the table filter.
std::string rule(const std::string &text, IpFamily family = IpFamily::V4) {
    auto commands =
        iptables_to_nftables("*filter\n:INPUT ACCEPT [0:0]\n:own - [0:0]\n" + text + "\nCOMMIT\n", family, {});
    if (!commands)
        return commands.error().message();
    const std::string before = family == IpFamily::V4 ? "add rule ip filter " : "add rule ip6 filter ";
    const size_t at = commands->find(before);
    return at == commands->npos ? "nothing"
                                : commands->substr(at + before.size(), commands->size() - at - before.size() - 1);
}

} // namespace

TEST_CASE("iptables: tables, chains and policies", "[iptables]") {
    auto commands =
        iptables_to_nftables("# Generated\n*nat\n:PREROUTING ACCEPT [1:2]\n:OUTPUT DROP [0:0]\n:DOCKER - [0:0]\n"
                             "[3:180] -A PREROUTING -j DOCKER\nCOMMIT\n",
                             IpFamily::V4, {});
    REQUIRE(commands);
    CHECK(*commands == "add table ip nat\n"
                       "add chain ip nat PREROUTING { type nat hook prerouting priority -100; policy accept; }\n"
                       "add chain ip nat OUTPUT { type nat hook output priority -100; policy drop; }\n"
                       "add chain ip nat DOCKER\n"
                       "add rule ip nat PREROUTING counter packets 3 bytes 180 jump DOCKER\n");
    auto beside =
        iptables_to_nftables("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", IpFamily::V6, "table ip6 filter {\n}\n");
    REQUIRE(beside);
    CHECK(beside->starts_with("add table ip6 legacy-filter\n"));
}

TEST_CASE("iptables: matches", "[iptables]") {
    CHECK(rule("-A INPUT -p tcp -m tcp --dport 23 -j DROP") == "INPUT meta l4proto tcp tcp dport 23 counter drop");
    CHECK(rule("-A INPUT ! -s 10.0.0.0/8 -i eth+ -j ACCEPT") ==
          "INPUT ip saddr != 10.0.0.0/8 iifname \"eth*\" counter accept");
    CHECK(rule("-A own -p udp -m multiport --dports 53,1000:2000 -j RETURN") ==
          "own meta l4proto udp udp dport { 53,1000-2000 } counter return");
    CHECK(rule("-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT") ==
          "INPUT ct state { related,established } counter accept");
    CHECK(rule("-A INPUT -m mark --mark 0x1/0xff -j own") == "INPUT meta mark and 0xff == 0x1 counter jump own");
    CHECK(rule("-A INPUT -m limit --limit 5/min --limit-burst 7 -j LOG --log-prefix \"a b: \" --log-level 4") ==
          "INPUT limit rate 5/minute burst 7 packets counter log prefix \"a b: \" level warn");
    CHECK(rule("-A INPUT -p icmp -m icmp --icmp-type 8 -m comment --comment \"ping it\" -j ACCEPT") ==
          "INPUT meta l4proto icmp icmp type 8 counter accept comment \"ping it\"");
    CHECK(rule("-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j REJECT --reject-with tcp-reset") ==
          "INPUT meta l4proto tcp tcp flags & (fin | syn | rst | ack) == syn counter reject with tcp reset");
    CHECK(rule("-A INPUT -d fe80::/10 -j REJECT", IpFamily::V6) ==
          "INPUT ip6 daddr fe80::/10 counter reject with icmpv6 type port-unreachable");
    CHECK(rule("-A INPUT -j MARK --set-xmark 0x10/0xf0") ==
          "INPUT counter meta mark set meta mark and 0xffffff0f xor 0x10");
}

TEST_CASE("iptables: the lock of a dump goes", "[iptables]") {
    auto commands = iptables_to_nftables("*filter\n:INPUT ACCEPT [0:0]\n:CRIU - [0:0]\n-A INPUT -j CRIU\n"
                                         "-A CRIU -m mark --mark 0xc114 -j ACCEPT\n-A CRIU -j DROP\nCOMMIT\n",
                                         IpFamily::V4, {});
    REQUIRE(commands);
    CHECK(commands->find("CRIU") == commands->npos);
    CHECK(commands->find("add rule") == commands->npos);
}

TEST_CASE("iptables: what has no translation is named, what is no rule is refused", "[iptables]") {
    CHECK(rule("-A INPUT -m string --string abc --algo bm -j DROP").find("--string has no translation") !=
          std::string::npos);
    CHECK(rule("-A INPUT -j NFQUEUE").find("the target NFQUEUE") != std::string::npos);
    CHECK(rule("-A INPUT -s 1.2.3.4;flush -j DROP").find("impossible value") != std::string::npos);
    CHECK(rule("-A INPUT -m comment --comment \"a\\\" ; flush ruleset\" -j DROP").find("impossible text") !=
          std::string::npos);
    CHECK(rule("-A in;put -j DROP").find("no rule") != std::string::npos);
    CHECK(rule("-D INPUT 1").find("no rule") != std::string::npos);
    CHECK_FALSE(iptables_to_nftables("-A INPUT -j DROP\n", IpFamily::V4, {}));
    CHECK_FALSE(iptables_to_nftables("*filter\n", IpFamily::V4, {}));
    CHECK_FALSE(iptables_to_nftables("*odd\nCOMMIT\n", IpFamily::V4, {}));
}
