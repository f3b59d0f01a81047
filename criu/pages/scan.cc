#include "criu/pages/scan.hh"

#include "kernel_abi/pagemap_scan.hh"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

namespace pages {
namespace {

using namespace kernel_abi;

constexpr size_t kRegions = 4096;
// Of an entry of /proc/PID/pagemap.
constexpr uint64_t kPresent = 1ull << 63, kSwapped = 1ull << 62, kFile = 1ull << 61, kSoftDirty = 1ull << 55,
                   kPfnMask = (1ull << 55) - 1;

/// The frame of the kernel's zero page, 0 if we may not see frames (CAP_SYS_ADMIN).
uint64_t find_zero_pfn() {
    void *page = mmap(nullptr, base::kPageSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 0;
    volatile char touched = *static_cast<volatile char *>(page);
    (void)touched;
    uint64_t entry = 0;
    base::UniqueFd fd(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    auto at = static_cast<off_t>(reinterpret_cast<uint64_t>(page) / base::kPageSize * sizeof entry);
    if (!fd || pread(fd.get(), &entry, sizeof entry, at) != sizeof entry)
        entry = 0;
    munmap(page, base::kPageSize);
    return entry & kPfnMask;
}

} // namespace

Result<PageScanner> PageScanner::open(Pid pid) {
    base::UniqueFd fd(::open(fmt::format("/proc/{}/pagemap", pid.value).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
        return base::fail_sys(fmt::format("open /proc/{}/pagemap", pid.value));
    return PageScanner(std::move(fd));
}

Result<void> PageScanner::scan(uint64_t start, uint64_t end, Mapping mapping, ScanResult &result) {
    if (ioctl_works_ && notes_ != Notes::SoftDirty) {
        auto r = scan_ioctl(start, end, mapping, result);
        if (r || r.error().code() != ENOTTY)
            return r;
        ioctl_works_ = false;
    }
    return scan_read(start, end, mapping, result);
}

Result<void> PageScanner::scan_ioctl(uint64_t start, uint64_t end, Mapping mapping, ScanResult &result) {
    PageRegion regions[kRegions];
    PmScanArg arg{};
    arg.size = sizeof arg;
    arg.start = start;
    arg.end = end;
    arg.vec = reinterpret_cast<uint64_t>(regions);
    arg.vec_len = kRegions;
    // FILE costs a lookup of each page's mapping, four times the rest together: asked only where it decides.
    arg.category_mask = arg.category_inverted =
        kPageIsPfnZero | (mapping == Mapping::PrivateFile ? uint64_t{kPageIsFile} : 0);
    arg.category_anyof_mask = kPageIsPresent | kPageIsSwapped;
    const uint64_t noted = notes_ == Notes::WriteProtection ? kPageIsWpAllowed | kPageIsWritten : 0;
    // MADV_DONTNEED leaves a note on a protected page of a file mapping that looks like a page in swap, protected and
    // unwritten (zap_install_uffd_wp_if_needed): only what is present is known to be what it was.
    const uint64_t unwritten = kPageIsWpAllowed | (mapping == Mapping::PrivateFile ? uint64_t{kPageIsPresent} : 0);
    const uint64_t sure = unwritten | kPageIsWritten;
    while (arg.start < end) {
        arg.return_mask = kPageIsPresent | noted | (knows_guards_ ? uint64_t{kPageIsGuard} : 0);
        int n = ioctl(fd_.get(), kPagemapScan, &arg);
        if (n < 0 && errno == EINVAL && knows_guards_) {
            knows_guards_ = false;
            continue;
        }
        if (n < 0)
            return base::fail_sys("PAGEMAP_SCAN");
        for (int i = 0; i < n; i++) {
            Extent extent{regions[i].start, (regions[i].end - regions[i].start) / base::kPageSize};
            append(regions[i].categories & kPageIsGuard ? result.guards : result.data, extent);
            if (noted && (regions[i].categories & (sure | kPageIsGuard)) == unwritten)
                append(result.clean, extent);
        }
        // walk_end of a complete walk may lie before regions already reported (6.18): a short vector means the end.
        if (static_cast<size_t>(n) < kRegions)
            return {};
        arg.start = std::max<uint64_t>(arg.walk_end, regions[n - 1].end);
    }
    return {};
}

bool PageScanner::is_write_protected(uint64_t address) const {
    PageRegion region{};
    PmScanArg arg{};
    arg.size = sizeof arg;
    arg.flags = kPmScanCheckWpAsync;
    arg.start = address;
    arg.end = address + base::kPageSize;
    arg.vec = reinterpret_cast<uint64_t>(&region);
    arg.vec_len = 1;
    arg.category_anyof_mask = kPageIsPresent | kPageIsSwapped;
    arg.return_mask = kPageIsPresent;
    return ioctl(fd_.get(), kPagemapScan, &arg) >= 0;
}

Result<std::vector<Extent>> PageScanner::take_written(uint64_t start, uint64_t end) const {
    return find_written(start, end, kPmScanWpMatching);
}

Result<std::vector<Extent>> PageScanner::find_written(uint64_t start, uint64_t end, uint64_t flags) const {
    std::vector<PageRegion> regions(kRegions);
    std::vector<Extent> written;
    PmScanArg arg{};
    arg.size = sizeof arg;
    arg.flags = flags;
    arg.start = start;
    arg.end = end;
    arg.vec = reinterpret_cast<uint64_t>(regions.data());
    arg.vec_len = kRegions;
    // Mappings without write protection do not match. Holes must not: to protect one costs a page table. Nor the zero
    // page, which the first write replaces by a page that counts as written.
    arg.category_inverted = kPageIsPfnZero;
    arg.category_mask = kPageIsPfnZero | kPageIsWpAllowed | kPageIsWritten;
    arg.category_anyof_mask = kPageIsPresent | kPageIsSwapped;
    arg.return_mask = kPageIsWritten;
    while (arg.start < end) {
        const int n = ioctl(fd_.get(), kPagemapScan, &arg);
        if (n < 0)
            return base::fail_sys("PAGEMAP_SCAN");
        for (int i = 0; i < n; i++)
            append(written, extent_of(regions[i].start, regions[i].end));
        if (static_cast<size_t>(n) < kRegions) // see scan_ioctl()
            break;
        arg.start = std::max<uint64_t>(arg.walk_end, regions[n - 1].end);
    }
    return written;
}

Result<void> PageScanner::scan_read(uint64_t start, uint64_t end, Mapping mapping, ScanResult &result) {
    if (!zero_pfn_known_) {
        zero_pfn_ = find_zero_pfn();
        zero_pfn_known_ = true;
    }
    constexpr size_t kEntries = 65536;
    std::vector<uint64_t> entries(std::min<uint64_t>(kEntries, (end - start) / base::kPageSize));
    while (start < end) {
        size_t want = std::min<uint64_t>(entries.size(), (end - start) / base::kPageSize);
        ssize_t n = pread(fd_.get(), entries.data(), want * 8, static_cast<off_t>(start / base::kPageSize * 8));
        if (n < 0)
            return base::fail_sys("read /proc/PID/pagemap");
        if (n == 0)
            return {};
        for (size_t i = 0; i < static_cast<size_t>(n) / 8; i++, start += base::kPageSize) {
            uint64_t entry = entries[i];
            bool zero = zero_pfn_ && (entry & kPresent) && (entry & kPfnMask) == zero_pfn_;
            bool of_file = mapping == Mapping::PrivateFile && (entry & kFile);
            if (!(entry & (kPresent | kSwapped)) || zero || of_file)
                continue;
            append(result.data, {start, 1});
            if (notes_ == Notes::SoftDirty && !(entry & kSoftDirty))
                append(result.clean, {start, 1});
        }
    }
    return {};
}

} // namespace pages
