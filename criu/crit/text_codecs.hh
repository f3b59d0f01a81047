// The ways in which crit writes binary things as text: base64 in lines, quoted-printable, device numbers, addresses.
// Each direction is exact: what is written can be read back to the same bytes.
#pragma once

#include "base/result.hh"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace crit {

/// Base64 in lines of 76 characters, each with a line feed (MIME); nothing for no bytes.
std::string base64_encode(std::string_view bytes);
/// Accepts any line breaks and blanks. Errors: Usage.
base::Result<std::string> base64_decode(std::string_view text);

/// Quoted-printable as python's quopri codec writes it, but carriage returns are quoted too (python loses them).
std::string quoted_printable_encode(std::string_view bytes);
std::string quoted_printable_decode(std::string_view text);

enum class DevForm {
    Kernel, ///< 12 bits of major number above 20 of minor
    Stat,   ///< as in st_rdev: low byte of the minor number below the major one
};
/// "major:minor"
std::string device_text(uint32_t dev, DevForm form);
base::Result<uint32_t> parse_device(std::string_view text, DevForm form);

/// One word (IPv4) or four (IPv6) in network order as in images, as an address; empty for any other count.
std::string address_text(std::span<const uint32_t> words);
base::Result<std::vector<uint32_t>> parse_address(const std::string &text);

bool is_utf8(std::string_view bytes);

} // namespace crit
