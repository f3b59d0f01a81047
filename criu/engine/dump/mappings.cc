#include "criu/engine/dump/mappings.hh"

#include "criu/kernel/io.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/parse/raw_flags.hh"
#include "criu/parse/status.hh"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dump {
namespace {

// Where starting a BPF program (some 20 ms) is made up for: a mapping costs 4 us in smaps, and a GiB 12 ms.
constexpr size_t kManyMappings = 4000;
constexpr uint64_t kMuchMemory = uint64_t{2} << 30;
// ... and where the tree does not wait for it: what is write-protected is counted at 40 ms a GiB.
constexpr uint64_t kLarge = uint64_t{384} << 20;
// Of a tree with more processes the stop takes longer than that; to look at a thousand takes 25 ms.
constexpr size_t kLookedAt = 100;

bool is_large(base::Pid process) {
    const auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/status", process.value).c_str());
    const auto status = parse::parse_status(text.value_or(std::string()));
    return status && status->vm_rss_kb << 10 >= kLarge;
}

/// How much of the text are whole entries of smaps: up to the end of the last line VmFlags.
size_t whole_entries(std::string_view text) {
    const size_t last = text.rfind("\nVmFlags:");
    const size_t end = last == std::string_view::npos ? last : text.find('\n', last + 1);
    return end == std::string_view::npos ? 0 : end + 1;
}

// Twenty thousand mappings make 14 MB of text. They are parsed as they come: memory for all of it, touched for the
// first time, would take as long as the parsing.
/// The first mappings, up to `most` or somewhat more. `complete`: that was all.
Result<std::vector<parse::Vma>> read_smaps(int proc_dir, size_t most, bool &complete) {
    constexpr size_t kBuffer = 256 << 10;
    const base::UniqueFd fd(openat(proc_dir, "smaps", O_RDONLY | O_CLOEXEC));
    if (!fd)
        return base::fail_sys("open /proc/PID/smaps");
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
    complete = false;
    while (vmas.size() < most) {
        const ssize_t n = ::read(fd.get(), text.data() + used, text.size() - used);
        if (n < 0)
            return base::fail_sys("read /proc/PID/smaps");
        used += static_cast<size_t>(n);
        if (n == 0) {
            complete = true;
            break;
        }
        if (used == text.size()) {
            TRY(parse_some(whole_entries(text)));
            if (used == text.size()) // no whole entry: a path of many pages
                text.resize(2 * text.size());
        }
    }
    if (complete)
        TRY(parse_some(used));
    return vmas;
}

/// Mappings of our own that differ in one flag each, to see what the numbers of flags mean here.
class Samples {
public:
    Samples() {
        constexpr int kAdvice[] = {MADV_NORMAL,     MADV_SEQUENTIAL, MADV_RANDOM,     MADV_DONTFORK, MADV_DONTDUMP,
                                   MADV_WIPEONFORK, MADV_HUGEPAGE,   MADV_NOHUGEPAGE, MADV_MERGEABLE};
        for (int advice : kAdvice) // what the kernel lacks is not there to be mistaken for something else
            madvise(add(PROT_READ | PROT_WRITE, MAP_PRIVATE), base::kPageSize, advice);
        mlock2(add(PROT_READ | PROT_WRITE, MAP_PRIVATE), base::kPageSize, 0);
        mlock2(add(PROT_READ | PROT_WRITE, MAP_PRIVATE), base::kPageSize, MLOCK_ONFAULT);
        add(PROT_READ | PROT_EXEC, MAP_PRIVATE);
        add(PROT_NONE, MAP_PRIVATE | MAP_NORESERVE);
        add(PROT_READ | PROT_WRITE, MAP_SHARED);
        add(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_GROWSDOWN);
        watch(add(PROT_READ | PROT_WRITE, MAP_PRIVATE), UFFDIO_REGISTER_MODE_MISSING);
        watch(add(PROT_READ | PROT_WRITE, MAP_PRIVATE), UFFDIO_REGISTER_MODE_WP);
    }
    Samples(const Samples &) = delete;
    ~Samples() { munmap(base_, kRoom * base::kPageSize); }

