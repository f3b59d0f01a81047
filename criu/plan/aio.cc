#include "criu/plan/aio.hh"

#include "criu/pages/source.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace plan {
namespace {

// struct aio_ring: id, nr, head, tail, magic, compat, incompat, header length; then the events.
constexpr uint64_t kHeadAt = 8, kHeaderSize = 32, kEventSize = 32;

struct Iocb {
    uint64_t data;
    uint32_t key, rw_flags;
    uint16_t opcode;
    int16_t priority;
    uint32_t fd;
    uint64_t buffer, bytes;
    int64_t offset;
    uint64_t reserved;
    uint32_t flags, result_fd;
};
static_assert(sizeof(Iocb) == 64);

/// The ring's tail in the image.
Result<uint32_t> tail_of(const TaskImage &task, const pages::Chain &chain, uint64_t address) {
    constexpr uint64_t kTailAt = 12;
    uint32_t tail = 0;
    if (task.pages.runs.empty()) // a dump looks at its images while its pages are with a page server
        return tail;
    const auto source = TRY(pages::PageSource::open(chain, task.pages));
    TRY_CTX(source.read(task.pages, address + kTailAt, std::as_writable_bytes(std::span(&tail, 1))),
            fmt::format("mm-{}.img: the AIO ring at {:#x}", task.pid, address));
    return tail;
}

/// Moves the kernel's tail.
void plan_empty_requests(ThreadPlan &plan, uint64_t context, uint32_t count, int null_fd) {
    std::vector<Iocb> requests(count);
    for (Iocb &request : requests)
        request.fd = static_cast<uint32_t>(null_fd);
    const uint64_t at = plan.data().add(std::as_bytes(std::span(requests)));
    std::vector<uint64_t> pointers;
    for (uint32_t i = 0; i < count; i++)
        pointers.push_back(at + i * sizeof(Iocb));
    plan.expect_call(Stage::Memory, "io_submit, empty reads", count, SYS_io_submit,
                     {context, count, plan.data().add(std::as_bytes(std::span(pointers)))});
}

Result<void> plan_ring(ThreadPlan &plan, const TaskImage &task, const pages::Chain &chain,
                       const img::aio_ring_entry &ring, const AddressSpace &space, const Surroundings &around) {
    auto region = std::find_if(space.regions.begin(), space.regions.end(), [&](const Region &r) {
        return r.kind == Region::Kind::AioRing && r.start == ring.id();
    });
    if (region == space.regions.end() || ring.nr_req() == 0 || region->size() < kHeaderSize)
        return base::bad_image(fmt::format("mm-{}.img: the AIO ring {:#x} has no mapping", task.pid, ring.id()));
    const uint32_t tail = TRY(tail_of(task, chain, ring.id()));
    if (tail > (region->size() - kHeaderSize) / kEventSize)
        return base::bad_image(fmt::format("mm-{}.img: the AIO ring {:#x} is damaged", task.pid, ring.id()));
    const uint64_t context = plan.data().reserve(8);
    plan.call(Stage::Memory, "io_setup", SYS_io_setup, {ring.nr_req(), context});
    plan.call(Stage::Memory, "move an AIO ring", SYS_mremap,
              {word_at(context), region->size(), region->size(), MREMAP_MAYMOVE | MREMAP_FIXED, ring.id()});
    if (tail)
        plan_empty_requests(plan, ring.id(), tail, around.null_fd);
    plan.op(Stage::Memory, "copy the ring's head", agent::OpKind::Copy, {ring.id() + kHeadAt, region->at + kHeadAt, 4});
    plan.op(Stage::Memory, "copy the ring's events", agent::OpKind::Copy,
            {ring.id() + kHeaderSize, region->at + kHeaderSize, region->size() - kHeaderSize});
    return {};
}

} // namespace

Result<void> plan_aio(ThreadPlan &plan, const TaskImage &task, const AddressSpace &space, const Surroundings &around) {
    for (const img::aio_ring_entry &ring : task.mm.aios())
        TRY(plan_ring(plan, task, *around.chain, ring, space, around));
    if (around.null_fd >= 0)
        plan.call(Stage::Memory, "close /dev/null", SYS_close, {static_cast<uint64_t>(around.null_fd)});
    return {};
}

} // namespace plan
