#include "criu/crit/message_json.hh"

#include "criu/crit/hints.hh"
#include "criu/crit/number_json.hh"
#include "criu/crit/text_codecs.hh"
#include "opts.pb.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>
#include <nlohmann/json.hpp>

namespace crit {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr const char *kUnknownFields = "_unknown_fields";
constexpr const char *kBytes = "bytes";
constexpr int kMaxDepth = 90; // protobuf refuses to read more than 100 levels

base::Error wrong(std::string text) {
    return base::Error(base::ErrorKind::Usage, std::move(text));
}

/// Registers are hex as a whole: the hint stands at the field that holds their message.
Style inside(Style style, const FieldDescriptor &field) {
    return style == Style::Pretty && hints_of(field).hex() ? Style::Hex : style;
}

bool is_unix_name(const FieldDescriptor &field) {
    return hints_of(field).conv() == "unix_name";
}

/// `value` is a copy: reflection gives strings of repeated fields by value only.
Json text_to_json(const FieldDescriptor &field, const std::string &value) {
    if (field.type() == FieldDescriptor::TYPE_BYTES)
        return is_unix_name(field) ? quoted_printable_encode(value) : base64_encode(value);
    if (is_utf8(value))
        return value;
    return Json{{kBytes, base64_encode(value)}};
}

base::Result<std::string> json_to_text(const FieldDescriptor &field, const Json &json) {
    if (json.is_object() && json.size() == 1 && json.contains(kBytes) && json[kBytes].is_string())
        return base64_decode(json[kBytes].get_ref<const std::string &>());
    if (!json.is_string())
        return base::fail(wrong("must be a string"));
    const auto &text = json.get_ref<const std::string &>();
    if (field.type() == FieldDescriptor::TYPE_STRING)
        return text;
    return is_unix_name(field) ? quoted_printable_decode(text) : base64_decode(text);
}

Json object_to_json(const Message &message, Style style);

/// The value of a field that is not repeated (`index` < 0), or one of a field that is.
Json value_to_json(const Message &m, const FieldDescriptor &f, int index, Style style) {
    const Reflection &r = *m.GetReflection();
    bool one = index < 0;
    switch (f.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
        return object_to_json(one ? r.GetMessage(m, &f) : r.GetRepeatedMessage(m, &f, index), inside(style, f));
    case FieldDescriptor::CPPTYPE_STRING:
        return text_to_json(f, one ? r.GetString(m, &f) : r.GetRepeatedString(m, &f, index));
    case FieldDescriptor::CPPTYPE_ENUM:
        return (one ? r.GetEnum(m, &f) : r.GetRepeatedEnum(m, &f, index))->name();
    case FieldDescriptor::CPPTYPE_BOOL:
        return one ? r.GetBool(m, &f) : r.GetRepeatedBool(m, &f, index);
    case FieldDescriptor::CPPTYPE_UINT32:
        return unsigned_to_json(f, one ? r.GetUInt32(m, &f) : r.GetRepeatedUInt32(m, &f, index), inside(style, f));
    case FieldDescriptor::CPPTYPE_UINT64:
        return unsigned_to_json(f, one ? r.GetUInt64(m, &f) : r.GetRepeatedUInt64(m, &f, index), inside(style, f));
    case FieldDescriptor::CPPTYPE_INT32:
        return one ? r.GetInt32(m, &f) : r.GetRepeatedInt32(m, &f, index);
    case FieldDescriptor::CPPTYPE_INT64:
        return one ? r.GetInt64(m, &f) : r.GetRepeatedInt64(m, &f, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
        return one ? r.GetDouble(m, &f) : r.GetRepeatedDouble(m, &f, index);
    case FieldDescriptor::CPPTYPE_FLOAT:
        return one ? r.GetFloat(m, &f) : r.GetRepeatedFloat(m, &f, index);
    }
    return nullptr;
}

/// An address is one text for all words of the field; other counts of words stay numbers.
Json addresses_to_json(const Message &message, const FieldDescriptor &field) {
    std::vector<uint32_t> words;
    for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); i++)
        words.push_back(message.GetReflection()->GetRepeatedUInt32(message, &field, i));
    std::string text = address_text(words);
    return text.empty() ? Json(words) : Json::array({text});
}

Json field_to_json(const Message &message, const FieldDescriptor &field, Style style) {
    if (!field.is_repeated())
        return value_to_json(message, field, -1, style);
    if (style != Style::Plain && hints_of(field).ipadd())
        return addresses_to_json(message, field);
    Json list = Json::array();
    for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); i++)
        list.push_back(value_to_json(message, field, i, style));
    return list;
}

base::Result<void> fill(const Json &json, Message &message, int depth);

base::Result<void> set_enum(const Json &json, Message &m, const FieldDescriptor &f) {
    const auto *value =
        json.is_string() ? f.enum_type()->FindValueByName(json.get_ref<const std::string &>()) : nullptr;
    if (json.is_number_integer() && json.is_number_unsigned() && json.get<uint64_t>() <= INT32_MAX)
        value = f.enum_type()->FindValueByNumber(json.get<int>());
    if (!value)
        return base::fail(wrong(fmt::format(
            "{} is not one of {}", json.dump(-1, ' ', true, Json::error_handler_t::replace), f.enum_type()->name())));
    f.is_repeated() ? m.GetReflection()->AddEnum(&m, &f, value) : m.GetReflection()->SetEnum(&m, &f, value);
    return {};
}

