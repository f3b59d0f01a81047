#include "criu/pages/stream_sink.hh"

#include "criu/image/image_writer.hh"

#include <algorithm>
#include <unistd.h>
#include <vector>

namespace pages {
namespace {

using image::ImageKind;

constexpr size_t kGather = 1u << 20; // runs of single pages are sent together

class StreamOutput final : public MemoryOutput {
public:
    StreamOutput(image::ImageDirWriter &images, ImageStream &stream, ImageKind kind, uint64_t id, uint32_t pages_id)
        : images_(images), stream_(stream), kind_(kind), id_(id), pages_id_(pages_id),
          name_(image::image_file_name(ImageKind::Pages, pages_id)) {}

    Result<void> add(const img::pagemap_entry &run, PageKind kind) override {
        stays_ = stays_behind(run, kind);
        return images_.add(kind_, id_, run);
    }
    bool has_file() const override { return false; }
    Result<int> file() override { return base::fail(base::ErrorKind::Bug, "pages of a stream are handed over"); }

    Result<void> put(std::span<const std::byte> bytes) override {
        if (stays_)
            TRY(kernel::write_at(TRY(images_.raw(ImageKind::Pages, pages_id_)), bytes, sent_ + gathered_.size()));
        const bool large = bytes.size() >= kGather / 2;
        if (large || gathered_.size() + bytes.size() > kGather)
            TRY(send());
        if (large) {
            TRY(stream_.write(name_, sent_, bytes));
            sent_ += bytes.size();
        } else {
            gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
        }
        return {};
    }

    Result<void> close() override {
        TRY(send());
        TRY(images_.close_file(kind_, id_));
        if (sent_ == 0)
            return {};
        TRY(stream_.end_file(name_, sent_));
        return leave_placeholder(images_, pages_id_, sent_);
    }

private:
    Result<void> send() {
        if (gathered_.empty())
            return {};
        TRY(stream_.write(name_, sent_, gathered_));
        sent_ += gathered_.size();
        gathered_.clear();
        return {};
    }

    image::ImageDirWriter &images_;
    ImageStream &stream_;
    ImageKind kind_;
    uint64_t id_;
    uint32_t pages_id_;
    std::string name_;
    std::vector<std::byte> gathered_;
    uint64_t sent_ = 0;
    bool stays_ = false; ///< the run added last
};

class StreamSink final : public PageSink {
public:
    StreamSink(image::ImageDirWriter &images, ImageStream &stream) : images_(images), stream_(stream) {}

    Result<std::unique_ptr<MemoryOutput>> open(ImageKind kind, uint64_t id, uint64_t object_size) override {
        const uint32_t pages_id = next_pages_id_++;
        TRY(begin_pagemap(images_, kind, id, pages_id, object_size));
        return std::make_unique<StreamOutput>(images_, stream_, kind, id, pages_id);
    }

    Result<void> finish() override { return {}; }

private:
    image::ImageDirWriter &images_;
    ImageStream &stream_;
    uint32_t next_pages_id_ = 1;
};

} // namespace

std::unique_ptr<PageSink> stream_sink(image::ImageDirWriter &images, ImageStream &stream) {
    return std::make_unique<StreamSink>(images, stream);
}

bool stays_behind(const img::pagemap_entry &run, PageKind kind) {
    constexpr uint64_t kFew = 16;
    return kind == PageKind::Small && image::flags_of(run) == image::kPePresent && image::pages_of(run) <= kFew;
}

Result<void> leave_placeholder(image::ImageDirWriter &images, uint32_t pages_id, uint64_t size) {
    if (ftruncate(TRY(images.raw(ImageKind::Pages, pages_id)), static_cast<off_t>(size)) < 0)
        return base::fail_sys(image::image_file_name(ImageKind::Pages, pages_id));
    return images.close_file(ImageKind::Pages, pages_id);
}

} // namespace pages
