#include "criu/kernel/nft_batch.hh"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

namespace kernel {
namespace {

template <class T> void append(std::string &bytes, const T &value) {
    bytes.append(reinterpret_cast<const char *>(&value), sizeof value);
}

void append_header(std::string &bytes, uint16_t type, uint16_t flags, uint32_t sequence, uint16_t subsystem) {
    append(bytes, nlmsghdr{0, type, flags, sequence, 0});
    append(bytes, nfgenmsg{NFPROTO_INET, NFNETLINK_V0, htons(subsystem)});
}

void align(std::string &bytes) {
    bytes.resize(NLMSG_ALIGN(bytes.size()));
}

} // namespace

NftBatch::NftBatch() {
    append_header(bytes_, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 0, NFNL_SUBSYS_NFTABLES);
    finish_message();
}

void NftBatch::finish_message() {
    const auto length = static_cast<uint32_t>(bytes_.size() - current_);
    memcpy(bytes_.data() + current_, &length, sizeof length);
}

void NftBatch::message(int type, uint16_t flags) {
    current_ = bytes_.size();
    append_header(bytes_, static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type),
                  static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags), sequence_++, 0);
    finish_message();
}

void NftBatch::attribute(uint16_t type, std::span<const std::byte> data) {
    const size_t at = open(type);
    bytes_.append(reinterpret_cast<const char *>(data.data()), data.size());
    close(at);
}

void NftBatch::text(uint16_t type, std::string_view value) {
    const size_t at = open(type);
    bytes_.append(value).push_back('\0');
    close(at);
}

void NftBatch::number(uint16_t type, uint32_t value) {
    this->value(type, htonl(value));
}

size_t NftBatch::open(uint16_t type) {
    const size_t at = bytes_.size();
    append(bytes_, nlattr{0, type});
    return at;
}

void NftBatch::close(size_t opened) {
    const auto length = static_cast<uint16_t>(bytes_.size() - opened);
    memcpy(bytes_.data() + opened, &length, sizeof length);
    align(bytes_);
    finish_message();
}

Result<void> NftBatch::commit(int socket) {
    current_ = bytes_.size();
    append_header(bytes_, NFNL_MSG_BATCH_END, NLM_F_REQUEST, sequence_, NFNL_SUBSYS_NFTABLES);
    finish_message();
    const int room = static_cast<int>(bytes_.size() + 65536);
    if (setsockopt(socket, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) < 0)
        setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    if (send(socket, bytes_.data(), bytes_.size(), 0) < 0)
        return base::fail_sys("send to nf_tables");
    // The kernel has answered when send() returns.
    alignas(nlmsghdr) char buffer[16384];
    ssize_t n;
    while ((n = recv(socket, buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
        auto left = static_cast<uint32_t>(n);
        for (auto *header = reinterpret_cast<nlmsghdr *>(buffer); NLMSG_OK(header, left);
             header = NLMSG_NEXT(header, left)) {
            const auto *error = static_cast<const nlmsgerr *>(NLMSG_DATA(header));
            if (header->nlmsg_type == NLMSG_ERROR && error->error)
                return base::fail_sys(-error->error, "nf_tables");
        }
    }
    if (n < 0 && errno != EAGAIN)
        return base::fail_sys("hear from nf_tables");
    return {};
}

Result<base::UniqueFd> nft_socket() {
    base::UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
    if (!fd)
        return base::fail_sys("open a socket to nf_tables");
    return fd;
}

} // namespace kernel
