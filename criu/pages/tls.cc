#include "criu/pages/tls.hh"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <mutex>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace pages {
namespace {

constexpr const char *kAuthorities = "/etc/pki/CA/cacert.pem", *kRevoked = "/etc/pki/CA/cacrl.pem",
                     *kCertificate = "/etc/pki/criu/cert.pem", *kKey = "/etc/pki/criu/private/key.pem";

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using Session = std::unique_ptr<SSL, decltype(&SSL_free)>;

/// What the library says of the last failure.
std::unexpected<base::Error> tls_error(const std::string &what) {
    const unsigned long code = ERR_get_error();
    const char *reason = ERR_reason_error_string(code);
    ERR_clear_error();
    return base::fail(base::ErrorKind::Usage, fmt::format("{}: {}", what, reason ? reason : "it cannot be used"));
}

Result<void> trust(SSL_CTX &context, const TlsSettings &settings) {
    const bool given = !settings.authorities.empty();
    const char *file = given ? settings.authorities.c_str() : kAuthorities;
    if (!given)
        SSL_CTX_set_default_verify_paths(&context);
    if ((given || access(file, R_OK) == 0) && SSL_CTX_load_verify_locations(&context, file, nullptr) != 1)
        return tls_error(fmt::format("--tls-cacert {}", file));
    const char *revoked = settings.revoked.empty() ? kRevoked : settings.revoked.c_str();
    if (settings.revoked.empty() && access(revoked, R_OK) != 0)
        return {};
    X509_STORE *store = SSL_CTX_get_cert_store(&context);
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (!lookup || X509_load_crl_file(lookup, revoked, X509_FILETYPE_PEM) < 1)
        return tls_error(fmt::format("--tls-cacrl {}", revoked));
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    return {};
}

Result<void> show_certificate(SSL_CTX &context, const TlsSettings &settings) {
    const char *certificate = settings.certificate.empty() ? kCertificate : settings.certificate.c_str();
    const char *key = settings.key.empty() ? kKey : settings.key.c_str();
    if (SSL_CTX_use_certificate_chain_file(&context, certificate) != 1)
        return tls_error(fmt::format("--tls-cert {}", certificate));
    if (SSL_CTX_use_PrivateKey_file(&context, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(&context) != 1)
        return tls_error(fmt::format("--tls-key {}", key));
    return {};
}

Result<Context> make_context(const TlsSettings &settings) {
    Context context(SSL_CTX_new(TLS_method()), SSL_CTX_free);
    if (!context)
        return tls_error("TLS");
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    // What was sent in between is known by the protocol above: an end without a word is its concern.
    SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    TRY(trust(*context, settings));
    TRY(show_certificate(*context, settings));
    return context;
}

/// A number is compared with the addresses in the certificate, anything else with the names.
void expect_name(SSL &session, const std::string &name) {
    unsigned char number[sizeof(in6_addr)];
    X509_VERIFY_PARAM *wanted = SSL_get0_param(&session);
    if (inet_pton(AF_INET, name.c_str(), number) == 1 || inet_pton(AF_INET6, name.c_str(), number) == 1)
        X509_VERIFY_PARAM_set1_ip_asc(wanted, name.c_str());
    else
        X509_VERIFY_PARAM_set1_host(wanted, name.c_str(), name.size());
}

/// The library's calls are made without waiting, one at a time: questions are sent while answers are waited for.
class TlsChannel final : public Channel {
public:
    TlsChannel(base::UniqueFd socket, Context context, Session session)
        : socket_(std::move(socket)), context_(std::move(context)), session_(std::move(session)) {}

    Result<void> shake_hands() {
        SSL_set_fd(session_.get(), socket_.get());
        flags_ = fcntl(socket_.get(), F_GETFL);
        fcntl(socket_.get(), F_SETFL, flags_ | O_NONBLOCK);
        TRY_CTX(repeat([&] { return SSL_do_handshake(session_.get()); }), "TLS handshake");
        return {};
    }

    ~TlsChannel() override { fcntl(socket_.get(), F_SETFL, flags_); } // a given socket is the caller's as well

    // A message and its pages are records of their own: CRIU's receiver takes whole ones.
    Result<void> send(std::span<const std::byte> bytes) override {
        while (!bytes.empty()) {
            const int n = TRY(repeat([&] {
                return SSL_write(session_.get(), bytes.data(), static_cast<int>(std::min(bytes.size(), kRecord)));
            }));
            if (n == 0)
                return base::fail_sys(EPIPE, "send to the other end of the page connection");
            bytes = bytes.subspan(static_cast<size_t>(n));
        }
        return {};
    }

    Result<size_t> receive_some(std::span<std::byte> into) override {
        return static_cast<size_t>(TRY(repeat(
            [&] { return SSL_read(session_.get(), into.data(), static_cast<int>(std::min(into.size(), kRecord))); })));
    }

    Result<void> finish() override {
        {
            const std::lock_guard held(mutex_);
            SSL_shutdown(session_.get()); // says it, and waits for no answer
            ERR_clear_error();
        }
        shutdown(socket_.get(), SHUT_WR);
        return {};
    }

    int fd() const override { return socket_.get(); }

private:
    static constexpr size_t kRecord = 16384;

    /// Until it is done; 0 when the other end has closed its side.
    template <class Call> Result<int> repeat(Call call) {
        for (;;) {
            int wanted = 0;
            {
                const std::lock_guard held(mutex_);
                errno = 0;
                const int n = call();
                if (n > 0)
                    return n;
                wanted = SSL_get_error(session_.get(), n);
                if (wanted == SSL_ERROR_ZERO_RETURN)
                    return 0;
                if (wanted == SSL_ERROR_SYSCALL)
                    return base::fail_sys(errno ? errno : ECONNRESET, "page connection");
                if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE)
                    return failure();
            }
            TRY(wait_ready(socket_.get(), wanted == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT));
        }
    }

    std::unexpected<base::Error> failure() {
        const long verdict = SSL_get_verify_result(session_.get());
        if (verdict != X509_V_OK) {
            ERR_clear_error();
            return base::fail(
                base::Error(base::ErrorKind::Usage,
                            fmt::format("the certificate of the other end: {}", X509_verify_cert_error_string(verdict)))
                    .hint(
                        "--tls-cacert says whom to trust; --address has to be its name, or --tls-no-cn-verify given"));
        }
        return tls_error("TLS");
    }

    base::UniqueFd socket_;
    Context context_;
    Session session_;
    std::mutex mutex_;
    int flags_ = 0;
};

} // namespace

Result<std::unique_ptr<Channel>> tls_channel(const TlsSettings &settings, TlsSide side, const std::string &name,
                                             base::UniqueFd socket) {
    Context context = TRY(make_context(settings));
    Session session(SSL_new(context.get()), SSL_free);
    if (!session)
        return tls_error("TLS");
    if (side == TlsSide::Asks)
        SSL_set_connect_state(session.get());
    else
        SSL_set_accept_state(session.get());
    if (settings.checks_name && !name.empty())
        expect_name(*session, name);
    auto channel = std::make_unique<TlsChannel>(std::move(socket), std::move(context), std::move(session));
    TRY(channel->shake_hands());
    return channel;
}

} // namespace pages
