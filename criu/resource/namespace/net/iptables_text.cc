#include "criu/resource/namespace/net/iptables_text.hh"

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <optional>
#include <span>
#include <vector>

namespace resource::net {
namespace {

using Words = std::vector<std::string>;

constexpr std::string_view kLockChain = "CRIU";

struct Hook {
    std::string_view table, chain, type, name;
    int priority;
};
constexpr Hook kHooks[] = {
    {"filter", "INPUT", "filter", "input", 0},
    {"filter", "FORWARD", "filter", "forward", 0},
    {"filter", "OUTPUT", "filter", "output", 0},
    {"nat", "PREROUTING", "nat", "prerouting", -100},
    {"nat", "INPUT", "nat", "input", 100},
    {"nat", "OUTPUT", "nat", "output", -100},
    {"nat", "POSTROUTING", "nat", "postrouting", 100},
    {"mangle", "PREROUTING", "filter", "prerouting", -150},
    {"mangle", "INPUT", "filter", "input", -150},
    {"mangle", "FORWARD", "filter", "forward", -150},
    {"mangle", "OUTPUT", "route", "output", -150},
    {"mangle", "POSTROUTING", "filter", "postrouting", -150},
    {"raw", "PREROUTING", "filter", "prerouting", -300},
    {"raw", "OUTPUT", "filter", "output", -300},
    {"security", "INPUT", "filter", "input", 50},
    {"security", "FORWARD", "filter", "forward", 50},
    {"security", "OUTPUT", "filter", "output", 50},
};

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// What goes into a command of nft must not end it.
bool is_plain(std::string_view word) {
    return !word.empty() && std::ranges::all_of(word, [](char c) {
        return is_letter(c) || is_digit(c) || std::string_view("_.:/,+-[]%").contains(c);
    });
}

bool is_name(std::string_view word) {
    return is_plain(word) && (is_letter(word.front()) || word.front() == '_') && !word.contains(',');
}

/// Words of a line; those in quotes are one.
Result<Words> split(std::string_view line) {
    Words words;
    for (size_t i = 0; i < line.size();) {
        if (line[i] == ' ') {
            i++;
            continue;
        }
        std::string &word = words.emplace_back();
        const bool quoted = line[i] == '"';
        for (i += quoted; i < line.size() && line[i] != (quoted ? '"' : ' '); i++) {
            if (line[i] == '\\' && i + 1 < line.size())
                i++;
            word += line[i];
        }
        if (quoted && i++ >= line.size())
            return base::bad_image("a quotation that does not end");
    }
    return words;
}

std::optional<uint64_t> number_of(std::string_view text) {
    const bool hex = text.starts_with("0x");
    text.remove_prefix(hex ? 2 : 0);
    uint64_t value = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
    return error == std::errc() && rest == text.data() + text.size() && !text.empty() ? std::optional(value)
                                                                                      : std::nullopt;
}

std::string replaced(std::string text, char from, char to) {
    std::ranges::replace(text, from, to);
    return text;
}

std::string lower(std::string text) {
    for (char &c : text)
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return text;
}

/// One rule on its way.
class Rule {
public:
    Rule(const Words &words, IpFamily family) : words_(words), family_(family) {}

    /// The words behind `-A CHAIN`.
    Result<std::string> translate() {
        while (at_ < words_.size())
            TRY(next());
        std::string text = matches_ + "counter" + counts_;
        if (!statement_.empty())
            text += " " + statement_;
        if (!comment_.empty())
            text += fmt::format(" comment \"{}\"", comment_);
        return text;
    }

    void set_counts(const std::string &packets, const std::string &bytes) {
        counts_ = fmt::format(" packets {} bytes {}", packets, bytes);
    }

private:
    using Handler = Result<void> (Rule::*)(const std::string &option);
    struct Option {
        std::string_view name;
        Handler handler;
    };
    static std::span<const Option> options();

