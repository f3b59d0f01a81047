#include "criu/resource/namespace/net/ruleset_text.hh"

#include <catch2/catch.hpp>

using resource::net::is_without_rules;
using resource::net::ruleset_without_locks;

namespace {

constexpr const char *kUsers =
    "table inet t {\n\tchain c {\n\t\ttype filter hook input priority filter; policy accept;\n"
    "\t\ttcp dport 22 accept comment \"no include { here\"\n\t}\n}\n";

} // namespace

TEST_CASE("ruleset: a user's tables stay as they are") {
    CHECK(ruleset_without_locks(kUsers).value() == kUsers);
    CHECK(ruleset_without_locks("").value().empty());
    CHECK(ruleset_without_locks("table netdev early { }\n").value() == "table netdev early { }\n");
}

TEST_CASE("ruleset: the tables of a lock go") {
    const std::string lock = "table inet CRIU-4d1c {\n\tchain output {\n\t\ttype filter hook output priority filter; "
                             "policy drop;\n\t\tmeta mark 0x0000c114 accept\n\t}\n}\n";
    CHECK(ruleset_without_locks(lock + kUsers).value() == kUsers);
}

TEST_CASE("ruleset: the chain of a lock by iptables goes, with the jumps to it") {
    const std::string lock =
        "table ip filter {\n\tchain CRIU {\n\t\tmeta mark 0x0000c114 counter packets 0 bytes 0 accept\n"
        "\t\tcounter packets 0 bytes 0 drop\n\t}\n\n\tchain INPUT {\n\t\ttype filter hook input "
        "priority filter; policy accept;\n\t\tcounter packets 0 bytes 0 jump CRIU\n";
    CHECK(ruleset_without_locks(lock + "\t}\n}\n" + kUsers).value() == kUsers);
    const std::string kept = ruleset_without_locks(lock + "\t\ttcp dport 80 drop\n\t}\n}\n").value();
    CHECK(kept.find("CRIU") == std::string::npos);
    CHECK(kept.find("tcp dport 80 drop") != std::string::npos);
}

TEST_CASE("ruleset: commands of strangers are refused") {
    CHECK_FALSE(ruleset_without_locks("include \"/etc/shadow\"\n"));
    CHECK_FALSE(ruleset_without_locks("table inet t {\n\tinclude \"/etc/shadow\"\n}\n"));
    CHECK_FALSE(ruleset_without_locks("flush ruleset\n"));
    CHECK_FALSE(ruleset_without_locks("table inet t { }; flush ruleset\n"));
    CHECK_FALSE(ruleset_without_locks("table inet t {\n"));
    CHECK_FALSE(ruleset_without_locks("}\n"));
}

TEST_CASE("iptables: only the lock of a dump and chains that accept all are no rules") {
    const std::string head = "# Generated\n*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [3:9]\n";
    CHECK(is_without_rules(head + "COMMIT\n"));
    CHECK(is_without_rules(head + ":CRIU - [0:0]\n-A INPUT -j CRIU\n-A CRIU -m mark --mark 0xc114 -j ACCEPT\n"
                                  "-A CRIU -j DROP\nCOMMIT\n"));
    CHECK_FALSE(is_without_rules(head + "-A INPUT -p tcp --dport 22 -j DROP\nCOMMIT\n"));
    CHECK_FALSE(is_without_rules("*filter\n:INPUT DROP [0:0]\nCOMMIT\n"));
    CHECK_FALSE(is_without_rules(head + ":mine - [0:0]\nCOMMIT\n"));
}
