// Any bytes as an image: reading must end in entries or in an error, and what was read must survive JSON and back.
#include "criu/crit/image_json.hh"

#include <cstdlib>
#include <nlohmann/json.hpp>

namespace {

/// Encoding what was decoded gives an image that decodes to the same.
void check_round_trip(const crit::Json &json) {
    auto image = crit::encode_image(json);
    if (!image)
        abort();
    image::MemorySource again(std::as_bytes(std::span(*image)));
    auto second = crit::decode_image(again, "again", crit::Values::Plain, crit::Payloads::Full);
    if (!second || *second != json)
        abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    image::MemorySource source(std::as_bytes(std::span(data, size)));
    auto plain = crit::decode_image(source, "input", crit::Values::Plain, crit::Payloads::Full);
    auto pretty = crit::decode_image(source, "input", crit::Values::Pretty, crit::Payloads::Full);
    auto summary = crit::decode_image(source, "input", crit::Values::Pretty, crit::Payloads::Summary);
    if (plain.has_value() != pretty.has_value() || plain.has_value() != summary.has_value())
        abort();
    if (!plain)
        return 0;
    check_round_trip(*plain);
    auto image = crit::encode_image(*plain), from_pretty = crit::encode_image(*pretty);
    if (!from_pretty || *image != *from_pretty)
        abort();
    return crit::json_text(*pretty, crit::JsonForm::Pretty).empty();
}
