// Runs every target over its corpus and over damaged variants of each seed: cut short at every length, with bytes
// changed, taken out, repeated. The variants are the same in every run. With --minutes it goes on with new ones.
//
// Inputs lie at the end of a mapping in front of an inaccessible page, so that a parser reading one byte too far dies,
// with or without a sanitizer.

#include "targets.hh"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/mman.h>
#include <vector>

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kMaxInput = 1 << 20;

/// Memory that ends where nothing is mapped.
class Fence {
public:
    Fence() {
        void *at = mmap(nullptr, kMaxInput + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED || mprotect(static_cast<char *>(at) + kMaxInput, kPage, PROT_NONE) != 0)
            std::abort();
        end_ = static_cast<char *>(at) + kMaxInput;
    }
    std::string_view place(std::string_view bytes) const {
        size_t size = std::min(bytes.size(), kMaxInput);
        std::memcpy(end_ - size, bytes.data(), size);
        return {end_ - size, size};
    }

private:
    char *end_ = nullptr;
};

/// xorshift64: the same numbers everywhere.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed * 2654435769u + 88172645463325252u) {}
    uint64_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_;
    }
    size_t below(size_t n) { return n ? static_cast<size_t>(next() % n) : 0; }

private:
    uint64_t state_;
};

constexpr std::string_view kInteresting[] = {"\xff\xff\xff\xff",
                                             "18446744073709551616",
                                             "-1",
                                             "0",
                                             "ffffffffffffffff",
                                             "\n",
                                             " ",
                                             ":",
                                             "(",
                                             ")",
                                             "\\012",
                                             "\t",
                                             ""};

std::string damage(std::string bytes, Random &random) {
    for (size_t changes = 1 + random.below(4); changes; --changes) {
        size_t at = random.below(bytes.size() + 1);
        switch (random.below(5)) {
        case 0:
            if (at < bytes.size())
                bytes[at] = static_cast<char>(random.next());
            break;
        case 1:
            bytes.erase(at, random.below(16));
            break;
        case 2:
            bytes.insert(at, kInteresting[random.below(std::size(kInteresting))]);
            break;
        case 3:
            if (at < bytes.size())
                bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
            break;
        default:
            bytes.insert(at, bytes.substr(random.below(bytes.size() + 1), random.below(64)));
        }
    }
    return bytes;
}

std::string slurp(const std::filesystem::path &path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

struct Count {
    size_t seeds = 0, inputs = 0;
};

void run_seed(const fuzz::Target &target, const std::string &seed, const Fence &fence, Random &random, size_t variants,
              Count &count) {
    constexpr size_t kCutsPerSeed = 512;
    size_t step = seed.size() / kCutsPerSeed + 1;
    for (size_t size = 0; size <= seed.size(); size += step, ++count.inputs)
        target.run(fence.place(std::string_view(seed).substr(0, size)));
    target.run(fence.place(seed));
    for (size_t i = 0; i < variants; ++i, ++count.inputs)
        target.run(fence.place(damage(seed, random)));
}

Count run_target(const fuzz::Target &target, const std::filesystem::path &corpus, const Fence &fence, uint64_t round) {
    constexpr size_t kVariants = 400;
    Count count;
    Random random(round);
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(corpus / target.name, error)) {
        ++count.seeds;
        run_seed(target, slurp(entry.path()), fence, random, kVariants, count);
    }
    return count;
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: fuzz_corpus CORPUS [--minutes N]\n");
        return 2;
    }
    long minutes = argc == 4 && std::strcmp(argv[2], "--minutes") == 0 ? std::atol(argv[3]) : 0;
    time_t end = time(nullptr) + minutes * 60;
    Fence fence;
    int failed = 0;
    for (uint64_t round = 0; round == 0 || time(nullptr) < end; ++round)
        for (auto targets :
             {fuzz::parser_targets(), fuzz::image_targets(), fuzz::page_server_targets(), fuzz::stream_targets()})
            for (const fuzz::Target &target : targets) {
                Count count = run_target(target, argv[1], fence, round);
                if (round == 0)
                    std::printf("%s %.*s: %zu seeds, %zu inputs\n", count.seeds ? "ok" : "not ok",
                                static_cast<int>(target.name.size()), target.name.data(), count.seeds, count.inputs);
                failed += count.seeds == 0;
            }
    return failed ? 1 : 0;
}
