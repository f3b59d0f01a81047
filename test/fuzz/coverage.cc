// Lets libFuzzer, which belongs to clang, see the coverage of code compiled by gcc (clang 14 cannot compile C++23 with
// std::expected). gcc calls one function at every branch; we count the places in a table that libFuzzer watches.
#include <cstdint>

namespace {
constexpr uintptr_t kCounters = 1 << 16;
uint8_t counters[kCounters];
} // namespace

extern "C" void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);

extern "C" __attribute__((no_sanitize("address"))) void __sanitizer_cov_trace_pc() {
    auto place = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
    counters[(place ^ place >> 16) % kCounters]++;
}

// Comparisons of floating point numbers, which libFuzzer does not look at.
extern "C" void __sanitizer_cov_trace_cmpf(float, float) {}
extern "C" void __sanitizer_cov_trace_cmpd(double, double) {}

__attribute__((constructor)) static void watch_counters() {
    __sanitizer_cov_8bit_counters_init(counters, counters + kCounters);
}
