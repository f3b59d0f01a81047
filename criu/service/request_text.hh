// Requests as bytes, from anybody.
#pragma once

#include "base/result.hh"
#include "rpc.pb.h"

#include <string_view>

namespace service {

using base::Result;

/// Fields that are not known are left out: clients may be younger than we.
/// Errors: BadImage for what is no request, or one without a known type.
Result<img::criu_req> parse_request(std::string_view bytes);

/// The longest message that every client can take: go-criu reads into 8 KiB.
inline constexpr size_t kLargestAnswer = 8192;

/// An error as cr_errmsg: cause and hint, cut where an answer would get too long; always UTF-8.
std::string to_message(const base::Error &error);

} // namespace service
