// What several tests of images share: a folder of their own, files in it, the tables of the reference.
#pragma once

#include "base/unique_fd.hh"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace test {

inline std::filesystem::path golden() {
    return TEST_GOLDEN;
}

/// A folder that goes with the object.
class TempDir {
public:
    TempDir() {
        char name[] = "/tmp/criu-image-test.XXXXXX";
        path_ = mkdtemp(name);
        fd_.reset(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
    ~TempDir() { std::filesystem::remove_all(path_); }
    TempDir(const TempDir &) = delete;
    TempDir &operator=(const TempDir &) = delete;
    const std::filesystem::path &path() const { return path_; }
    int fd() const { return fd_.get(); }

private:
    std::filesystem::path path_;
    base::UniqueFd fd_;
};

inline std::string slurp(const std::filesystem::path &path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

inline void spill(const std::filesystem::path &path, std::string_view bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::vector<std::string> list(const std::filesystem::path &dir) {
    std::vector<std::string> names;
    for (const auto &entry : std::filesystem::directory_iterator(dir))
        names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
}

inline base::UniqueFd open_dir(const std::filesystem::path &path) {
    return base::UniqueFd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

/// Rows of a table of the reference, without its head line.
inline std::vector<std::vector<std::string>> read_tsv(const std::filesystem::path &path) {
    std::ifstream in(path);
    std::vector<std::vector<std::string>> rows;
    std::string line;
    for (std::getline(in, line); std::getline(in, line);) {
        std::vector<std::string> row(1);
        for (char c : line) {
            if (c == '\t')
                row.emplace_back();
            else
                row.back() += c;
        }
        rows.push_back(row);
    }
    return rows;
}

/// The value of a Result; fails the test with the error's message.
template <class R> auto must(R result) {
    if (!result)
        FAIL(result.error().message());
    if constexpr (!std::is_void_v<typename R::value_type>)
        return std::move(*result);
}

} // namespace test