base::Result<void> set_value(const Json &json, Message &m, const FieldDescriptor &f, int depth) {
    const Reflection &r = *m.GetReflection();
    bool many = f.is_repeated();
    switch (f.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
        return fill(json, many ? *r.AddMessage(&m, &f) : *r.MutableMessage(&m, &f), depth + 1);
    case FieldDescriptor::CPPTYPE_STRING: {
        std::string text = TRY(json_to_text(f, json));
        many ? r.AddString(&m, &f, std::move(text)) : r.SetString(&m, &f, std::move(text));
        return {};
    }
    case FieldDescriptor::CPPTYPE_ENUM:
        return set_enum(json, m, f);
    case FieldDescriptor::CPPTYPE_BOOL: {
        bool flag = TRY(json_to_bool(json));
        many ? r.AddBool(&m, &f, flag) : r.SetBool(&m, &f, flag);
        return {};
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
        auto n = static_cast<uint32_t>(TRY(json_to_unsigned(f, json, UINT32_MAX)));
        many ? r.AddUInt32(&m, &f, n) : r.SetUInt32(&m, &f, n);
        return {};
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
        uint64_t n = TRY(json_to_unsigned(f, json, UINT64_MAX));
        many ? r.AddUInt64(&m, &f, n) : r.SetUInt64(&m, &f, n);
        return {};
    }
    case FieldDescriptor::CPPTYPE_INT32: {
        auto n = static_cast<int32_t>(TRY(json_to_signed(json, INT32_MIN, INT32_MAX)));
        many ? r.AddInt32(&m, &f, n) : r.SetInt32(&m, &f, n);
        return {};
    }
    case FieldDescriptor::CPPTYPE_INT64: {
        int64_t n = TRY(json_to_signed(json, INT64_MIN, INT64_MAX));
        many ? r.AddInt64(&m, &f, n) : r.SetInt64(&m, &f, n);
        return {};
    }
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
        break;
    }
    return base::fail(base::ErrorKind::Bug, "the schema has no floating point fields");
}

base::Result<void> add_addresses(const Json &json, Message &m, const FieldDescriptor &f) {
    if (!json.is_string())
        return set_value(json, m, f, 0);
    for (uint32_t word : TRY(parse_address(json.get_ref<const std::string &>())))
        m.GetReflection()->AddUInt32(&m, &f, word);
    return {};
}

base::Result<void> set_field(const Json &json, Message &message, const FieldDescriptor &field, int depth) {
    if (!field.is_repeated())
        return set_value(json, message, field, depth);
    if (!json.is_array())
        return base::fail(wrong("must be a list"));
    bool addresses = hints_of(field).ipadd();
    for (const Json &item : json)
        TRY(addresses ? add_addresses(item, message, field) : set_value(item, message, field, depth));
    return {};
}

base::Result<void> set_unknown(const Json &json, Message &message) {
    if (!json.is_string())
        return base::fail(wrong("must be a string"));
    std::string bytes = TRY(base64_decode(json.get_ref<const std::string &>()));
    if (!message.GetReflection()->MutableUnknownFields(&message)->ParseFromString(bytes))
        return base::fail(wrong("not the bytes of protobuf fields"));
    return {};
}

base::Result<void> fill(const Json &json, Message &message, int depth) {
    if (!json.is_object())
        return base::fail(wrong(fmt::format("must be an object ({})", message.GetDescriptor()->name())));
    if (depth > kMaxDepth)
        return base::fail(wrong("nested too deeply"));
    for (const auto &[key, value] : json.items()) {
        if (key == kUnknownFields) {
            TRY_CTX(set_unknown(value, message), key);
            continue;
        }
        const FieldDescriptor *field = message.GetDescriptor()->FindFieldByName(key);
        if (!field)
            return base::fail(wrong(fmt::format("{} has no field '{}'", message.GetDescriptor()->name(), key)));
        TRY_CTX(set_field(value, message, *field, depth), key);
    }
    return {};
}

Json object_to_json(const Message &message, Style style) {
    Json json = Json::object();
    std::vector<const FieldDescriptor *> fields;
    message.GetReflection()->ListFields(message, &fields);
    for (const FieldDescriptor *field : fields)
        json[field->name()] = field_to_json(message, *field, style);
    const auto &unknown = message.GetReflection()->GetUnknownFields(message);
    std::string bytes;
    if (!unknown.empty() && unknown.SerializeToString(&bytes))
        json[kUnknownFields] = base64_encode(bytes);
    return json;
}

} // namespace

Json message_to_json(const Message &message, Values values) {
    return object_to_json(message, values == Values::Plain ? Style::Plain : Style::Pretty);
}

base::Result<void> json_to_message(const Json &json, Message &message) {
    TRY(fill(json, message, 0));
    if (!message.IsInitialized())
        return base::fail(
            wrong(fmt::format("{} needs {}", message.GetDescriptor()->name(), message.InitializationErrorString())));
    return {};
}

} // namespace crit
