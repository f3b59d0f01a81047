// What a page server does with a connection over which a dump sends memory: it becomes pagemaps and pages of a
// directory, which then holds a part of a checkpoint. Nothing that comes is believed: see criu/pages/wire.hh.
#pragma once

#include "base/log.hh"
#include "criu/image/image_dir.hh"
#include "criu/image/image_writer.hh"
#include "criu/pages/channel.hh"
#include "criu/pages/sink.hh"
#include "criu/pages/wire.hh"

#include <map>
#include <set>

namespace page_server {

using base::Result;

/// What is left to the parent directory, looked up before it is written down.
class ParentPages {
public:
    /// The link may be made later, by the dump, where both write into one directory.
    explicit ParentPages(const image::ImageDir &images) : images_(&images) {}

    /// Errors: System if there is a link that leads nowhere.
    Result<bool> has(pages::wire::Object object);
    /// Errors: BadImage unless every page of the run is in the parent's pagemap, there or further up.
    Result<void> check_hole(pages::wire::Object object, uint64_t address, uint64_t pages);

private:
    Result<void> look();

    const image::ImageDir *images_;
    bool looked_ = false;
    std::optional<image::ImageDir> dir_;
    std::map<std::pair<image::ImageKind, uint64_t>, image::PagemapImage> read_;
};

class Receiver {
public:
    /// `images`: the directory of `writer`.
    static Result<Receiver> open(pages::Channel &channel, const image::ImageDir &images, image::ImageDirWriter &writer);

    /// Until the sender says that this was all; then everything is written and the sender knows it. What came before
    /// an error stays in the directory.
    /// Errors: BadImage for what no sender says; System if it goes without a word, or if a file cannot be written.
    Result<void> run();

    uint64_t pages() const { return pages_; }

private:
    Receiver(pages::Channel &channel, image::ImageDirWriter &writer, ParentPages parent);
    Result<bool> handle(const pages::wire::Message &message);
    Result<void> begin(uint64_t packed);
    Result<void> end_object();
    Result<void> add(const pages::wire::Message &message);
    Result<void> take_pages(uint64_t bytes);
    Result<void> take_compressed(const img::pagemap_entry &run);
    Result<std::vector<uint32_t>> receive_compressed(uint64_t pages);
    Result<void> finish();

    pages::Channel &channel_;
    image::ImageDirWriter &writer_;
    ParentPages parent_;
    std::unique_ptr<pages::PageSink> sink_;
    std::optional<pages::wire::Form> form_;
    std::unique_ptr<pages::MemoryOutput> output_;
    uint64_t packed_ = 0; ///< the object being written, as it came
    pages::wire::Object object_;
    std::set<uint64_t> seen_;
    uint64_t end_ = 0;    ///< of the last run
    uint64_t offset_ = 0; ///< in the pages file
    uint64_t pages_ = 0;
    std::vector<std::byte> buffer_;
};

} // namespace page_server
