#include "criu/image/image_writer.hh"
#include "criu/pages/sink.hh"

namespace pages {
namespace {

using image::ImageKind;

class DirectoryOutput final : public MemoryOutput {
public:
    DirectoryOutput(image::ImageDirWriter &images, ImageKind kind, uint64_t id, uint32_t pages_id)
        : images_(images), kind_(kind), id_(id), pages_id_(pages_id) {}

    Result<void> add(const img::pagemap_entry &run, PageKind) override { return images_.add(kind_, id_, run); }

    bool has_file() const override { return true; }
    Result<int> file() override { return images_.raw(ImageKind::Pages, pages_id_); }

    Result<void> put(std::span<const std::byte>) override {
        return base::fail(base::ErrorKind::Bug, "pages of a directory go into its file");
    }

    Result<void> close() override {
        TRY(images_.close_file(kind_, id_));
        return images_.close_file(ImageKind::Pages, pages_id_);
    }

private:
    image::ImageDirWriter &images_;
    ImageKind kind_;
    uint64_t id_;
    uint32_t pages_id_;
};

class DirectorySink final : public PageSink {
public:
    DirectorySink(image::ImageDirWriter &images, uint32_t first_pages_id)
        : images_(images), next_pages_id_(first_pages_id) {}

    Result<std::unique_ptr<MemoryOutput>> open(ImageKind kind, uint64_t id, uint64_t object_size) override {
        const uint32_t pages_id = next_pages_id_++;
        TRY(begin_pagemap(images_, kind, id, pages_id, object_size));
        return std::make_unique<DirectoryOutput>(images_, kind, id, pages_id);
    }

    Result<void> finish() override { return {}; }

private:
    image::ImageDirWriter &images_;
    uint32_t next_pages_id_;
};

} // namespace

Result<void> begin_pagemap(image::ImageDirWriter &images, ImageKind kind, uint64_t id, uint32_t pages_id,
                           uint64_t object_size) {
    img::pagemap_head head;
    head.set_pages_id(pages_id);
    if (object_size)
        head.set_object_size(object_size);
    return images.add(kind, id, head);
}

std::unique_ptr<PageSink> directory_sink(image::ImageDirWriter &images, uint32_t first_pages_id) {
    return std::make_unique<DirectorySink>(images, first_pages_id);
}

} // namespace pages