    Result<void> next() {
        negated_ = words_[at_] == "!";
        at_ += negated_;
        if (at_ >= words_.size())
            return base::bad_image("a rule that ends early");
        const std::string option = words_[at_++];
        const auto known = std::ranges::find(options(), option, &Option::name);
        if (known == options().end())
            return unsupported(option);
        return (this->*known->handler)(option);
    }

    static std::unexpected<base::Error> unsupported(const std::string &what) {
        return base::unsupported(fmt::format("{} has no translation to nftables here", what));
    }

    /// The option's value: words that cannot be anything but a value.
    Result<std::string> value() {
        if (at_ < words_.size() && words_[at_] == "!") // as iptables before 1.4.3 wrote it
            negated_ = true, at_++;
        if (at_ >= words_.size() || !is_plain(words_[at_]))
            return base::bad_image("a rule with an impossible value");
        return words_[at_++];
    }
    Result<std::string> quoted() {
        if (at_ >= words_.size() || words_[at_].find_first_of("\"\\\n") != std::string::npos)
            return base::bad_image("a rule with an impossible text");
        return words_[at_++];
    }
    Result<uint64_t> number() {
        const auto found = number_of(TRY(value()));
        return found ? Result<uint64_t>(*found) : base::bad_image("a rule with an impossible number");
    }

    std::string ip() const { return family_ == IpFamily::V4 ? "ip" : "ip6"; }
    void match(const std::string &what, const std::string &that) {
        matches_ += fmt::format("{} {}{} ", what, negated_ ? "!= " : "", that);
    }
    void add(std::string words) { statement_ += (statement_.empty() ? "" : " ") + std::move(words); }

    Result<void> address(const std::string &option) {
        match(ip() + (option == "-s" ? " saddr" : " daddr"), TRY(value()));
        return {};
    }
    Result<void> device(const std::string &option) {
        std::string name = TRY(value());
        if (name.back() == '+')
            name.back() = '*';
        match(option == "-i" ? "iifname" : "oifname", fmt::format("\"{}\"", name));
        return {};
    }
    Result<void> protocol(const std::string &) {
        protocol_ = TRY(value());
        if (protocol_ != "all")
            match("meta l4proto", protocol_);
        return {};
    }
    /// Which matches follow: they say it themselves.
    Result<void> module(const std::string &) {
        TRY(value());
        return {};
    }
    Result<void> port(const std::string &option) {
        std::string ports = replaced(TRY(value()), ':', '-');
        if (protocol_.empty())
            return base::bad_image("ports without a protocol");
        if (ports.starts_with('-'))
            ports.insert(0, "0");
        if (ports.ends_with('-'))
            ports += "65535";
        const bool several = ports.contains(',');
        const char *which = option.starts_with("--d") ? "dport" : "sport";
        const bool any = protocol_ != "tcp" && protocol_ != "udp" && protocol_ != "sctp" && protocol_ != "dccp" &&
                         protocol_ != "udplite";
        match(fmt::format("{} {}", any ? "th" : protocol_, which), several ? "{ " + ports + " }" : ports);
        return {};
    }
    Result<void> state(const std::string &) {
        const std::string states = lower(TRY(value()));
        if (states.contains("nat"))
            return unsupported("--ctstate " + states);
        match("ct state", "{ " + states + " }");
        return {};
    }
    Result<void> mark(const std::string &) {
        const std::string text = TRY(value());
        const size_t slash = text.find('/');
        if (!number_of(text.substr(0, slash)) || (slash != text.npos && !number_of(text.substr(slash + 1))))
            return base::bad_image("a rule with an impossible mark");
        if (slash == text.npos)
            match("meta mark", text);
        else
            matches_ += fmt::format("meta mark and {} {} {} ", text.substr(slash + 1),
                                    negated_ ? "!=" : "==", text.substr(0, slash));
        return {};
    }
    Result<void> comment(const std::string &) {
        comment_ = TRY(quoted());
        return {};
    }
    /// "5/sec", "10/min"; the burst that follows is part of the same words.
    Result<void> limit(const std::string &) {
        constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kUnits{
            {{"s", "second"}, {"m", "minute"}, {"h", "hour"}, {"d", "day"}}};
        const std::string rate = TRY(value());
        const size_t slash = rate.find('/');
        const auto unit = std::ranges::find_if(kUnits, [&](const auto &each) {
            return slash != rate.npos && std::string_view(rate).substr(slash + 1).starts_with(each.first);
        });
        if (unit == kUnits.end() || !number_of(rate.substr(0, slash)))
            return base::bad_image("a rule with an impossible limit");
        uint64_t burst = 5;
        if (at_ < words_.size() && words_[at_] == "--limit-burst") {
            at_++;
            burst = TRY(number());
        }
        matches_ += fmt::format("limit rate {}/{} burst {} packets ", rate.substr(0, slash), unit->second, burst);
        return {};
    }
    Result<void> address_type(const std::string &option) {
        match(option == "--dst-type" ? "fib daddr type" : "fib saddr type", "{ " + lower(TRY(value())) + " }");
        return {};
    }
    Result<void> icmp_type(const std::string &) {
        const std::string type = TRY(value());
        const size_t slash = type.find('/');
        const std::string name = family_ == IpFamily::V4 ? "icmp" : "icmpv6";
        if (!number_of(type.substr(0, slash)))
            return unsupported("--icmp-type " + type);
        if (slash != type.npos && negated_)
            return unsupported("! --icmp-type " + type);
        match(name + " type", type.substr(0, slash));
        if (slash != type.npos)
            match(name + " code", type.substr(slash + 1));
        return {};
    }
    Result<void> syn(const std::string &) {
        matches_ += fmt::format("tcp flags & (fin | syn | rst | ack) {} syn ", negated_ ? "!=" : "==");
        return {};
    }
    Result<void> tcp_flags(const std::string &) {
        const auto list = [](std::string flags) {
            flags = lower(flags);
            if (flags == "all")
                flags = "fin,syn,rst,psh,ack,urg";
            std::string text = flags == "none" ? "0x0" : "";
            for (char c : flags == "none" ? std::string() : flags)
                text += c == ',' ? std::string(" | ") : std::string(1, c);
            return text;
        };
        const std::string mask = list(TRY(value())), wanted = list(TRY(value()));
        matches_ += fmt::format("tcp flags & ({}) {} {} ", mask, negated_ ? "!=" : "==", wanted);
        return {};
    }

