// Memory of a stopped task on its way to where no file is: a page server.
#pragma once

#include "criu/engine/dump/memory.hh"
#include "criu/engine/request.hh"

namespace dump {

/// Reads the memory of a stopped task from outside, the quick way where the kernel lets us.
class StoppedMemory {
public:
    StoppedMemory(base::Pid pid, const compel::RemoteMemory &memory) : pid_(pid), memory_(memory) {}
    /// Errors: System, Died.
    Result<void> read(uint64_t address, std::span<std::byte> into) const;

private:
    base::Pid pid_;
    const compel::RemoteMemory &memory_;
};

/// Sends all runs, each with its pages.
Result<void> send_pages(pages::MemoryOutput &output, const std::vector<PageRun> &runs, base::Pid pid,
                        const compel::RemoteMemory &memory, engine::Progress *progress);

/// Where memory goes that stays here.
std::unique_ptr<pages::PageSink> images_sink(const engine::DumpRequest &request, image::ImageDirWriter &images);

/// Before the tree is stopped: that nobody is there should cost it nothing. Null without --page-server.
Result<std::unique_ptr<pages::PageSink>> connect_page_server(const engine::DumpRequest &request);

} // namespace dump
