#include "criu/crit/number_json.hh"

#include "criu/crit/hints.hh"
#include "criu/crit/text_codecs.hh"
#include "opts.pb.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace crit {
namespace {

using google::protobuf::FieldDescriptor;

std::unexpected<base::Error> not_a(std::string_view what, const Json &json) {
    return base::fail(base::ErrorKind::Usage,
                      fmt::format("{} is not {}", json.dump(-1, ' ', true, Json::error_handler_t::replace), what));
}

base::Result<uint64_t> parse_spelling(const FieldDescriptor &field, const std::string &text, const Json &json) {
    const img::CRIU_Opts &hints = hints_of(field);
    std::optional<uint64_t> value;
    if (hints.has_flags())
        value = parse_flags(flag_names(hints.flags()), text);
    else if ((hints.dev() || hints.odev()) && text.find(':') != std::string::npos)
        return uint64_t{TRY(parse_device(text, hints.dev() ? DevForm::Kernel : DevForm::Stat))};
    else if (hints.has_dict())
        value = value_of(dict_names(hints.dict(), field.name()), text);
    if (!value)
        value = parse_number(text);
    if (!value)
        return not_a(hints.has_flags() ? "a set of known flags" : "a number", json);
    return *value;
}

} // namespace

const img::CRIU_Opts &hints_of(const FieldDescriptor &field) {
    return field.options().GetExtension(img::criu);
}

Json unsigned_to_json(const FieldDescriptor &field, uint64_t value, Style style) {
    if (style == Style::Plain)
        return value;
    const img::CRIU_Opts &hints = hints_of(field);
    if (style == Style::Hex || hints.hex())
        return fmt::format("{:#x}", value);
    if (hints.has_flags())
        return flags_text(flag_names(hints.flags()), value);
    if (hints.dev() || hints.odev())
        return device_text(static_cast<uint32_t>(value), hints.dev() ? DevForm::Kernel : DevForm::Stat);
    if (hints.has_dict())
        if (auto name = name_of(dict_names(hints.dict(), field.name()), value))
            return std::string(*name);
    return value;
}

base::Result<uint64_t> json_to_unsigned(const FieldDescriptor &field, const Json &json, uint64_t max) {
    uint64_t value = 0;
    if (json.is_number_unsigned())
        value = json.get<uint64_t>();
    else if (json.is_string())
        value = TRY(parse_spelling(field, json.get_ref<const std::string &>(), json));
    else
        return not_a("a number from 0 on", json);
    if (value > max)
        return not_a(fmt::format("at most {}", max), json);
    return value;
}

base::Result<int64_t> json_to_signed(const Json &json, int64_t min, int64_t max) {
    int64_t value = 0;
    if (json.is_number_unsigned() && json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
        return not_a("a number in the range of its field", json);
    if (json.is_number_integer()) {
        value = json.get<int64_t>();
    } else if (json.is_string()) {
        std::string_view text = json.get_ref<const std::string &>();
        bool negative = text.starts_with('-');
        auto magnitude = parse_number(text.substr(negative ? 1 : 0));
        if (!magnitude || *magnitude > static_cast<uint64_t>(INT64_MAX))
            return not_a("a number", json);
        value = negative ? -static_cast<int64_t>(*magnitude) : static_cast<int64_t>(*magnitude);
    } else {
        return not_a("a number", json);
    }
    if (value < min || value > max)
        return not_a(fmt::format("from {} to {}", min, max), json);
    return value;
}

base::Result<bool> json_to_bool(const Json &json) {
    if (json.is_boolean())
        return json.get<bool>();
    if (json.is_number_unsigned() && json.get<uint64_t>() <= 1)
        return json.get<uint64_t>() == 1;
    return not_a("true or false", json);
}

} // namespace crit
