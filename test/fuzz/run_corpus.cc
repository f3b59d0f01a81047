// Runs a fuzz target over files, without a fuzzer: usage: NAME FILE-OR-FOLDER...
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace {

size_t run_file(const std::filesystem::path &path) {
    std::ifstream in(path, std::ios::binary);
    std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
    return 1;
}

size_t run_path(const std::filesystem::path &path) {
    if (!std::filesystem::is_directory(path))
        return run_file(path);
    size_t n = 0;
    for (const auto &entry : std::filesystem::recursive_directory_iterator(path))
        if (entry.is_regular_file())
            n += run_file(entry.path());
    return n;
}

} // namespace

int main(int argc, char **argv) {
    size_t inputs = 0;
    for (int i = 1; i < argc; i++)
        inputs += run_path(argv[i]);
    printf("%zu inputs\n", inputs);
    return inputs ? 0 : 1;
}
