// Lists of the kernel's own messages (netlink(7)), as images keep them: each with its head, padded to four bytes.
#pragma once

#include "base/result.hh"

#include <functional>
#include <string>
#include <string_view>

namespace resource::net {

using base::Result;

void append_message(std::string &list, int type, std::string_view body);

/// Errors: BadImage; those of `visit`.
Result<void> for_each_message(std::string_view list,
                              const std::function<Result<void>(int type, std::string_view body)> &visit);

} // namespace resource::net
