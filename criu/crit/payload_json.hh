// The raw bytes behind an entry as JSON ("extra") and back.
#pragma once

#include "base/result.hh"
#include "criu/crit/json_text.hh"
#include "criu/image/registry.hh"

#include <google/protobuf/message.h>
#include <string>
#include <string_view>

namespace crit {

/// `bytes` is the payload of `message` without padding. Errors: BadImage.
base::Result<Json> payload_to_json(image::Payload payload, const google::protobuf::Message &message,
                                   std::string_view bytes);
/// What `crit show --nopl` says instead of the payload: "... <1.5KB>".
base::Result<std::string> payload_summary(image::Payload payload, const google::protobuf::Message &message,
                                          std::string_view bytes);
/// The payload as it stands in the file, padding included. A missing `extra` (null) is an empty one.
/// Errors: Usage, also if the length is not the one that `message` says.
base::Result<std::string> json_to_payload(image::Payload payload, const google::protobuf::Message &message,
                                          const Json &extra);

} // namespace crit
