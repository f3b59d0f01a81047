// Encrypted page connections (--tls): X.509 on both sides, as CRIU wants it.
#pragma once

#include "criu/pages/channel.hh"

#include <string>

namespace pages {

struct TlsSettings {
    bool on = false;
    std::string authorities; ///< PEM; empty: /etc/pki/CA/cacert.pem, and what this system trusts
    std::string revoked;     ///< PEM; empty: /etc/pki/CA/cacrl.pem if it is there
    std::string certificate; ///< PEM; empty: /etc/pki/criu/cert.pem
    std::string key;         ///< PEM; empty: /etc/pki/criu/private/key.pem
    bool checks_name = true; ///< the other end has to be called as --address says, where that is given
};

/// Who has connected asks; who has accepted answers.
enum class TlsSide : uint8_t { Asks, Answers };

/// Encrypts what goes over a connected stream socket. Both sides show a certificate, and verify that of the other.
/// `name`: what the other end is called; empty: no matter.
/// Errors: System and Usage, naming the file; Usage where the other end is not who it should be.
Result<std::unique_ptr<Channel>> tls_channel(const TlsSettings &settings, TlsSide side, const std::string &name,
                                             base::UniqueFd socket);

} // namespace pages