    // ---- targets

    Result<void> target(const std::string &option) {
        const std::string name = TRY(value());
        if (name == "ACCEPT" || name == "DROP" || name == "RETURN")
            add(lower(name));
        else if (name == "REJECT")
            return reject();
        else if (name == "LOG")
            add("log");
        else if (name == "MASQUERADE" || name == "DNAT" || name == "SNAT" || name == "REDIRECT" || name == "MARK")
            add(name == "MARK" ? "meta mark set" : lower(name));
        else if (std::ranges::all_of(name, [](char c) { return c >= 'A' && c <= 'Z'; }) && is_target(name))
            return unsupported("the target " + name);
        else if (!is_name(name))
            return base::bad_image("a chain of an impossible name");
        else
            add((option == "-g" ? "goto " : "jump ") + name);
        return {};
    }
    /// Those that a chain cannot be told from by its name.
    static bool is_target(std::string_view name) {
        constexpr std::string_view kTargets[] = {
            "AUDIT", "CHECKSUM", "CLASSIFY",  "CONNMARK", "CONNSECMARK", "CT",     "DSCP",        "ECN",
            "HL",    "HMARK",    "IDLETIMER", "LED",      "NETMAP",      "NFLOG",  "NFQUEUE",     "NOTRACK",
            "QUEUE", "RATEEST",  "SECMARK",   "SET",      "SYNPROXY",    "TCPMSS", "TCPOPTSTRIP", "TEE",
            "TOS",   "TPROXY",   "TRACE",     "TTL",      "ULOG",        "DNPT",   "SNPT"};
        return std::ranges::find(kTargets, name) != std::end(kTargets);
    }
    Result<void> reject() {
        std::string how = family_ == IpFamily::V4 ? "icmp-port-unreachable" : "icmp6-port-unreachable";
        if (at_ < words_.size() && words_[at_] == "--reject-with") {
            at_++;
            how = TRY(value());
        }
        if (how == "tcp-reset") {
            add("reject with tcp reset");
            return {};
        }
        const size_t dash = how.find('-');
        if (dash == how.npos)
            return unsupported("--reject-with " + how);
        std::string type = how.substr(dash + 1);
        if (type == "proto-unreachable")
            type = "prot-unreachable";
        if (type == "adm-prohibited")
            type = "admin-prohibited";
        add(fmt::format("reject with {} type {}", family_ == IpFamily::V4 ? "icmp" : "icmpv6", type));
        return {};
    }
    Result<void> log_prefix(const std::string &) {
        add(fmt::format("prefix \"{}\"", TRY(quoted())));
        return {};
    }
    Result<void> log_level(const std::string &) {
        constexpr std::string_view kLevels[] = {"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"};
        const uint64_t level = TRY(number());
        if (level >= std::size(kLevels))
            return base::bad_image("a rule with an impossible level");
        add(fmt::format("level {}", kLevels[level]));
        return {};
    }
    Result<void> translation(const std::string &) {
        add("to " + TRY(value()));
        return {};
    }
    Result<void> translated_ports(const std::string &) {
        add("to :" + TRY(value()));
        return {};
    }
    Result<void> translation_flag(const std::string &option) {
        add(option == "--random-fully" ? "fully-random" : option.substr(2));
        return {};
    }
    Result<void> set_mark(const std::string &) {
        constexpr uint64_t kAll = 0xffffffff;
        const std::string text = TRY(value());
        const size_t slash = text.find('/');
        const auto mark = number_of(text.substr(0, slash));
        const auto mask = slash == text.npos ? std::optional(kAll) : number_of(text.substr(slash + 1));
        if (!mark || !mask)
            return base::bad_image("a rule with an impossible mark");
        add(*mask == kAll ? fmt::format("{:#x}", *mark)
                          : fmt::format("meta mark and {:#x} xor {:#x}", ~*mask & kAll, *mark));
        return {};
    }

