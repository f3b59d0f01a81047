#include "criu/pages/codec.hh"

#include <algorithm>
#include <cstring>
#include <lz4.h>
#include <vector>
#include <zstd.h>

namespace pages {
namespace {

const char *text(std::span<const std::byte> bytes) {
    return reinterpret_cast<const char *>(bytes.data());
}
char *text(std::span<std::byte> bytes) {
    return reinterpret_cast<char *>(bytes.data());
}

} // namespace

bool is_zero(std::span<const std::byte> bytes) {
    return bytes.empty() || (bytes[0] == std::byte{} && std::memcmp(&bytes[0], &bytes[1], bytes.size() - 1) == 0);
}

struct Packer::State {
    std::vector<char> lz4;
    ZSTD_CCtx *zstd = nullptr;
    State() = default;
    State(const State &) = delete;
    ~State() { ZSTD_freeCCtx(zstd); }
};

Packer::Packer(const Compression &how) : how_(how), state_(std::make_unique<State>()) {
    if (how.codec == Codec::Lz4)
        state_->lz4.resize(static_cast<size_t>(LZ4_sizeofState()));
    else
        state_->zstd = ZSTD_createCCtx();
}
Packer::Packer(Packer &&) noexcept = default;
Packer::~Packer() = default;

size_t Packer::pack(std::span<const std::byte> block, std::span<std::byte> to) {
    if (is_zero(block))
        return 0;
    // What does not get below seven eighths is not worth unpacking; told less room, the library gives up early.
    const size_t most = block.size() / 8 * 7;
    size_t size = 0;
    if (how_.codec == Codec::Lz4) {
        size = static_cast<size_t>(std::max(0, LZ4_compress_fast_extState(state_->lz4.data(), text(block), text(to),
                                                                          static_cast<int>(block.size()),
                                                                          static_cast<int>(most), how_.acceleration)));
    } else {
        size = ZSTD_compressCCtx(state_->zstd, to.data(), most, block.data(), block.size(), how_.level);
        if (ZSTD_isError(size))
            size = 0;
    }
    if (size)
        return size;
    std::ranges::copy(block, to.begin());
    return block.size();
}

Result<void> unpack(Codec codec, std::span<const std::byte> packed, std::span<std::byte> to) {
    if (packed.empty()) {
        std::ranges::fill(to, std::byte{});
        return {};
    }
    if (packed.size() == to.size()) {
        std::ranges::copy(packed, to.begin());
        return {};
    }
    const bool whole = codec == Codec::Lz4
                           ? LZ4_decompress_safe(text(packed), text(to), static_cast<int>(packed.size()),
                                                 static_cast<int>(to.size())) == static_cast<int>(to.size())
                           : ZSTD_decompress(to.data(), to.size(), packed.data(), packed.size()) == to.size();
    return whole ? Result<void>() : base::bad_image("a compressed block is damaged");
}

} // namespace pages
