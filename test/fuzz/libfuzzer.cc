// One target, chosen by FUZZ_TARGET in the environment, as libFuzzer wants it. fuzz.sh builds and runs this.
#include "targets.hh"

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

const fuzz::Target &chosen() {
    const char *name = getenv("FUZZ_TARGET");
    for (auto targets :
         {fuzz::parser_targets(), fuzz::image_targets(), fuzz::page_server_targets(), fuzz::stream_targets()})
        for (const fuzz::Target &target : targets)
            if (name && target.name == name)
                return target;
    std::fprintf(stderr, "FUZZ_TARGET names no target\n");
    std::exit(2);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const fuzz::Target &target = chosen();
    target.run(std::string_view(reinterpret_cast<const char *>(data), size));
    return 0;
}