    bool contains(uint64_t at) const {
        const auto begin = reinterpret_cast<uintptr_t>(base_);
        return at >= begin && at < begin + kRoom * base::kPageSize;
    }

private:
    /// Every other page, so that no two become one mapping.
    void *add(int protection, int flags) {
        char *place = base_ + base::kPageSize * (2 * count_++ + 1);
        return mmap(place, base::kPageSize, protection, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
    void watch(void *page, uint64_t mode) const {
        uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
        if (mode == UFFDIO_REGISTER_MODE_WP)
            api.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP;
        uffdio_register range{.range = {reinterpret_cast<uintptr_t>(page), base::kPageSize}, .mode = mode, .ioctls = 0};
        const base::UniqueFd &fd = watchers_[mode == UFFDIO_REGISTER_MODE_WP];
        if (fd && ioctl(fd.get(), UFFDIO_API, &api) == 0)
            (void)ioctl(fd.get(), UFFDIO_REGISTER, &range);
    }
    static base::UniqueFd watcher() {
        return base::UniqueFd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
    }

    static constexpr size_t kRoom = 64; // pages
    size_t count_ = 0;
    char *base_ = static_cast<char *>(
        mmap(nullptr, kRoom *base::kPageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    base::UniqueFd watchers_[2]{watcher(), watcher()};
};

/// Puts what is known of the flags beside the mappings. False where there is something that smaps has to say.
bool join(std::vector<parse::Vma> &vmas, const std::vector<kernel::FlaggedRange> &ranges) {
    auto range = ranges.begin();
    for (parse::Vma &vma : vmas) {
        if (vma.name == "[vsyscall]") { // no mapping of the process's own
            vma.flags.set(parse::VmFlag::Ex);
            continue;
        }
        if (range == ranges.end() || range->start != vma.start || range->end != vma.end)
            return false;
        const auto flags = parse::flags_of_raw(range++->flags);
        if (!flags)
            return false;
        vma.flags = *flags;
    }
    return range == ranges.end();
}

/// Whether the numbers of flags mean here what they are taken for.
bool are_known(const kernel::MappingFlags &list) {
    const Samples samples;
    const base::UniqueFd self(open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC));
    bool complete = false;
    const auto told = read_smaps(self.get(), SIZE_MAX, complete);
    const auto raw = list.read(base::Pid(getpid()));
    if (!told || !raw)
        return false;
    size_t compared = 0;
    for (const kernel::FlaggedRange &range : *raw) {
        if (!samples.contains(range.start))
            continue;
        const auto vma = std::ranges::find(*told, range.start, &parse::Vma::start);
        const auto flags = parse::flags_of_raw(range.flags);
        if (vma == told->end() || !flags || *flags != vma->flags || !vma->unknown_flags.empty())
            return false;
        compared++;
    }
    constexpr size_t kEnough = 16;
    return compared >= kEnough;
}

} // namespace

MappingReader MappingReader::prepare(base::Pid root) {
    MappingReader reader;
    std::vector<base::Pid> tree{root};
    for (size_t i = 0; i < std::min(tree.size(), kLookedAt); i++) {
        if (is_large(tree[i])) {
            reader.quick_way();
            break;
        }
        std::ranges::copy(kernel::children_of(tree[i]), std::back_inserter(tree));
    }
    return reader;
}

const kernel::MappingFlags *MappingReader::quick_way() {
    if (std::exchange(tried_, true))
        return flags_ ? &*flags_ : nullptr;
    if (auto opened = kernel::MappingFlags::open(); opened && are_known(*opened))
        flags_ = std::move(*opened);
    return flags_ ? &*flags_ : nullptr;
}

std::optional<std::vector<parse::Vma>> MappingReader::read_quickly(int proc_dir, base::Pid thread) {
    const kernel::MappingFlags *list = quick_way();
    if (!list)
        return std::nullopt;
    const auto text = kernel::read_file(proc_dir, "maps");
    const auto ranges = list->read(thread);
    if (!text || !ranges)
        return std::nullopt;
    auto vmas = parse::parse_maps(*text);
    if (!vmas || !join(*vmas, *ranges))
        return std::nullopt;
    return std::move(*vmas);
}

Result<std::vector<parse::Vma>> MappingReader::read(int proc_dir, base::Pid thread, uint64_t resident) {
    bool complete = false;
    std::vector<parse::Vma> vmas;
    if (!flags_ && resident < kMuchMemory)
        vmas = TRY(read_smaps(proc_dir, kManyMappings, complete));
    if (complete)
        return vmas;
    if (auto quick = read_quickly(proc_dir, thread))
        return std::move(*quick);
    return read_smaps(proc_dir, SIZE_MAX, complete);
}

} // namespace dump
