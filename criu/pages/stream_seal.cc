#include "criu/pages/stream_seal.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/io.hh"

#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

namespace pages::stream {
namespace {

constexpr char kPurpose[] = "criu stream of images";

/// Numbers of records never come twice under one key.
void nonce_of(uint64_t number, unsigned char (&nonce)[12]) {
    std::memset(nonce, 0, sizeof nonce);
    std::memcpy(nonce + 4, &number, sizeof number);
}

const unsigned char *chars(std::span<const std::byte> bytes) {
    return reinterpret_cast<const unsigned char *>(bytes.data());
}

std::unexpected<base::Error> library_failed() {
    return base::fail(base::ErrorKind::System, "libcrypto refuses AES-256-GCM");
}

} // namespace

Result<std::vector<std::byte>> read_key(const std::string &path) {
    constexpr size_t kLeast = 32, kMost = 4096;
    const base::UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file)
        return base::fail_sys("--encrypt " + path);
    std::vector<std::byte> key(kMost + 1);
    size_t size = 0;
    for (ssize_t n = 1; n > 0 && size < key.size(); size += static_cast<size_t>(n))
        if (n = read(file.get(), key.data() + size, key.size() - size); n < 0)
            return base::fail_sys("--encrypt " + path);
    if (size < kLeast || size > kMost)
        return base::fail(base::Error(base::ErrorKind::Usage,
                                      fmt::format("--encrypt {}: a key has {} to {} bytes", path, kLeast, kMost))
                              .hint("head -c 32 /dev/urandom > KEYFILE makes one"));
    key.resize(size);
    return key;
}

Result<void> make_salt(Head &head) {
    return RAND_bytes(head.salt, sizeof head.salt) == 1 ? Result<void>() : library_failed();
}

void Seal::Free::operator()(void *context) const {
    EVP_CIPHER_CTX_free(static_cast<EVP_CIPHER_CTX *>(context));
}

Result<Seal> Seal::derive(std::span<const std::byte> key, const Head &head) {
    Seal seal;
    seal.context_.reset(EVP_CIPHER_CTX_new());
    std::string purpose(kPurpose);
    purpose.append(reinterpret_cast<const char *>(&head), sizeof head);
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> kdf(EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr),
                                                                          EVP_PKEY_CTX_free);
    size_t length = sizeof seal.key_;
    const bool derived = seal.context_ && kdf && EVP_PKEY_derive_init(kdf.get()) == 1 &&
                         EVP_PKEY_CTX_set_hkdf_md(kdf.get(), EVP_sha256()) == 1 &&
                         EVP_PKEY_CTX_set1_hkdf_salt(kdf.get(), head.salt, sizeof head.salt) == 1 &&
                         EVP_PKEY_CTX_set1_hkdf_key(kdf.get(), chars(key), static_cast<int>(key.size())) == 1 &&
                         EVP_PKEY_CTX_add1_hkdf_info(kdf.get(), reinterpret_cast<const unsigned char *>(purpose.data()),
                                                     static_cast<int>(purpose.size())) == 1 &&
                         EVP_PKEY_derive(kdf.get(), seal.key_, &length) == 1;
    return derived ? Result<Seal>(std::move(seal)) : library_failed();
}

Result<void> Seal::close(uint64_t number, const Header &header, std::span<const std::byte> bytes,
                         std::span<std::byte> sealed) {
    auto *context = static_cast<EVP_CIPHER_CTX *>(context_.get());
    unsigned char nonce[12];
    nonce_of(number, nonce);
    int n = 0;
    auto *to = reinterpret_cast<unsigned char *>(sealed.data());
    const bool done =
        EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nullptr, key_, nonce) == 1 &&
        EVP_EncryptUpdate(context, nullptr, &n, reinterpret_cast<const unsigned char *>(&header), sizeof header) == 1 &&
        EVP_EncryptUpdate(context, to, &n, chars(bytes), static_cast<int>(bytes.size())) == 1 &&
        EVP_EncryptFinal_ex(context, to + bytes.size(), &n) == 1 &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, kTagBytes, to + bytes.size()) == 1;
    return done ? Result<void>() : library_failed();
}

Result<void> Seal::open(uint64_t number, const Header &header, std::span<const std::byte> sealed,
                        std::span<std::byte> bytes) {
    auto *context = static_cast<EVP_CIPHER_CTX *>(context_.get());
    unsigned char nonce[12];
    nonce_of(number, nonce);
    int n = 0;
    auto *to = reinterpret_cast<unsigned char *>(bytes.data());
    unsigned char tag[kTagBytes];
    std::memcpy(tag, sealed.data() + bytes.size(), sizeof tag);
    const bool ready =
        EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), nullptr, key_, nonce) == 1 &&
        EVP_DecryptUpdate(context, nullptr, &n, reinterpret_cast<const unsigned char *>(&header), sizeof header) == 1 &&
        EVP_DecryptUpdate(context, to, &n, chars(sealed), static_cast<int>(bytes.size())) == 1 &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, kTagBytes, tag) == 1;
    if (!ready)
        return library_failed();
    if (EVP_DecryptFinal_ex(context, to + bytes.size(), &n) != 1)
        return base::fail(base::Error(base::ErrorKind::BadImage,
                                      number == 0 ? "the key does not fit the stream, or the stream was changed"
                                                  : fmt::format("record {} of the stream was changed", number))
                              .hint("nothing was restored"));
    return {};
}

} // namespace pages::stream
