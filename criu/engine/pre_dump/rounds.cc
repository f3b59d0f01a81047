#include "criu/engine/pre_dump/rounds.hh"

#include "base/clock.hh"
#include "criu/engine/dump/agent_visit.hh"
#include "criu/engine/dump/mapped_objects.hh"
#include "criu/engine/dump/page_writer.hh"
#include "criu/engine/pre_dump/copier.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace pre_dump {
using resource::MappingClass;

Result<Round> Round::open(const tree::TaskFacts &task) {
    Round round(task, TRY(pages::PageScanner::open(task.voice)));
    for (const parse::Vma &vma : task.vmas)
        round.classes_.push_back(dump::class_saved_ahead(vma));
    return round;
}

Result<void> Round::scan() {
    runs_ = TRY(dump::scan_pages(*task_, classes_, scanner_));
    scanned_ = true;
    return {};
}

/// Soft-dirty bits cannot be read and cleared at once: both happen while the task stands.
Result<void> Round::arm(dump::Increments &increments) {
    increments.prepare(scanner_);
    if (increments.notes().way() == pages::Notes::SoftDirty) {
        TRY(scan());
        TRY(choose(increments));
    }
    dump::AgentVisit visit(*task_);
    if (increments.tracks())
        TRY(increments.arm(*task_, scanner_, [&] { return visit.enter(); }));
    return visit.leave();
}

// Write protection can: what was written is asked for first, and not written again until then; a page that is written
// later still is noted for the next dump, whatever is copied of it now.
Result<void> Round::choose(dump::Increments &increments) {
    std::vector<pages::Extent> written;
    if (increments.notes().way() == pages::Notes::WriteProtection)
        written = TRY(scanner_.take_written(0, base::kUserEnd));
    if (!scanned_)
        TRY(scan());
    if (increments.parent())
        runs_.data =
            dump::without_parents_pages(runs_.data, pages::subtract(increments.unchanged(*task_, runs_.clean), written),
                                        increments.parent().covered(static_cast<uint64_t>(task_->vpid.value)));
    return {};
}

/// Shared memory that only the next dump's comparison can do without, once for all tasks. Where a mapping has gone
/// meanwhile, that dump saves what is left.
Result<void> Round::save_shared(dump::MemoryDumpContext &context) const {
    for (const parse::Vma &vma : task_->vmas) {
        const auto kind = resource::classify(vma);
        if (!kind || *kind != MappingClass::SharedAnonymous || !context.shared_done.insert(vma.inode).second)
            continue;
        const std::string path = dump::map_file(*task_, vma);
        const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (fd)
            TRY(dump::write_file_pages(context, image::ImageKind::ShmemPagemap, vma.inode, fd.get(),
                                       vma.pgoff + vma.size()));
    }
    return {};
}

Result<void> Round::save_to_file(pages::MemoryOutput &output, engine::PreDumpRequest::Mode mode,
                                 engine::Progress *progress) {
    if (!runs_.stores_any())
        return {};
    Copier copier(task_->voice, TRY(output.file()), mode == engine::PreDumpRequest::Mode::Splice, progress);
    runs_.data = TRY(copier.copy(runs_.data));
    return {};
}

/// Piece by piece: what could be copied of each is known only then, and has to be said before.
Result<void> Round::send(pages::MemoryOutput &output, engine::PreDumpRequest::Mode mode, engine::Progress *progress) {
    constexpr uint64_t kPieceOfPages = 1024;
    const base::UniqueFd buffer(memfd_create("pages on their way", MFD_CLOEXEC));
    if (!buffer)
        return base::fail_sys("memfd_create");
    std::vector<std::byte> bytes;
    std::vector<dump::PageRun> sent;
    for (dump::PageRun run : std::exchange(runs_.data, {})) {
        run.in_parent &= output.has_parent() != false;
        for (uint64_t at = run.extent.start, end = run.extent.end(); at < end;) {
            dump::PageRun piece = run;
            piece.extent = {at, std::min(kPieceOfPages, (end - at) / base::kPageSize)};
            at = piece.extent.end();
            Copier copier(task_->voice, buffer.get(), mode == engine::PreDumpRequest::Mode::Splice, progress);
            off_t offset = 0;
            for (const dump::PageRun &copied : TRY(copier.copy({piece}))) {
                TRY(output.add(dump::entry_of(copied)));
                sent.push_back(copied);
                if (!copied.is_stored())
                    continue;
                bytes.resize(copied.extent.pages * base::kPageSize);
                if (pread(buffer.get(), bytes.data(), bytes.size(), offset) != static_cast<ssize_t>(bytes.size()))
                    return base::fail_sys("read pages back");
                offset += static_cast<off_t>(bytes.size());
                TRY(output.put(bytes));
            }
        }
    }
    runs_.data = std::move(sent);
    return {};
}

Result<void> Round::save(dump::Increments &increments, dump::MemoryDumpContext &context,
                         engine::PreDumpRequest::Mode mode) {
    if (increments.notes().way() != pages::Notes::SoftDirty) {
        base::Stopwatch clock(context.statistics.scan_us);
        auto chosen = choose(increments);
        if (!chosen && chosen.error().code() == ESRCH)
            return {}; // it has ended since
        TRY(std::move(chosen));
    }
    base::Stopwatch clock(context.statistics.write_us);
    const auto output = TRY(context.sink.open(image::ImageKind::Pagemap, static_cast<uint64_t>(task_->vpid.value)));
    for (const dump::PageRun &run : runs_.data)
        if (run.is_stored())
            engine::expect_bytes(context.progress, run.extent.pages * base::kPageSize);
    TRY(output->has_file() ? save_to_file(*output, mode, context.progress) : send(*output, mode, context.progress));
    for (dump::PageRun &run : runs_.data) {
        (run.in_parent ? context.statistics.pages_in_parent : context.statistics.pages_written) += run.extent.pages;
        if (output->has_file())
            TRY(output->add(dump::entry_of(run)));
    }
    context.statistics.pages_scanned += runs_.scanned;
    TRY(output->close());
    return increments.tracks_shared() ? save_shared(context) : Result<void>();
}

} // namespace pre_dump
