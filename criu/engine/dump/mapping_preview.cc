#include "criu/engine/dump/mapping_preview.hh"

#include "criu/kernel/io.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/parse/status.hh"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace dump {
namespace {

using base::Pid;
using base::Result;

// Less is counted in the time that the kernel's description of itself takes to read.
constexpr uint64_t kLargeKib = 384u << 10;

bool is_large(Pid process) {
    const auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/status", process.value).c_str());
    const auto status = parse::parse_status(text.value_or(std::string()));
    return status && status->vm_rss_kb >= kLargeKib;
}

std::vector<Pid> large_processes(Pid root) {
    std::vector<Pid> tree{root}, large;
    for (size_t i = 0; i < tree.size(); i++) {
        if (is_large(tree[i]))
            large.push_back(tree[i]);
        std::ranges::copy(kernel::children_of(tree[i]), std::back_inserter(tree));
    }
    return large;
}

/// How much of the text are whole entries of smaps: up to the end of the last line VmFlags.
size_t whole_entries(std::string_view text) {
    const size_t last = text.rfind("\nVmFlags:");
    const size_t end = last == std::string_view::npos ? last : text.find('\n', last + 1);
    return end == std::string_view::npos ? 0 : end + 1;
}

} // namespace

// Twenty thousand mappings make 14 MB of text. They are parsed as they come: memory for all of it, touched for the
// first time, would take as long as the parsing.
Result<std::vector<parse::Vma>> read_mappings(int fd) {
    constexpr size_t kBuffer = 256 << 10;
    std::vector<parse::Vma> vmas;
    std::string text(kBuffer, '\0');
    size_t used = 0;
    auto parse_some = [&](size_t bytes) -> Result<void> {
        auto some = TRY(parse::parse_smaps(std::string_view(text).substr(0, bytes)));
        std::ranges::move(some, std::back_inserter(vmas));
        used -= bytes;
        std::memmove(text.data(), text.data() + bytes, used);
        return {};
    };
    for (;;) {
        const ssize_t n = ::read(fd, text.data() + used, text.size() - used);
        if (n < 0)
            return base::fail_sys("read /proc/PID/smaps");
        used += static_cast<size_t>(n);
        if (n == 0)
            break;
        if (used == text.size()) {
            TRY(parse_some(whole_entries(text)));
            if (used == text.size()) // no whole entry: a path of many pages
                text.resize(2 * text.size());
        }
    }
    TRY(parse_some(used));
    return vmas;
}

// The file of /proc/PID/pagemap refers to the memory that the process had when it was opened.
std::optional<MappingPreview::State> MappingPreview::state_of(Pid process) const {
    const base::UniqueFd pagemap(open(fmt::format("/proc/{}/pagemap", process.value).c_str(), O_RDONLY | O_CLOEXEC));
    const auto file = pagemap ? kernel_->file(pagemap.get()) : base::fail_sys("pagemap");
    if (!file)
        return std::nullopt;
    const auto memory = kernel_->member(*file, "file", "private_data");
    if (!memory || *memory == 0)
        return std::nullopt;
    const auto sequence = kernel_->member(*memory, "mm_struct", sequence_);
    if (!sequence)
        return std::nullopt;
    return State{*memory, *sequence};
}

// The number is read before smaps: what changes while that is read changes it too.
void MappingPreview::look_at(Pid process) {
    const auto state = state_of(process);
    const base::UniqueFd smaps(open(fmt::format("/proc/{}/smaps", process.value).c_str(), O_RDONLY | O_CLOEXEC));
    if (!state || !smaps)
        return;
    if (auto vmas = read_mappings(smaps.get()))
        seen_[process] = {*state, std::move(*vmas)};
}

MappingPreview MappingPreview::look(Pid root) {
    MappingPreview preview;
    const std::vector<Pid> large = large_processes(root);
    if (large.empty())
        return preview;
    auto memory = resource::KernelMemory::open();
    if (!memory)
        return preview;
    preview.kernel_.emplace(std::move(*memory));
    for (const char *name : {"mm_lock_seq.sequence", "mm_lock_seq"})
        if (!preview.sequence_ && preview.kernel_->address_of(0, "mm_struct", name))
            preview.sequence_ = name;
    if (preview.sequence_)
        for (const Pid process : large)
            preview.look_at(process);
    return preview;
}

std::optional<std::vector<parse::Vma>> MappingPreview::take(Pid process) {
    const auto seen = seen_.find(process);
    if (seen == seen_.end())
        return std::nullopt;
    const Seen found = std::move(seen->second);
    seen_.erase(seen);
    if (state_of(process) != found.state)
        return std::nullopt;
    return found.vmas;
}

} // namespace dump
