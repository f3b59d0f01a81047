// Documentation/supported.md, made from the tables of the resources.
#pragma once

#include <string>

namespace cli {

/// The whole page, in Markdown.
std::string supported_kinds();

} // namespace cli
