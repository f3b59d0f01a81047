#include "criu/engine/dump/page_sender.hh"

#include "criu/image/pagemap.hh"
#include "criu/kernel/interruption.hh"
#include "criu/pages/compressing_sink.hh"
#include "criu/pages/link.hh"
#include "criu/pages/page_client.hh"
#include "criu/pages/stream_sink.hh"

#include <algorithm>
#include <sys/uio.h>

namespace dump {
namespace {

constexpr size_t kPiece = 512u << 10; // fits into the processor's cache between its two copies

} // namespace

// process_vm_readv looks a page up once where /proc/PID/mem does it twice and copies through a page of its own; but it
// respects PROT_NONE, and a seccomp filter of ours might not allow it.
Result<void> StoppedMemory::read(uint64_t address, std::span<std::byte> into) const {
    const iovec local{into.data(), into.size()};
    const iovec remote{reinterpret_cast<void *>(address), into.size()};
    const ssize_t n = process_vm_readv(pid_.value, &local, 1, &remote, 1, 0);
    const auto done = static_cast<size_t>(std::max<ssize_t>(n, 0));
    return done == into.size() ? Result<void>() : memory_.read(address + done, into.subspan(done));
}

std::unique_ptr<pages::PageSink> images_sink(const engine::DumpRequest &request, image::ImageDirWriter &images) {
    if (request.compression.is_on())
        return pages::compressing_sink(images, request.compression, request.stream.get());
    return request.stream ? pages::stream_sink(images, *request.stream) : pages::directory_sink(images);
}

Result<std::unique_ptr<pages::PageSink>> connect_page_server(const engine::DumpRequest &request) {
    if (!request.page_server)
        return nullptr;
    auto channel = TRY(pages::connect_channel(*request.page_server));
    const bool given = request.page_server->endpoint.socket >= 0;
    return pages::page_server_sink(std::move(channel), given ? pages::Ending::ForceClose : pages::Ending::Close,
                                   request.compression);
}

Result<void> send_pages(pages::MemoryOutput &output, const std::vector<PageRun> &runs, base::Pid pid,
                        const compel::RemoteMemory &memory, engine::Progress *progress) {
    const StoppedMemory source(pid, memory);
    std::vector<std::byte> buffer(kPiece);
    for (const PageRun &run : runs) {
        const img::pagemap_entry entry = entry_of(run);
        TRY(output.add(entry, run.huge ? pages::PageKind::Huge : pages::PageKind::Small));
        if (!(entry.flags() & image::kPePresent))
            continue;
        for (uint64_t at = run.extent.start; at < run.extent.end();) {
            TRY(kernel::check_interrupted());
            const auto piece = std::span(buffer).first(std::min<uint64_t>(kPiece, run.extent.end() - at));
            TRY(source.read(at, piece));
            TRY(output.put(piece));
            engine::count_bytes(progress, piece.size());
            at += piece.size();
        }
    }
    return {};
}

} // namespace dump
