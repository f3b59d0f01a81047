#include "criu/engine/dump/left_memory.hh"

#include <algorithm>

namespace dump {

Result<void> LeftMemory::add(const tree::TaskFacts &task, const std::vector<PageRun> &runs) {
    Task left{task.voice, TRY(compel::RemoteMemory::open(task.voice)), {}};
    for (const PageRun &run : runs)
        if (run.left)
            pages::append(left.extents, run.extent);
    tasks_.emplace(static_cast<uint32_t>(task.vpid.value), std::move(left));
    return {};
}

Result<uint64_t> LeftMemory::available(uint32_t pid, uint64_t address, uint64_t most) {
    const auto task = tasks_.find(pid);
    if (task == tasks_.end())
        return 0;
    const auto &extents = task->second.extents;
    const auto extent =
        std::ranges::partition_point(extents, [&](const pages::Extent &e) { return e.end() <= address; });
    if (extent == extents.end() || extent->start > address)
        return 0;
    return std::min(most, (extent->end() - address) / base::kPageSize);
}

Result<void> LeftMemory::read(uint32_t pid, uint64_t address, std::span<std::byte> into) {
    const Task &task = tasks_.at(pid);
    return StoppedMemory(task.voice, task.memory).read(address, into);
}

Result<std::unique_ptr<LazyServer>> LazyServer::open(const pages::Link &link) {
    auto server = std::unique_ptr<LazyServer>(new LazyServer(link));
    if (link.endpoint.socket >= 0)
        server->given_ = TRY(pages::given_socket(link.endpoint.socket));
    else
        server->listening_ = TRY(pages::listen_at(link.endpoint));
    return server;
}

Result<void> LazyServer::serve(LeftMemory &memory) {
    base::UniqueFd socket = listening_ ? TRY(pages::accept_one(*listening_)) : std::move(given_);
    const auto channel = TRY(pages::accepted_channel(link_, std::move(socket)));
    TRY(pages::give_pages(*channel, memory));
    return channel->finish();
}

} // namespace dump
