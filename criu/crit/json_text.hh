// JSON as python's json module prints it: only ASCII, ", " and ": " between things, or an indent of four.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace crit {

using Json = nlohmann::ordered_json;

enum class JsonForm { OneLine, Pretty };

/// No line feed at the end. All strings in `value` are UTF-8.
std::string json_text(const Json &value, JsonForm form);

} // namespace crit
