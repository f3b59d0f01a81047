// What a thread has told the kernel about its own memory: the alternate signal stack, the word to clear at its end, the
// list of robust futexes, the rseq area; and its name. All of it is asked of, and set again by, the thread itself.
#include "criu/resource/task/resources.hh"

#include <csignal>
#include <cstring>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

namespace resource::thread_context {
namespace {

constexpr size_t kNameSize = 16;
constexpr uint64_t kRobustHeadSize = 24;   // struct robust_list_head; the kernel takes no other
constexpr uint64_t kRobustHeadSize32 = 12; // in a 32-bit call, which sets a list beside the other one
constexpr uint32_t kRseqFirstSize = 32;    // the first registered ABI; also what old kernels take only

struct Stack {
    uint64_t sp;
    int32_t flags, pad;
    uint64_t size;
};

Answer ask(compel::Batch &batch, const tree::TaskFacts &task, const tree::ThreadFacts &facts) {
    constexpr long kGetRobustList32 = 312;
    uint64_t tid_address = batch.out(8), head = batch.out(8), length = batch.out(8), stack = batch.out(sizeof(Stack)),
             name = batch.out(kNameSize);
    size_t first = batch.call(SYS_prctl, {PR_GET_TID_ADDRESS, tid_address, 0, 0, 0});
    if (task.is_32bit)
        batch.call32(kGetRobustList32, {0, head, length});
    else
        batch.call(SYS_get_robust_list, {0, head, length});
    batch.call(SYS_sigaltstack, {0, stack});
    batch.call(SYS_prctl, {PR_GET_NAME, name});
    return [=, &facts](const compel::Batch &done, img::core_entry &core) -> Result<void> {
        TRY(must(done, first, "prctl(PR_GET_TID_ADDRESS)"));
        TRY(must(done, first + 2, "sigaltstack"));
        core.mutable_thread_info()->set_clear_tid_addr(done.value<uint64_t>(tid_address));
        img::thread_core_entry *thread = core.mutable_thread_core();
        const bool robust = done.result(first + 1) == 0;
        thread->set_futex_rla(robust ? done.value<uint64_t>(head) : 0);
        thread->set_futex_rla_len(robust ? static_cast<uint32_t>(done.value<uint64_t>(length)) : 0);
        auto sas = done.value<Stack>(stack);
        thread->mutable_sas()->set_ss_sp(sas.sp);
        thread->mutable_sas()->set_ss_size(sas.size);
        thread->mutable_sas()->set_ss_flags(static_cast<uint32_t>(sas.flags));
        const char *text = reinterpret_cast<const char *>(done.bytes(name, kNameSize).data());
        thread->set_comm(text, strnlen(text, kNameSize));
        if (facts.rseq && facts.rseq->pointer) {
            img::rseq_entry *rseq = thread->mutable_rseq_entry();
            rseq->set_rseq_abi_pointer(facts.rseq->pointer);
            rseq->set_rseq_abi_size(facts.rseq->size);
            rseq->set_signature(facts.rseq->signature);
            if (facts.rseq_cs)
                rseq->set_rseq_cs_pointer(facts.rseq_cs);
        }
        return {};
    };
}

void plan_alternate_stack(plan::ThreadPlan &plan, const img::thread_sas_entry &sas) {
    // "On the stack" is not a setting but where the stack pointer is.
    auto flags = static_cast<int32_t>(sas.ss_flags() & ~static_cast<uint32_t>(SS_ONSTACK));
    if (flags & SS_DISABLE)
        return;
    Stack stack{sas.ss_sp(), flags, 0, sas.ss_size()};
    plan.call(Stage::Context, "sigaltstack", SYS_sigaltstack, {plan.data().add_value(stack), 0});
}

Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    const img::thread_core_entry &thread = core.thread_core();
    plan.call(Stage::Context, "set_tid_address", SYS_set_tid_address, {core.thread_info().clear_tid_addr()});
    constexpr long kSetRobustList32 = 311;
    if (thread.futex_rla_len() == kRobustHeadSize32)
        plan.call32(Stage::Context, "set_robust_list of 32 bits", kSetRobustList32,
                    {thread.futex_rla(), kRobustHeadSize32});
    else if (thread.futex_rla_len())
        plan.call(Stage::Context, "set_robust_list", SYS_set_robust_list, {thread.futex_rla(), kRobustHeadSize});
    if (thread.has_sas())
        plan_alternate_stack(plan, thread.sas());
    if (thread.has_rseq_entry()) {
        const img::rseq_entry &rseq = thread.rseq_entry();
        if (rseq.rseq_abi_size() < kRseqFirstSize)
            return base::bad_image("core: an rseq area shorter than 32 bytes");
        plan.call(Stage::Context, "rseq", 334, {rseq.rseq_abi_pointer(), rseq.rseq_abi_size(), 0, rseq.signature()});
    }
    const std::string &name = thread.has_comm() ? thread.comm() : core.tc().comm();
    std::array<char, kNameSize> comm{};
    std::memcpy(comm.data(), name.data(), std::min(name.size(), kNameSize - 1));
    plan.call(Stage::Context, "prctl(PR_SET_NAME)", SYS_prctl, {PR_SET_NAME, plan.data().add_value(comm)});
    return {};
}

} // namespace

extern const ThreadResource kResource{"thread context", ask, plan};

} // namespace resource::thread_context
