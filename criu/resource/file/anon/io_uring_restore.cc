// An io_uring instance is made again in memory of the program: see io_uring.cc.
#include "criu/resource/file/anon/io_uring.hh"

#include <algorithm>
#include <bit>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

namespace resource::io_uring {
namespace {

/// Nothing of what is written to lies outside of the task's own anonymous memory.
bool is_plain_memory(const img::mm_entry &mm, uint64_t start, uint64_t size) {
    uint64_t at = start;
    for (const img::vma_entry &vma : mm.vmas())
        if (vma.start() <= at && at < vma.end() && (vma.flags() & MAP_ANONYMOUS) && (vma.prot() & PROT_WRITE))
            at = vma.end();
    return at >= start + size;
}

Result<Layout> check(const img::ext_io_uring &uring, const img::mm_entry &mm) {
    const bool sizes = std::has_single_bit(uring.entries()) && uring.entries() <= kMostEntries &&
                       std::has_single_bit(uring.completions()) && uring.completions() <= kMostCompletions &&
                       uring.completions() >= uring.entries() &&
                       !(uring.flags() & ~(kKnownFlags | kByThread | kOnProcessor));
    const Layout layout = Layout::of(uring.entries(), uring.completions(), uring.flags());
    if (!sizes || uring.rings() % base::kPageSize || uring.requests() % base::kPageSize ||
        !is_plain_memory(mm, uring.rings(), base::page_up(layout.rings)) ||
        !is_plain_memory(mm, uring.requests(), base::page_up(layout.requests)))
        return base::bad_image("an io_uring instance of impossible size or place");
    return layout;
}

/// Contents of the task's memory, put aside and back.
class Aside {
public:
    Aside(plan::ThreadPlan &plan, plan::Stage stage, uint64_t address, uint64_t size)
        : plan_(plan), stage_(stage), address_(address), size_(base::page_up(size)),
          copy_(plan.call(stage, "mmap, contents of io_uring", SYS_mmap,
                          {0, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0})) {
        plan_.op(stage_, "put contents of io_uring aside", agent::OpKind::Copy, {copy_.result(), address_, size_});
    }
    /// Empty requests are zeros. A copy onto bytes that overlap it from behind repeats them.
    void clear(uint64_t zeros) {
        constexpr uint64_t kPattern = 64;
        plan_.op(stage_, "clear memory of io_uring", agent::OpKind::Copy, {address_, zeros, kPattern});
        plan_.op(stage_, "clear memory of io_uring", agent::OpKind::Copy,
                 {address_ + kPattern, address_, size_ - kPattern});
    }
    void put_back() {
        plan_.op(stage_, "put contents of io_uring back", agent::OpKind::Copy, {address_, copy_.result(), size_});
        plan_.call(stage_, "munmap, contents of io_uring", SYS_munmap, {copy_.result(), size_});
    }

private:
    plan::ThreadPlan &plan_;
    plan::Stage stage_;
    uint64_t address_, size_;
    plan::OpRef copy_;
};

bool has_thread(const img::ext_io_uring &uring) {
    return uring.flags() & kByThread;
}

plan::OpRef plan_setup(plan::ThreadPlan &plan, plan::Stage stage, const img::ext_io_uring &uring) {
    io_uring_params params{};
    params.flags = kNoMmap | IORING_SETUP_CQSIZE | uring.flags();
    params.cq_entries = uring.completions();
    params.sq_off.resv2 = uring.requests(); // user_addr in newer headers
    params.cq_off.resv2 = uring.rings();
    params.sq_thread_idle = uring.thread_idle_ms();
    params.sq_thread_cpu = uring.thread_cpu();
    return plan.call(stage, "io_uring_setup", SYS_io_uring_setup, {uring.entries(), plan.data().add_value(params)});
}

void plan_counters(plan::ThreadPlan &plan, plan::Stage stage, const plan::OpRef &fd, const img::ext_io_uring &uring) {
    const agent::SubmitEmptyArgs args{.sq_tail = uring.rings() + offsetof(Head, sq_tail),
                                      .cq_head = uring.rings() + offsetof(Head, cq_head),
                                      .cq_tail = uring.rings() + offsetof(Head, cq_tail),
                                      .count = uring.count(),
                                      .batch = uring.entries(),
                                      .enter_flags =
                                          has_thread(uring) ? IORING_ENTER_SQ_WAKEUP | IORING_ENTER_GETEVENTS : 0,
                                      .reserved = 0};
    plan.op(stage, "submit empty requests to io_uring", agent::OpKind::SubmitEmpty,
            {plan.data().add_value(args), fd.result()});
}

void plan_buffers(plan::ThreadPlan &plan, plan::Stage stage, const plan::OpRef &fd, const img::ext_io_uring &uring) {
    std::vector<iovec> buffers;
    for (const img::ext_io_uring_buffer &buffer : uring.buffers())
        buffers.push_back({reinterpret_cast<void *>(buffer.address()), buffer.length()});
    if (!buffers.empty())
        plan.call(
            stage, "io_uring_register of buffers", SYS_io_uring_register,
            {fd.result(), IORING_REGISTER_BUFFERS, plan.data().add(std::as_bytes(std::span(buffers))), buffers.size()});
}

/// The number under which the task has a file that is open already. Errors: BadImage, Unsupported.
Result<int> number_of(const LatePlan &late, uint32_t id) {
    const auto entry = std::ranges::find(late.table, id, [](const auto &each) { return each.second; });
    if (entry == late.table.end())
        return base::bad_image(fmt::format("a registered file ({}) of io_uring is not open in its task", id));
    if (late.is_late(id))
        return base::unsupported(
            fmt::format("a registered file (fd {}) of io_uring is opened late itself", entry->first));
    return entry->first;
}

Result<void> plan_registered(LatePlan &late, const plan::OpRef &fd, const img::ext_io_uring &uring) {
    constexpr int kMostFiles = 1 << 20;
    if (uring.files_size() > kMostFiles)
        return base::bad_image("an io_uring instance has too many registered files");
    std::vector<int32_t> numbers;
    for (const uint32_t id : uring.files())
        numbers.push_back(id ? TRY(number_of(late, id)) : -1);
    plan::Data &data = late.plan.data();
    if (!numbers.empty())
        late.plan.call(
            late.stage, "io_uring_register of files", SYS_io_uring_register,
            {fd.result(), IORING_REGISTER_FILES, data.add(std::as_bytes(std::span(numbers))), numbers.size()});
    if (uring.has_eventfd())
        late.plan.call(late.stage, "io_uring_register of an eventfd", SYS_io_uring_register,
                       {fd.result(), uring.eventfd_async() ? IORING_REGISTER_EVENTFD_ASYNC : IORING_REGISTER_EVENTFD,
                        data.add_value(TRY(number_of(late, uring.eventfd()))), 1});
    return {};
}

/// A thread that sleeps sets the bit by which it wants to be woken: before the contents are put back, perhaps. A
/// program that finds it set once too often makes a call for nothing.
void plan_waking(plan::ThreadPlan &plan, plan::Stage stage, const img::ext_io_uring &uring) {
    const uint32_t bit = IORING_SQ_NEED_WAKEUP;
    plan.op(stage, "have the program wake the thread of io_uring", agent::OpKind::Copy,
            {uring.rings() + offsetof(Head, sq_flags), plan.data().add_value(bit), sizeof bit});
}

} // namespace

Result<plan::OpRef> open_late(LatePlan &late, const img::file_entry &entry) {
    const img::ext_io_uring &uring = entry.ext().io_uring();
    const Layout layout = TRY(check(uring, late.mm));
    plan::ThreadPlan &plan = late.plan;
    Aside rings(plan, late.stage, uring.rings(), layout.rings),
        requests(plan, late.stage, uring.requests(), layout.requests);
    const uint64_t zeros = plan.data().add_value(Head{});
    rings.clear(zeros);
    requests.clear(zeros);
    const plan::OpRef fd = plan_setup(plan, late.stage, uring);
    plan_counters(plan, late.stage, fd, uring);
    plan_buffers(plan, late.stage, fd, uring);
    TRY(plan_registered(late, fd, uring));
    rings.put_back();
    requests.put_back();
    if (has_thread(uring))
        plan_waking(plan, late.stage, uring);
    const uint64_t mark[] = {kMark, uring.requests()};
    plan.op(late.stage, "mark memory of io_uring", agent::OpKind::Copy,
            {uring.rings() + offsetof(Head, mark), plan.data().add(std::as_bytes(std::span(mark))), sizeof mark});
    if (has_owner(entry.ext().fown()))
        return base::unsupported("the owner of an io_uring instance (F_SETOWN)");
    return fd;
}

bool keeps_credentials(const img::file_entry &entry) {
    return has_thread(entry.ext().io_uring());
}

} // namespace resource::io_uring
