// Result<T> under its own name in this namespace, and the one error all parsers of kernel text share.
#pragma once

#include "base/result.hh"

#include <string>
#include <string_view>

namespace parse {

using base::Result;

/// "maps: line 3 cannot be understood: '...'". Kernel text we do not understand means a kernel we do not support.
std::unexpected<base::Error> malformed(std::string_view file, size_t line, std::string_view text);

} // namespace parse
