// Encryption of a stream of images, record by record: see stream_format.hh.
#pragma once

#include "base/result.hh"
#include "criu/pages/stream_format.hh"

#include <memory>
#include <span>
#include <vector>

namespace pages::stream {

/// What a key file holds. Errors: Usage if it has fewer than 32 bytes or more than 4096; System.
Result<std::vector<std::byte>> read_key(const std::string &path);

/// Salt of a new stream.
Result<void> make_salt(Head &head);

class Seal {
public:
    /// The key of the stream that begins with `head`. Errors: System.
    static Result<Seal> derive(std::span<const std::byte> key, const Head &head);

    /// Record `number` becomes what is stored: as many bytes, and the tag.
    Result<void> close(uint64_t number, const Header &header, std::span<const std::byte> bytes,
                       std::span<std::byte> sealed);
    /// The other way round. Errors: BadImage if anything is not as it was written.
    Result<void> open(uint64_t number, const Header &header, std::span<const std::byte> sealed,
                      std::span<std::byte> bytes);

private:
    struct Free {
        void operator()(void *context) const;
    };
    Seal() = default;
    unsigned char key_[32]{};
    std::unique_ptr<void, Free> context_; ///< EVP_CIPHER_CTX, used for one record after the other
};

} // namespace pages::stream