    const Words &words_;
    IpFamily family_;
    size_t at_ = 0;
    bool negated_ = false;
    std::string matches_, statement_, comment_, counts_, protocol_;
};

std::span<const Rule::Option> Rule::options() {
    static constexpr Option kOptions[] = {
        {"-s", &Rule::address},
        {"-d", &Rule::address},
        {"-i", &Rule::device},
        {"-o", &Rule::device},
        {"-p", &Rule::protocol},
        {"-m", &Rule::module},
        {"-j", &Rule::target},
        {"-g", &Rule::target},
        {"--dport", &Rule::port},
        {"--sport", &Rule::port},
        {"--dports", &Rule::port},
        {"--sports", &Rule::port},
        {"--ctstate", &Rule::state},
        {"--state", &Rule::state},
        {"--mark", &Rule::mark},
        {"--comment", &Rule::comment},
        {"--limit", &Rule::limit},
        {"--dst-type", &Rule::address_type},
        {"--src-type", &Rule::address_type},
        {"--icmp-type", &Rule::icmp_type},
        {"--icmpv6-type", &Rule::icmp_type},
        {"--syn", &Rule::syn},
        {"--tcp-flags", &Rule::tcp_flags},
        {"--log-prefix", &Rule::log_prefix},
        {"--log-level", &Rule::log_level},
        {"--to-destination", &Rule::translation},
        {"--to-source", &Rule::translation},
        {"--to-ports", &Rule::translated_ports},
        {"--random", &Rule::translation_flag},
        {"--random-fully", &Rule::translation_flag},
        {"--persistent", &Rule::translation_flag},
        {"--set-mark", &Rule::set_mark},
        {"--set-xmark", &Rule::set_mark},
    };
    return kOptions;
}

class Translator {
public:
    Translator(IpFamily family, std::string_view other_tables) : family_(family), other_(other_tables) {}

