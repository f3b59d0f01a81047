#include "criu/engine/tracking/watch.hh"

#include "criu/kernel/io.hh"
#include "kernel_abi/userfaultfd.hh"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace tracking {
namespace {

using kernel_abi::kUffdWpAsync, kernel_abi::kUffdWpUnpopulated;

bool protect(int uffd, const pages::Extent &mapping) {
    uffdio_register request{};
    request.range = {mapping.start, mapping.pages * base::kPageSize};
    request.mode = UFFDIO_REGISTER_MODE_WP;
    return ioctl(uffd, UFFDIO_REGISTER, &request) == 0;
}

/// Whether mappings may become so many that the program cannot have more: neighbours with and without protection do
/// not merge.
bool is_crowded(const tree::TaskFacts &task) {
    const std::string text = kernel::read_file(AT_FDCWD, "/proc/sys/vm/max_map_count").value_or(std::string("65530"));
    size_t most = 65530;
    std::from_chars(text.data(), text.data() + text.size(), most);
    return task.vmas.size() > most - most / 8;
}

bool has_ring(const tree::TaskFacts &task) {
    return std::ranges::any_of(task.vmas, [](const parse::Vma &vma) {
        return vma.name.starts_with("/[aio]") || vma.name == "anon_inode:[io_uring]";
    });
}

bool has_such_descriptor(const tree::TaskFacts &task) {
    return std::ranges::any_of(task.fds, [&](int fd) {
        const std::string path = fmt::format("/proc/{}/fd/{}", task.voice.value, fd);
        const std::string what = kernel::read_link(AT_FDCWD, path.c_str()).value_or(std::string());
        return what == "anon_inode:[io_uring]" || what == "anon_inode:[userfaultfd]";
    });
}

/// Private memory that the program may write. Huge pages would be protected one by one all the same.
bool can_be_noted(const parse::Vma &vma) {
    if (vma.shared || vma.flags.has(parse::VmFlag::Ht) || vma.flags.has(parse::VmFlag::Dp) ||
        vma.name.starts_with("/anon_hugepage"))
        return false;
    const bool anonymous =
        vma.name.empty() || vma.name == "[heap]" || vma.name == "[stack]" || vma.name.starts_with("[anon:");
    const bool of_file = !anonymous && vma.name.starts_with('/');
    return anonymous || (of_file && (vma.prot & PROT_WRITE));
}

} // namespace

Result<void> set_up(int uffd) {
    uffdio_api api{};
    api.api = UFFD_API;
    api.features = kUffdWpAsync | kUffdWpUnpopulated | UFFD_FEATURE_PAGEFAULT_FLAG_WP;
    if (ioctl(uffd, UFFDIO_API, &api) < 0)
        return base::fail_sys("UFFDIO_API");
    return {};
}

std::vector<pages::Extent> watchable(const tree::TaskFacts &task) {
    std::vector<pages::Extent> mappings;
    if (is_crowded(task) || has_ring(task) || has_such_descriptor(task))
        return mappings;
    for (const parse::Vma &vma : task.vmas)
        if (can_be_noted(vma))
            mappings.push_back(pages::extent_of(vma.start, vma.end));
    return mappings;
}

// To ask again for what we have changes nothing; for what somebody else has it is refused. So asking tells whose it is.
Watch watch(int uffd, const pages::PageScanner &scanner, const std::vector<pages::Extent> &mappings) {
    Watch found;
    for (const pages::Extent &mapping : mappings) {
        const bool was = scanner.is_write_protected(mapping.start);
        if (!protect(uffd, mapping))
            found.dead |= errno == ENOMEM || errno == ESRCH;
        else if (was)
            pages::append(found.known, mapping);
    }
    return found;
}

Watch look(int uffd, const pages::PageScanner &scanner, const std::vector<pages::Extent> &mappings) {
    Watch found;
    for (const pages::Extent &mapping : mappings)
        if (scanner.is_write_protected(mapping.start) && protect(uffd, mapping))
            pages::append(found.known, mapping);
    return found;
}

} // namespace tracking
