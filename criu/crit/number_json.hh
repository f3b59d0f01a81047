// Integers and booleans in JSON, with the spellings that the schema's hints give them.
#pragma once

#include "base/result.hh"
#include "criu/crit/json_text.hh"

#include <google/protobuf/descriptor.h>

namespace img {
class CRIU_Opts;
} // namespace img

namespace crit {

/// The display hints of a field; all unset if it has none.
const img::CRIU_Opts &hints_of(const google::protobuf::FieldDescriptor &field);

/// How numbers are written.
enum class Style {
    Plain,
    Pretty, ///< as the hints of the field say
    Hex,    ///< all in hex
};

Json unsigned_to_json(const google::protobuf::FieldDescriptor &field, uint64_t value, Style style);
/// Takes a number, its spelling by the hints, or any number as text. Errors: Usage.
base::Result<uint64_t> json_to_unsigned(const google::protobuf::FieldDescriptor &field, const Json &json, uint64_t max);
base::Result<int64_t> json_to_signed(const Json &json, int64_t min, int64_t max);
base::Result<bool> json_to_bool(const Json &json);

} // namespace crit
