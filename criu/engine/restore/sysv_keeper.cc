#include "criu/engine/restore/sysv_keeper.hh"

#include "base/guarded.hh"

#include "criu/engine/restore/page_reader.hh"
#include "criu/kernel/child.hh"
#include "criu/resource/mm/sysv_segment.hh"
#include "criu/resource/mm/vma_status.hh"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fmt/format.h>
#include <set>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace restore {
namespace {

using Segments = std::vector<img::ipc_shm_entry>;

constexpr char kReady = 'r', kFailed = 'f', kKeep = 'k', kTakeBack = 't';

/// The segments that tasks are attached to; an image of a whole IPC namespace may hold more.
Result<Segments> attached_segments(const plan::Checkpoint &checkpoint) {
    std::set<uint64_t> wanted;
    if (checkpoint.root().ids.ipc_ns_id() != checkpoint.inventory.root_ids().ipc_ns_id())
        return Segments{}; // the namespace's own: resource/namespace/ipc
    for (const plan::TaskImage &task : checkpoint.tasks)
        for (const img::vma_entry &vma : task.mm.vmas())
            if (task.ids.ipc_ns_id() == checkpoint.root().ids.ipc_ns_id() && vma.status() & resource::kVmaSysvIpc)
                wanted.insert(vma.shmid());
    if (wanted.empty())
        return Segments{};
    const uint32_t ns = checkpoint.root().ids.ipc_ns_id();
    auto entries = TRY(checkpoint.images().read<img::ipc_shm_entry>(image::ImageKind::IpcnsShm, ns));
    std::erase_if(entries, [&](const img::ipc_shm_entry &entry) { return !wanted.contains(entry.desc().id()); });
    for (const img::ipc_shm_entry &entry : entries)
        wanted.erase(entry.desc().id());
    if (!wanted.empty())
        return base::bad_image(
            fmt::format("ipcns-shm-{}.img: segment {} is missing, which a task has attached", ns, *wanted.begin()));
    return entries;
}

void send_text(int line, const std::string &text) {
    (void)send(line, text.data(), text.size(), MSG_NOSIGNAL);
}

/// The keeper's life: restore, tell, wait for the word.
[[noreturn]] void keep(int line, const plan::Checkpoint &checkpoint, const Segments &entries) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    setsid();
    prctl(PR_SET_NAME, "criu-sysv");
    bool keeps = false;
    {
        resource::SegmentSet set;
        std::vector<uint32_t> live;
        auto fill = [&](uint64_t id, std::byte *memory, uint64_t size) {
            return fill_shared(checkpoint.chain, id, memory, size);
        };
        auto outcome = base::guarded([&] { return set.restore(entries, fill, live); });
        std::string text = outcome ? std::string(1, kReady) : kFailed + outcome.error().message();
        if (outcome)
            for (uint32_t id : live)
                text += fmt::format(" {}", id);
        send_text(line, text);
        char word = 0;
        ssize_t n;
        do
            n = recv(line, &word, 1, 0);
        while (n < 0 && errno == EINTR);
        keeps = outcome && n == 1 && word == kKeep;
        if (!keeps)
            set.take_back();
    }
    _exit(0);
}

} // namespace

Result<SysvKeeper> SysvKeeper::start(const plan::Checkpoint &checkpoint, base::Log &log) {
    SysvKeeper keeper;
    const Segments entries = TRY(attached_segments(checkpoint));
    if (entries.empty())
        return keeper;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return base::fail_sys("make a socket pair");
    keeper.line_.reset(ends[0]);
    base::UniqueFd theirs(ends[1]);
    // Not our child: the coordinator collects all of its children when it fails.
    const auto apart = [&] {
        close(ends[0]);
        keep(ends[1], checkpoint, entries);
    };
    TRY_CTX(kernel::fork_apart(apart), "the keeper of System V segments");
    theirs.reset();
    std::string text(4096, '\0');
    const ssize_t n = recv(ends[0], text.data(), text.size(), 0);
    text.resize(static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (text.empty() || text[0] != kReady)
        return base::unsupported(text.empty() ? "the keeper of System V segments has ended" : text.substr(1));
    if (text.size() > 1)
        log.warn(fmt::format("restore: System V segments in use by others keep their contents:{}", text.substr(1)));
    return keeper;
}

SysvKeeper::~SysvKeeper() {
    end(kTakeBack);
}

/// Tasks have copies of our end: only a word, or the death of all, ends the keeper.
void SysvKeeper::end(char word) {
    if (!line_)
        return;
    (void)send(line_.get(), &word, 1, MSG_NOSIGNAL);
    char nothing;
    while (recv(line_.get(), &nothing, 1, 0) > 0 || errno == EINTR) { // until it has ended
    }
    line_.reset();
}

} // namespace restore
