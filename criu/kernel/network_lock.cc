// table inet NAME {
//     set conns4 { type ipv4_addr . inet_service . ipv4_addr . inet_service; }    local address first
//     set conns6 { type ipv6_addr . inet_service . ipv6_addr . inet_service; }
//     chain input { type filter hook input priority 0; meta mark 0xc114 accept;
//         ip daddr . tcp dport . ip saddr . tcp sport @conns4 drop; and the same for IPv6 }
//     chain output { ...; ip saddr . tcp sport . ip daddr . tcp dport @conns4 drop; ... }
// }
#include "criu/kernel/network_lock.hh"

#include "criu/kernel/nft_batch.hh"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

namespace kernel {
namespace {

constexpr uint32_t kTableOwner = 2; // NFT_TABLE_F_OWNER, since Linux 5.12

struct Family {
    const char *set;
    uint32_t set_id;
    uint8_t nfproto;
    uint32_t address_bytes;
    uint32_t source_offset, destination_offset; ///< in the IP header
    uint32_t address_type;                      ///< nft's number of the type, for those who list the table
};
constexpr Family kV4{"conns4", 1, NFPROTO_IPV4, 4, 12, 16, 7};
constexpr Family kV6{"conns6", 2, NFPROTO_IPV6, 16, 8, 24, 8};
constexpr uint32_t kServiceType = 13;

uint32_t key_bytes(const Family &family) {
    return 2 * (family.address_bytes + 4);
}

/// Expressions of one rule; a register holds 4 bytes.
class Rule {
public:
    Rule(NftBatch &batch, const std::string &table, const char *chain) : batch_(batch) {
        batch_.message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
        batch_.text(NFTA_RULE_TABLE, table);
        batch_.text(NFTA_RULE_CHAIN, chain);
        list_ = batch_.open(NLA_F_NESTED | NFTA_RULE_EXPRESSIONS);
    }
    ~Rule() { batch_.close(list_); }
    Rule(const Rule &) = delete;

