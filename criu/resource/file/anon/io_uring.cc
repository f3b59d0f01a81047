// io_uring instances that have nothing under way.
// The kernel maps the queues of an instance where it likes, never at a chosen address. But an instance can also be made
// in memory of the program (IORING_SETUP_NO_MMAP, Linux 6.5), at any address, with the same layout. So the queues come
// back as ordinary memory with their contents, and an instance on top of it. Its two counters begin at zero, and only
// requests move them: as many that do nothing are submitted as the program had submitted (0.1 s for a million); then
// the contents of the queues are put back, with completions that nobody has seen and requests not submitted yet.
//
// Neither fdinfo nor any call tells everything about an instance:
//  - requests under way: an idle instance has completed as many as it has taken; one that differs is refused, also
//    where the difference comes from requests with no completion or with several;
//  - flags of io_uring_setup(2): sizes tell those for large entries, contents whether there is an array of indices;
//    what only tunes (SINGLE_ISSUER, DEFER_TASKRUN, ...) is not set again;
//  - registered files, the eventfd and what SQPOLL was asked for: read in the kernel's memory;
//  - where a restored instance has its memory: the 16 unused bytes behind the queues' heads say so, for the next dump.
#include "criu/resource/file/anon/io_uring.hh"

#include "criu/pages/scan.hh"
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/plugin_file.hh"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <linux/io_uring.h>
#include <set>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

