#include "criu/pages/compressing_sink.hh"

#include "base/ids.hh"
#include "criu/image/image_writer.hh"
#include "criu/pages/packing.hh"
#include "criu/pages/stream_sink.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>

namespace pages {
namespace {

using image::ImageKind;

constexpr uint64_t kJob = 2u << 20; // what a thread compresses at a time, and what one entry describes at most

class CompressingOutput final : public MemoryOutput {
public:
    CompressingOutput(image::ImageDirWriter &images, PackTeam &team, uint64_t block_bytes, ImageKind kind, uint64_t id,
                      uint32_t pages_id, ImageStream *stream)
        : images_(images), team_(team), block_bytes_(block_bytes), kind_(kind), id_(id), pages_id_(pages_id) {
        file_->stream = stream;
        file_->name = image::image_file_name(ImageKind::Pages, pages_id);
    }

    /// Where no page is written there is no file.
    Result<void> open_file() {
        if (file_->fd)
            return {};
        file_->fd.reset(fcntl(TRY(images_.raw(ImageKind::Pages, pages_id_)), F_DUPFD_CLOEXEC, 3));
        return file_->fd ? Result<void>() : base::fail_sys("pages");
    }

    Result<void> add(const img::pagemap_entry &run, PageKind kind) override {
        const bool present = image::flags_of(run) & image::kPePresent;
        begin_run(run, present ? 0 : image::pages_of(run), kind);
        return {};
    }

    bool has_file() const override { return false; }
    Result<int> file() override { return base::fail(base::ErrorKind::Bug, "compressed pages are handed over"); }

    Result<void> put(std::span<const std::byte> bytes) override {
        TRY(open_file());
        job_.bytes.reserve(kJob + block_bytes_);
        while (!bytes.empty()) {
            const auto some = bytes.first(std::min<uint64_t>(bytes.size(), room()));
            job_.bytes.insert(job_.bytes.end(), some.begin(), some.end());
            const uint64_t more = some.size() / base::kPageSize;
            img::pagemap_entry &run = job_.runs.back();
            set_pages(run, image::pages_of(run) + more);
            bytes = bytes.subspan(some.size());
            if (job_.bytes.size() >= kJob && run_bytes() % block_bytes_ == 0)
                TRY(cut());
        }
        return {};
    }

    Result<void> close() override {
        drop_empty_run();
        if (!job_.runs.empty())
            TRY(team_.submit(file_, job_));
        TRY_CTX(team_.await(*file_), image::image_file_name(ImageKind::Pages, pages_id_));
        for (const img::pagemap_entry &run : file_->runs)
            TRY(images_.add(kind_, id_, run));
        TRY(images_.close_file(kind_, id_));
        if (!file_->stream || file_->end == 0)
            return images_.close_file(ImageKind::Pages, pages_id_);
        TRY(file_->stream->end_file(file_->name, file_->end));
        return leave_placeholder(images_, pages_id_, file_->end);
    }

private:
    static void set_pages(img::pagemap_entry &run, uint64_t pages) {
        run.set_compat_nr_pages(std::in_range<uint32_t>(pages) ? static_cast<uint32_t>(pages) : 0);
        run.set_nr_pages(pages);
    }

    /// What was cut where its run ended.
    void drop_empty_run() {
        if (!job_.runs.empty() && image::pages_of(job_.runs.back()) == 0)
            job_.runs.pop_back(), job_.huge.pop_back();
    }

    void begin_run(img::pagemap_entry run, uint64_t pages, PageKind kind) {
        drop_empty_run();
        set_pages(run, pages);
        job_.runs.push_back(std::move(run));
        job_.huge.push_back(kind == PageKind::Huge);
    }

    uint64_t run_bytes() const { return image::pages_of(job_.runs.back()) * base::kPageSize; }

    /// Until the job is full, and its last block too.
    uint64_t room() const {
        const uint64_t least = job_.bytes.size() < kJob ? kJob - job_.bytes.size() : 1;
        const uint64_t blocks = (run_bytes() + least + block_bytes_ - 1) / block_bytes_;
        return blocks * block_bytes_ - run_bytes();
    }

    /// Hands the job over; the run goes on in the next one.
    Result<void> cut() {
        img::pagemap_entry rest = job_.runs.back();
        rest.set_vaddr(image::end_of(rest));
        const PageKind kind = job_.huge.back() ? PageKind::Huge : PageKind::Small;
        TRY_CTX(team_.submit(file_, job_), image::image_file_name(ImageKind::Pages, pages_id_));
        begin_run(std::move(rest), 0, kind);
        return {};
    }

    image::ImageDirWriter &images_;
    PackTeam &team_;
    uint64_t block_bytes_;
    ImageKind kind_;
    uint64_t id_;
    uint32_t pages_id_;
    std::shared_ptr<PackFile> file_ = std::make_shared<PackFile>();
    PackJob job_;
};

class CompressingSink final : public PageSink {
public:
    CompressingSink(image::ImageDirWriter &images, const Compression &how, ImageStream *stream)
        : images_(images), how_(how), stream_(stream) {}

    Result<std::unique_ptr<MemoryOutput>> open(ImageKind kind, uint64_t id, uint64_t object_size) override {
        if (!team_)
            team_ = std::make_unique<PackTeam>(how_);
        const uint32_t pages_id = next_pages_id_++;
        TRY(begin_pagemap(images_, kind, id, pages_id, object_size));
        return std::make_unique<CompressingOutput>(images_, *team_, how_.block_bytes, kind, id, pages_id, stream_);
    }

    Result<void> finish() override {
        team_.reset();
        return {};
    }

private:
    image::ImageDirWriter &images_;
    Compression how_;
    ImageStream *stream_;
    uint32_t next_pages_id_ = 1;
    std::unique_ptr<PackTeam> team_;
};

} // namespace

std::unique_ptr<PageSink> compressing_sink(image::ImageDirWriter &images, const Compression &how, ImageStream *stream) {
    return std::make_unique<CompressingSink>(images, how, stream);
}

} // namespace pages