    void load_meta(nft_meta_keys key) {
        expression("meta", [&] {
            batch_.number(NFTA_META_KEY, key);
            batch_.number(NFTA_META_DREG, NFT_REG32_00);
        });
    }
    template <class T> void must_equal(const T &value) {
        expression("cmp", [&] {
            batch_.number(NFTA_CMP_SREG, NFT_REG32_00);
            batch_.number(NFTA_CMP_OP, NFT_CMP_EQ);
            nested(NFTA_CMP_DATA, [&] { batch_.value(NFTA_DATA_VALUE, value); });
        });
    }
    void load_packet(nft_payload_bases base, uint32_t offset, uint32_t bytes, uint32_t word) {
        expression("payload", [&] {
            batch_.number(NFTA_PAYLOAD_DREG, NFT_REG32_00 + word);
            batch_.number(NFTA_PAYLOAD_BASE, base);
            batch_.number(NFTA_PAYLOAD_OFFSET, offset);
            batch_.number(NFTA_PAYLOAD_LEN, bytes);
        });
    }
    void must_be_in(const Family &family) {
        expression("lookup", [&] {
            batch_.text(NFTA_LOOKUP_SET, family.set);
            batch_.number(NFTA_LOOKUP_SET_ID, family.set_id);
            batch_.number(NFTA_LOOKUP_SREG, NFT_REG32_00);
        });
    }
    void verdict(int code) {
        expression("immediate", [&] {
            batch_.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
            nested(NFTA_IMMEDIATE_DATA, [&] {
                nested(NFTA_DATA_VERDICT, [&] { batch_.number(NFTA_VERDICT_CODE, static_cast<uint32_t>(code)); });
            });
        });
    }

private:
    void nested(uint16_t type, auto &&body) {
        const size_t at = batch_.open(NLA_F_NESTED | type);
        body();
        batch_.close(at);
    }
    void expression(const char *name, auto &&body) {
        nested(NFTA_LIST_ELEM, [&] {
            batch_.text(NFTA_EXPR_NAME, name);
            nested(NFTA_EXPR_DATA, body);
        });
    }
    NftBatch &batch_;
    size_t list_;
};

void add_table(NftBatch &batch, const std::string &table, uint32_t flags) {
    batch.message(NFT_MSG_NEWTABLE, NLM_F_CREATE);
    batch.text(NFTA_TABLE_NAME, table);
    batch.number(NFTA_TABLE_FLAGS, flags);
}

void delete_table(NftBatch &batch, const std::string &table) {
    batch.message(NFT_MSG_DELTABLE, 0);
    batch.text(NFTA_TABLE_NAME, table);
}

void add_set(NftBatch &batch, const std::string &table, const Family &family) {
    batch.message(NFT_MSG_NEWSET, NLM_F_CREATE);
    batch.text(NFTA_SET_TABLE, table);
    batch.text(NFTA_SET_NAME, family.set);
    batch.number(NFTA_SET_FLAGS, 0);
    const uint32_t half = family.address_type << 6 | kServiceType;
    batch.number(NFTA_SET_KEY_TYPE, half << 12 | half);
    batch.number(NFTA_SET_KEY_LEN, key_bytes(family));
    batch.number(NFTA_SET_ID, family.set_id);
}

void add_key(NftBatch &batch, const Connection &connection, const Family &family) {
    std::byte key[40] = {};
    size_t at = 0;
    auto put = [&](const std::array<uint8_t, 16> &address, uint16_t port) {
        memcpy(key + at, address.data(), family.address_bytes);
        const uint16_t network_port = htons(port);
        memcpy(key + at + family.address_bytes, &network_port, sizeof network_port);
        at += family.address_bytes + 4;
    };
    put(connection.local, connection.local_port);
    put(connection.peer, connection.peer_port);
    const size_t element = batch.open(NLA_F_NESTED | NFTA_LIST_ELEM);
    const size_t outer = batch.open(NLA_F_NESTED | NFTA_SET_ELEM_KEY);
    batch.attribute(NFTA_DATA_VALUE, std::span(key, at));
    batch.close(outer);
    batch.close(element);
}

void add_elements(NftBatch &batch, const std::string &table, const Family &family,
                  std::span<const Connection> connections) {
    constexpr size_t kMost = 40000; // an attribute's length has 16 bits
    size_t list = 0, started = 0;
    for (const Connection &connection : connections) {
        if (connection.v6 != (&family == &kV6))
            continue;
        if (list && batch.size() - started > kMost)
            batch.close(list), list = 0;
        if (!list) {
            batch.message(NFT_MSG_NEWSETELEM, NLM_F_CREATE);
            batch.text(NFTA_SET_ELEM_LIST_TABLE, table);
            batch.text(NFTA_SET_ELEM_LIST_SET, family.set);
            batch.number(NFTA_SET_ELEM_LIST_SET_ID, family.set_id);
            started = list = batch.open(NLA_F_NESTED | NFTA_SET_ELEM_LIST_ELEMENTS);
        }
        add_key(batch, connection, family);
    }
    if (list)
        batch.close(list);
}

void add_chain(NftBatch &batch, const std::string &table, const char *chain, uint32_t hook) {
    batch.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    batch.text(NFTA_CHAIN_TABLE, table);
    batch.text(NFTA_CHAIN_NAME, chain);
    const size_t at = batch.open(NLA_F_NESTED | NFTA_CHAIN_HOOK);
    batch.number(NFTA_HOOK_HOOKNUM, hook);
    batch.number(NFTA_HOOK_PRIORITY, 0);
    batch.close(at);
    batch.text(NFTA_CHAIN_TYPE, "filter");
}

void pass_marked(NftBatch &batch, const std::string &table, const char *chain) {
    Rule rule(batch, table, chain);
    rule.load_meta(NFT_META_MARK);
    rule.must_equal(kPassMark);
    rule.verdict(NF_ACCEPT);
}

void drop_known(NftBatch &batch, const std::string &table, const char *chain, bool incoming, const Family &family) {
    Rule rule(batch, table, chain);
    rule.load_meta(NFT_META_NFPROTO);
    rule.must_equal(family.nfproto);
    rule.load_meta(NFT_META_L4PROTO);
    rule.must_equal(static_cast<uint8_t>(IPPROTO_TCP));
    const uint32_t address_words = family.address_bytes / 4, half = address_words + 1;
    const uint32_t source = incoming ? half : 0, destination = incoming ? 0 : half;
    rule.load_packet(NFT_PAYLOAD_NETWORK_HEADER, family.source_offset, family.address_bytes, source);
    rule.load_packet(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, source + address_words);
    rule.load_packet(NFT_PAYLOAD_NETWORK_HEADER, family.destination_offset, family.address_bytes, destination);
    rule.load_packet(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, destination + address_words);
    rule.must_be_in(family);
    rule.verdict(NF_DROP);
}

Result<void> explain(Result<void> outcome, const std::string &table) {
    if (outcome)
        return outcome;
    base::Error error = std::move(outcome).error();
    error.ctx(fmt::format("lock the network (table {})", table));
    error.hint(error.code() == EPERM
                   ? "this takes the capability CAP_NET_ADMIN in the network's user namespace"
                   : "the kernel needs nf_tables for it; --network-lock skip goes without, if nobody sends meanwhile");
    return base::fail(std::move(error));
}

void add_lock(NftBatch &batch, const std::string &table, std::span<const Connection> connections, uint32_t flags) {
    add_table(batch, table, flags);
    for (const Family *family : {&kV4, &kV6}) {
        add_set(batch, table, *family);
        add_elements(batch, table, *family, connections);
    }
    for (bool incoming : {true, false}) {
        const char *chain = incoming ? "input" : "output";
        add_chain(batch, table, chain, incoming ? NF_INET_LOCAL_IN : NF_INET_LOCAL_OUT);
        pass_marked(batch, table, chain);
        drop_known(batch, table, chain, incoming, kV4);
        drop_known(batch, table, chain, incoming, kV6);
    }
}

// A table of that name that is there already goes.
Result<void> replace_lock(int socket, const std::string &table, std::span<const Connection> connections) {
    NftBatch batch;
    add_table(batch, table, 0);
    delete_table(batch, table);
    add_lock(batch, table, connections, 0);
    return batch.commit(socket);
}

Result<bool> delete_through(int socket, const std::string &table) {
    NftBatch batch;
    delete_table(batch, table);
    auto outcome = batch.commit(socket);
    if (!outcome && outcome.error().code() != ENOENT)
        return base::fail(std::move(outcome.error().ctx(fmt::format("unlock the network (table {})", table))));
    return outcome.has_value();
}

} // namespace

std::string lock_table_name(const std::string &run_id) {
    constexpr size_t kLongest = 31;
    return ("CRIU-" + run_id).substr(0, kLongest);
}

Result<HeldNetworkLock> HeldNetworkLock::take(std::string table, std::span<const Connection> connections) {
    auto socket = TRY(nft_socket());
    NftBatch batch;
    add_lock(batch, table, connections, kTableOwner);
    auto outcome = batch.commit(socket.get());
    const int code = outcome ? 0 : outcome.error().code();
    if (code == EOPNOTSUPP || code == EINVAL || code == EEXIST) // no owners before 5.12; a lock that lasts is there
        outcome = replace_lock(socket.get(), table, connections);
    TRY(explain(std::move(outcome), table));
    return HeldNetworkLock(std::move(socket), std::move(table));
}

Result<void> HeldNetworkLock::make_lasting(std::span<const Connection> connections) {
    NftBatch batch;
    delete_table(batch, table_);
    add_lock(batch, table_, connections, 0);
    return explain(batch.commit(socket_.get()), table_);
}

Result<void> HeldNetworkLock::release() {
    if (socket_)
        TRY(delete_through(socket_.get(), table_));
    socket_.reset();
    return {};
}

Result<bool> unlock_network(const std::string &table) {
    return delete_through(TRY(nft_socket()).get(), table);
}

Result<bool> is_network_locked(const std::string &table) {
    // Asked in a transaction that changes nothing: creating it anew is refused if it is there, and taken back if not.
    auto socket = TRY(nft_socket());
    NftBatch batch;
    batch.message(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
    batch.text(NFTA_TABLE_NAME, table);
    delete_table(batch, table);
    auto outcome = batch.commit(socket.get());
    // EPERM: a running process owns it.
    if (!outcome && outcome.error().code() != EEXIST && outcome.error().code() != EPERM)
        return base::fail(std::move(outcome).error());
    return !outcome.has_value();
}

} // namespace kernel
