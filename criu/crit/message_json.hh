// Any message of an image as JSON and back, by reflection. Only fields that are set appear, in the order of their
// numbers. The plain form has numbers; the pretty form has hex, flag names, addresses and so on where the schema asks
// for it. Reading accepts either form for every field.
//
// Two things that the python crit cannot hold are kept: a string that is not UTF-8 becomes {"bytes": base64}, and
// fields from a newer schema go, as they are, into "_unknown_fields".
#pragma once

#include "base/result.hh"
#include "criu/crit/json_text.hh"

#include <google/protobuf/message.h>

namespace crit {

enum class Values { Plain, Pretty };

Json message_to_json(const google::protobuf::Message &message, Values values);

/// Fills `message`, which is empty. Errors: Usage, naming the field: unknown, of another type, out of range, missing.
base::Result<void> json_to_message(const Json &json, google::protobuf::Message &message);

} // namespace crit
