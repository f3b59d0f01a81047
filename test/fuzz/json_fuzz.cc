// Any text as the JSON of an image: encoding must end in an image that can be decoded, or in an error.
#include "criu/crit/image_json.hh"

#include <cstdlib>
#include <nlohmann/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    crit::Json json = crit::Json::parse(data, data + size, nullptr, false);
    if (json.is_discarded())
        return 0;
    auto image = crit::encode_image(json);
    if (!image)
        return 0;
    image::MemorySource source(std::as_bytes(std::span(*image)));
    if (!crit::decode_image(source, "encoded", crit::Values::Pretty, crit::Payloads::Full))
        abort();
    return 0;
}
