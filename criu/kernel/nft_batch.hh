// Messages for nf_tables, gathered into one transaction: all of it happens, or nothing.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <cstdint>
#include <linux/netlink.h>
#include <span>
#include <string>
#include <string_view>

namespace kernel {

using base::Result;

class NftBatch {
public:
    NftBatch();
    /// Starts a message, NFT_MSG_...; the attributes that follow belong to it.
    void message(int type, uint16_t flags);
    void attribute(uint16_t type, std::span<const std::byte> data);
    void text(uint16_t type, std::string_view value); ///< with a zero byte
    void number(uint16_t type, uint32_t value);       ///< in network order, as nf_tables wants them
    template <class T> void value(uint16_t type, const T &value) {
        attribute(type, std::as_bytes(std::span(&value, 1)));
    }
    /// Attributes inside of another one.
    size_t open(uint16_t type);
    void close(size_t opened);
    size_t size() const { return bytes_.size(); }

    /// Sends the transaction through `socket`. Errors: System with the errno of the first message that was refused.
    Result<void> commit(int socket);

private:
    void finish_message();
    std::string bytes_;
    size_t current_ = 0; ///< where the message begins
    uint32_t sequence_ = 1;
};

/// A socket to nf_tables.
Result<base::UniqueFd> nft_socket();

} // namespace kernel
