// What is fuzzed. Each target takes arbitrary bytes and must neither crash nor read outside of them; results are not
// looked at. A folder corpus/NAME holds its seeds, among them the smallest input of every bug ever found.
#pragma once

#include <span>
#include <string_view>

namespace fuzz {

struct Target {
    std::string_view name;
    void (*run)(std::string_view bytes);
};

std::span<const Target> parser_targets();
std::span<const Target> image_targets();
std::span<const Target> page_server_targets();
std::span<const Target> stream_targets();

} // namespace fuzz
