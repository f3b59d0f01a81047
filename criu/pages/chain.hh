// A directory of images and those that it builds on: `parent` in each leads to the one before (--prev-images-dir).
#pragma once

#include "criu/image/image_dir.hh"

#include <vector>

namespace pages {

using base::Result;

class Chain {
public:
    /// More levels than anybody makes: each costs a descriptor, and its pagemaps have to be read.
    static constexpr size_t kMostLevels = 256;

    /// Opens the directory and all that it builds on. `dirfd` stays the caller's. `supplier`: of the newest; may be
    /// null. Errors: BadImage for a chain that leads nowhere, back to itself, or on and on.
    static Result<Chain> open(int dirfd, std::shared_ptr<image::Supplier> supplier = nullptr);

    size_t depth() const { return levels_.size(); }
    /// 0 is the newest.
    const image::ImageDir &level(size_t i) const { return levels_[i]; }
    /// ImageDir::ask() for all levels: what is asked for are paths relative to the newest.
    void ask(const image::ImageDir::Fetch &fetch);
    const image::ImageDir &newest() const { return levels_.front(); }

private:
    Chain() = default;
    std::vector<image::ImageDir> levels_;
};

/// The pagemaps of a directory, of whatever it holds memory of.
struct MemoryImage {
    image::ImageKind kind; ///< Pagemap or ShmemPagemap
    uint64_t id;
};
/// Sorted by file name. Errors: System.
Result<std::vector<MemoryImage>> memory_images(const image::ImageDir &images);

/// What errors call the file of a level: "parent/parent/pagemap-7.img".
std::string name_in_chain(size_t level, const std::string &file);

} // namespace pages
