#include "criu/parse/raw_sockets.hh"

#include "criu/parse/scan.hh"

#include <cstring>

namespace parse {
namespace {

/// "0100007F:0035", or 32 digits before the colon: words as the machine reads them.
bool scan_address(std::string_view text, std::array<uint8_t, 16> &address, uint16_t &port) {
    const size_t digits = text.find(':');
    if (digits != 8 && digits != 32)
        return false;
    for (size_t i = 0; i < digits / 8; i++) {
        Scan s(text.substr(8 * i, 8));
        uint32_t word = 0;
        if (!s.hex(word) || !s.at_end())
            return false;
        memcpy(address.data() + 4 * i, &word, sizeof word);
    }
    Scan s(text.substr(digits + 1));
    return s.hex(port) && s.at_end();
}

/// "sl: local peer state queues timer retransmits uid timeout inode ..."
bool scan_socket(std::string_view line, RawSocket &socket) {
    Scan s(line);
    for (int skipped = 0; skipped < 2; skipped++)
        s.blanks(), s.word();
    bool good =
        s.blanks() && scan_address(s.word(), socket.peer, socket.peer_port) && s.blanks() && s.hex(socket.state);
    for (int skipped = 0; skipped < 5; skipped++)
        s.blanks(), s.word();
    return good && s.blanks() && s.dec(socket.inode);
}

} // namespace

Result<std::vector<RawSocket>> parse_raw_sockets(std::string_view text) {
    std::vector<RawSocket> sockets;
    Lines lines(text);
    for (std::string_view line; lines.next(line);) {
        if (lines.number() == 1) // names of the columns
            continue;
        RawSocket socket;
        if (!scan_socket(line, socket))
            return malformed("raw", lines.number(), line);
        sockets.push_back(socket);
    }
    return sockets;
}

} // namespace parse