    Result<std::string> translate(std::string_view text) {
        for (size_t number = 1; !text.empty(); number++) {
            const std::string_view line = text.substr(0, text.find('\n'));
            text.remove_prefix(std::min(line.size() + 1, text.size()));
            TRY_CTX(take(line), fmt::format("line {}: {}", number, line));
        }
        return table_.empty() ? Result<std::string>(chains_ + rules_) : base::bad_image("a table without an end");
    }

private:
    Result<void> take(std::string_view line) {
        if (line.empty() || line.front() == '#')
            return {};
        if (line.front() == '*')
            return begin(std::string(line.substr(1)));
        if (table_.empty())
            return base::bad_image("no table");
        if (line == "COMMIT") {
            table_.clear();
            return {};
        }
        const Words words = TRY(split(line));
        return line.front() == ':' ? add_chain(words) : add_rule(words);
    }

    Result<void> begin(const std::string &table) {
        if (std::ranges::find(kHooks, table, &Hook::table) == std::end(kHooks))
            return base::unsupported(fmt::format("a table {}", table));
        const std::string family = family_ == IpFamily::V4 ? "ip" : "ip6";
        const bool taken = other_.contains(fmt::format("table {} {} {{", family, table));
        table_ = table;
        place_ = fmt::format("{} {}{}", family, taken ? "legacy-" : "", table);
        chains_ += fmt::format("add table {}\n", place_);
        return {};
    }

    /// `:INPUT ACCEPT [0:0]`
    Result<void> add_chain(const Words &words) {
        const std::string name = words.front().substr(1);
        if (words.size() < 2 || !is_name(name))
            return base::bad_image("no chain");
        if (name == kLockChain)
            return {};
        const auto hook =
            std::ranges::find_if(kHooks, [&](const Hook &each) { return each.table == table_ && each.chain == name; });
        if (hook == std::end(kHooks) || words[1] == "-") {
            chains_ += fmt::format("add chain {} {}\n", place_, name);
            return {};
        }
        if (words[1] != "ACCEPT" && words[1] != "DROP")
            return base::bad_image("an unknown policy");
        chains_ += fmt::format("add chain {} {} {{ type {} hook {} priority {}; policy {}; }}\n", place_, name,
                               hook->type, hook->name, hook->priority, lower(words[1]));
        return {};
    }

    /// `[12:3456] -A INPUT ...`; the counts are there with `iptables-save -c`.
    Result<void> add_rule(Words words) {
        std::string packets, bytes;
        if (words.front().starts_with('[')) {
            const std::string counts = words.front();
            const size_t colon = counts.find(':');
            if (colon == counts.npos || !counts.ends_with(']'))
                return base::bad_image("impossible counts");
            packets = counts.substr(1, colon - 1), bytes = counts.substr(colon + 1, counts.size() - colon - 2);
            if (!number_of(packets) || !number_of(bytes))
                return base::bad_image("impossible counts");
            words.erase(words.begin());
        }
        if (words.size() < 2 || words[0] != "-A" || !is_name(words[1]))
            return base::bad_image("no rule");
        const std::string chain = words[1];
        words.erase(words.begin(), words.begin() + 2);
        if (chain == kLockChain || words == Words{"-j", std::string(kLockChain)})
            return {};
        Rule rule(words, family_);
        if (!packets.empty())
            rule.set_counts(packets, bytes);
        rules_ += fmt::format("add rule {} {} {}\n", place_, chain, TRY(rule.translate()));
        return {};
    }

    IpFamily family_;
    std::string_view other_;
    std::string table_, place_;
    std::string chains_, rules_; ///< chains first: rules jump to them
};

} // namespace

Result<std::string> iptables_to_nftables(std::string_view text, IpFamily family, std::string_view other_tables) {
    return Translator(family, other_tables).translate(text);
}

} // namespace resource::net