namespace resource::io_uring {
namespace {

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:[io_uring]";
}

// ---- dump ----------------------------------------------------------------------------------------------------------

base::Error busy(std::string what) {
    return std::move(base::Error(base::ErrorKind::Unsupported, std::move(what))
                         .hint("dump when the program has no requests under way"));
}

Result<void> check_idle(const parse::IoUringInfo &info) {
    if (info.thread != -1 && info.sq_tail != info.submitted)
        return base::fail(busy("requests wait for the kernel thread that submits (IORING_SETUP_SQPOLL)"));
    if (info.personalities)
        return base::unsupported("it has registered credentials");
    if (info.polls || info.overflows)
        return base::fail(
            busy(fmt::format("{} requests wait, {} completions have found no place", info.polls, info.overflows)));
    if (info.submitted != info.completed)
        return base::fail(
            busy(fmt::format("{} requests have been submitted, {} completed", info.submitted, info.completed)));
    return {};
}

/// Without it nothing that was dumped could be restored here.
Result<void> check_kernel() {
    io_uring_params params{};
    params.flags = kNoMmap;
    const auto made = syscall(SYS_io_uring_setup, 1, &params); // no memory is named: EFAULT where the flag is known
    if (made < 0 && errno == EINVAL)
        return base::fail(base::Error(base::ErrorKind::Unsupported, "this kernel could not restore it")
                              .hint("it takes Linux 6.5 (IORING_SETUP_NO_MMAP)"));
    if (made >= 0)
        close(static_cast<int>(made));
    return {};
}

/// What calls that change nothing tell.
Result<void> check_by_calls(int fd) {
    if (syscall(SYS_io_uring_enter, fd, 0, 0, 0, nullptr, 0) < 0 && errno == EBADFD)
        return base::unsupported("it is disabled still (IORING_SETUP_R_DISABLED)");
    return {};
}

/// Whether it tells its completions to an eventfd: that is looked at before the pointer is.
/// Where only one thread may ask (SINGLE_ISSUER) there can be.
bool may_have_eventfd(int fd) {
    return syscall(SYS_io_uring_register, fd, IORING_REGISTER_EVENTFD, nullptr, 1) < 0 &&
           (errno == EBUSY || errno == EEXIST);
}

const tree::TaskFacts *find_task(const FileDumpContext &context, Pid pid) {
    auto task = std::ranges::find(context.tasks, pid, &tree::TaskFacts::pid);
    return task == context.tasks.end() ? nullptr : &*task;
}

bool is_of(const parse::Vma &vma, const OpenFile &file) {
    return vma.name == "anon_inode:[io_uring]" && vma.inode == file.stat.st_ino &&
           makedev(vma.dev_major, vma.dev_minor) == file.stat.st_dev;
}

/// Where an instance lies. Errors: Unsupported where that is not one place in one task.
struct Place {
    uint64_t rings = 0, rings_size = 0, requests = 0, requests_size = 0;
};

Result<Place> find_mappings(const FileDumpContext &context, const OpenFile &file) {
    Place place;
    std::set<uint64_t> seen;
    for (const tree::TaskFacts &task : context.tasks)
        for (const parse::Vma &vma : task.vmas) {
            if (!is_of(vma, file))
                continue;
            if (task.pid != file.holder)
                return base::unsupported(fmt::format("task {} has its queues mapped as well", task.pid.value));
            const bool requests = vma.pgoff == IORING_OFF_SQES;
            if (!seen.insert(vma.pgoff).second)
                return base::unsupported("its queues are mapped twice in one way");
            // Submissions and completions mapped apart are the same memory, as far as each needs it.
            if (!requests && vma.end - vma.start <= place.rings_size)
                continue;
            (requests ? place.requests : place.rings) = vma.start;
            (requests ? place.requests_size : place.rings_size) = vma.end - vma.start;
        }
    return place;
}

bool read_memory(Pid pid, uint64_t address, void *to, size_t size) {
    const iovec local{to, size}, remote{reinterpret_cast<void *>(address), size};
    return process_vm_readv(pid.value, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
}

bool is_head_of(const Head &head, const parse::IoUringInfo &info) {
    return head.mark == kMark && head.sq_mask == info.sq_mask && head.cq_mask == info.cq_mask &&
           head.sq_head == info.submitted && head.cq_tail == info.completed && head.sq_tail == info.sq_tail;
}

/// Looks at the heads of pages, many with one call.
Place find_among(Pid pid, const std::vector<pages::Extent> &extents, const parse::IoUringInfo &info) {
    constexpr size_t kAtOnce = 512;
    std::vector<uint64_t> addresses;
    for (const pages::Extent &extent : extents)
        for (uint64_t at = extent.start; at < extent.end(); at += base::kPageSize)
            addresses.push_back(at);
    std::vector<Head> heads(kAtOnce);
    for (std::span<const uint64_t> rest = addresses; !rest.empty();
         rest = rest.subspan(std::min(kAtOnce, rest.size()))) {
        const auto some = rest.first(std::min(kAtOnce, rest.size()));
        std::vector<iovec> remote;
        for (uint64_t at : some)
            remote.push_back({reinterpret_cast<void *>(at), sizeof(Head)});
        const iovec local{heads.data(), some.size() * sizeof(Head)};
        const ssize_t n = process_vm_readv(pid.value, &local, 1, remote.data(), remote.size(), 0);
        for (size_t i = 0; n > 0 && i < static_cast<size_t>(n) / sizeof(Head); i++)
            if (is_head_of(heads[i], info))
                return {.rings = some[i], .requests = heads[i].requests};
    }
    return {};
}

/// A restored instance lies in ordinary memory.
Result<Place> find_in_memory(const tree::TaskFacts &task, const parse::IoUringInfo &info) {
    auto scanner = TRY(pages::PageScanner::open(task.voice));
    for (const parse::Vma &vma : task.vmas) {
        const bool shared = vma.shared && vma.name == "/dev/zero (deleted)"; // its queues are mapped twice
        if ((!shared && (vma.shared || !vma.name.empty())) || !(vma.prot & PROT_WRITE))
            continue;
        pages::ScanResult used;
        TRY(scanner.scan(vma.start, vma.end, pages::Mapping::Anonymous, used));
        if (Place place = find_among(task.voice, used.data, info); place.rings)
            return place;
    }
    return Place{};
}

/// The flags that show in sizes; the sizes of an instance in the program's memory do not show.
Result<uint32_t> flags_by_size(const Place &place, uint32_t entries, uint32_t completions) {
    if (!place.rings_size)
        return 0;
    for (uint32_t flags :
         {0u, kCqe32, kNoSqArray, kCqe32 | kNoSqArray, kSqe128, kSqe128 | kCqe32, kSqe128 | kNoSqArray, kKnownFlags}) {
        const Layout layout = Layout::of(entries, completions, flags);
        if (base::page_up(layout.rings) == place.rings_size && base::page_up(layout.requests) == place.requests_size)
            return flags;
    }
    return base::unsupported("its queues have a layout that is not known");
}

/// Without an array of indices there are zeros where it would be. They also are there if the program has one and uses
/// request 0 alone, or has not begun: then both ways are the same to it.
Result<bool> has_array(Pid pid, const Place &place, const Layout &layout, uint32_t entries) {
    std::vector<uint32_t> array(entries);
    if (!read_memory(pid, place.rings + layout.array, array.data(), entries * sizeof array[0]))
        return base::fail_sys("read the queues of io_uring");
    if (std::ranges::any_of(array, [](uint32_t index) { return index != 0; }))
        return true;
    std::vector<char> others(layout.requests - layout.requests / entries);
    if (!others.empty() && !read_memory(pid, place.requests + layout.requests / entries, others.data(), others.size()))
        return base::fail_sys("read the requests of io_uring");
    const bool only_first = std::ranges::all_of(others, [](char byte) { return byte == 0; });
    Head head{};
    if (!read_memory(pid, place.rings, &head, sizeof head))
        return base::fail_sys("read the queues of io_uring");
    return only_first && head.sq_tail > 1;
}

Result<parse::IoUringInfo> check_all(const OpenFile &file) {
    const auto info = TRY(parse::parse_io_uring(TRY(parse::parse_fdinfo(file.fdinfo)).io_uring));
    TRY(check_idle(info));
    TRY(check_by_calls(file.fd));
    TRY(check_kernel());
    return info;
}

Result<void> examine(const OpenFile &file, const Examined &) {
    TRY(check_all(file));
    return {};
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    const auto info = TRY(check_all(file));
    const tree::TaskFacts *task = find_task(context, file.holder);
    Place place = TRY(find_mappings(context, file));
    if (task && !place.rings)
        place = TRY(find_in_memory(*task, info));
    if (!task || !place.rings || !place.requests)
        return base::unsupported("its queues are not mapped by the task that has it open");
    const uint32_t entries = info.sq_mask + 1, completions = info.cq_mask + 1;
    uint32_t flags = TRY(flags_by_size(place, entries, completions));
    if (!(flags & kNoSqArray) && !TRY(has_array(file.voice, place, Layout::of(entries, completions, flags), entries)))
        flags |= kNoSqArray;
    entry.mutable_ext()->set_id(file.id.value);
    TRY(dump_owner(context, file, entry.mutable_ext()->mutable_fown()));
    img::ext_io_uring *uring = entry.mutable_ext()->mutable_io_uring();
    uring->set_entries(entries);
    uring->set_completions(completions);
    uring->set_flags(flags);
    uring->set_rings(place.rings);
    uring->set_requests(place.requests);
    uring->set_count(info.submitted);
    for (const parse::IoUringBuffer &buffer : info.buffers) {
        img::ext_io_uring_buffer *registered = uring->add_buffers();
        registered->set_address(buffer.address);
        registered->set_length(buffer.length);
    }
    if (const bool eventfd = may_have_eventfd(file.fd); eventfd || info.files || info.thread != -1) {
        context.postponed = true;
        remember_rest(context, file, entry, info, eventfd);
    }
    return {};
}

// Of the same type in the images is what plugins have saved.
bool is_uring(const img::file_entry &entry, const ImageFiles &, const Remaps &) {
    return entry.ext().has_io_uring();
}

} // namespace

extern const FileKind kKind{
    .name = "io_uring",
    .type = img::EXT,
    .about = {.saved = "instances without requests under way: both queues with completions that were not seen and "
                       "requests that were not submitted, counters, registered buffers and files, an eventfd, the "
                       "kernel thread of SQPOLL (the last three where the kernel's memory can be read)",
              .restored = "an instance in memory of the program (Linux 6.5), at the same addresses; flags of "
                          "io_uring_setup that only tune are not set again",
              .limits = "refused: requests under way or without a completion of their own, registered credentials, "
                        "registered files that the task has no descriptor of any more, queues that several processes "
                        "have mapped; tags of registered files and buffers are lost"},
    .matches = matches,
    .dump = dump,
    .finish = finish,
    .opening = Opening::Last,
    .open = open_file_of_plugin,
    .settle = settle_file_of_plugin,
    .late = is_uring,
    .open_late = open_late,
    .keeps_credentials = keeps_credentials,
    .examine = examine};

} // namespace resource::io_uring
