// A whole image as JSON, {"magic": NAME, "entries": [...]}, and back.
#pragma once

#include "base/result.hh"
#include "criu/crit/json_text.hh"
#include "criu/crit/message_json.hh"
#include "criu/image/byte_source.hh"

#include <string>

namespace crit {

enum class Payloads { Full, Summary };

/// `name` is for errors, and tells raw images (which have no magic) apart.
/// Errors: BadImage naming file and offset.
base::Result<Json> decode_image(image::ByteSource &source, const std::string &name, Values values, Payloads payloads);
/// {"magic": NAME, "count": N}; the head of a pagemap is not counted.
base::Result<Json> describe_image(image::ByteSource &source, const std::string &name);
/// The bytes of the image. Errors: Usage naming entry and field.
base::Result<std::string> encode_image(const Json &json);

} // namespace crit
