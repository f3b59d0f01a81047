// Credentials of a thread: user and group ids, groups, capability sets, securebits, no_new_privs, the death signal.
//
// Linux keeps them per thread; libc pretends otherwise. Restored in the order that never needs a right that was given
// up just before: groups and gids while still privileged, uids with SECBIT_KEEP_CAPS-like bits set so that they do not
// clear the capabilities, then the bounding set, the capabilities themselves, and last the securebits.
#include "criu/resource/task/resources.hh"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace resource::credentials {
namespace {

constexpr size_t kMaxGroups = 65536;
constexpr uint64_t kKeepId = ~0ull;

struct CapHeader {
    uint32_t version;
    int32_t pid;
};
struct CapData {
    uint32_t effective, permitted, inheritable;
};

void write_capabilities(const parse::Status &status, img::creds_entry *creds) {
    for (unsigned shift : {0u, 32u}) {
        creds->add_cap_inh(static_cast<uint32_t>(status.cap_inh >> shift));
        creds->add_cap_prm(static_cast<uint32_t>(status.cap_prm >> shift));
        creds->add_cap_eff(static_cast<uint32_t>(status.cap_eff >> shift));
        creds->add_cap_bnd(static_cast<uint32_t>(status.cap_bnd >> shift));
        creds->add_cap_amb(static_cast<uint32_t>(status.cap_amb >> shift));
    }
}

void write_ids(const parse::Status &status, img::creds_entry *creds) {
    creds->set_uid(status.uid[0]);
    creds->set_euid(status.uid[1]);
    creds->set_suid(status.uid[2]);
    creds->set_fsuid(status.uid[3]);
    creds->set_gid(status.gid[0]);
    creds->set_egid(status.gid[1]);
    creds->set_sgid(status.gid[2]);
    creds->set_fsgid(status.gid[3]);
    for (uint32_t group : status.groups)
        creds->add_groups(group);
}

// /proc/PID/task/TID/status tells all but the securebits and the death signal.
Answer ask(compel::Batch &batch, const tree::TaskFacts &, const tree::ThreadFacts &facts) {
    uint64_t death = batch.out(4);
    size_t bits = batch.call(SYS_prctl, {PR_GET_SECUREBITS, 0, 0, 0, 0});
    batch.call(SYS_prctl, {PR_GET_PDEATHSIG, death, 0, 0, 0});
    return [=, &facts](const compel::Batch &done, img::core_entry &core) -> Result<void> {
        TRY(must(done, bits, "prctl(PR_GET_SECUREBITS)"));
        img::thread_core_entry *thread = core.mutable_thread_core();
        write_ids(facts.status, thread->mutable_creds());
        write_capabilities(facts.status, thread->mutable_creds());
        thread->mutable_creds()->set_secbits(static_cast<uint32_t>(done.result(bits)));
        if (facts.status.no_new_privs)
            thread->mutable_creds()->set_no_new_privs(1);
        if (uint32_t signal = done.value<uint32_t>(death))
            thread->set_pdeath_sig(signal);
        return {};
    };
}

using Words = google::protobuf::RepeatedField<uint32_t>;

uint32_t word(const Words &words, int i) {
    return i < words.size() ? words[i] : 0;
}
uint64_t both(const Words &words) {
    return word(words, 0) | uint64_t{word(words, 1)} << 32;
}

void plan_ids(plan::ThreadPlan &plan, const img::creds_entry &creds) {
    uint64_t groups =
        plan.data().add(std::as_bytes(std::span(creds.groups().data(), static_cast<size_t>(creds.groups_size()))));
    // Who may not set them has them already: the tool has looked before (check_groups).
    plan.try_call(Stage::Creds, "setgroups", SYS_setgroups, {static_cast<uint64_t>(creds.groups_size()), groups});
    plan.expect_call(Stage::Creds, "check groups", creds.groups_size(), SYS_getgroups, {0, 0});
    // Without these bits a change of uid to or from 0 would rewrite the capability sets behind our back. Who may not
    // set them cannot change its uid either, or loses what the final capset asks for, which fails then.
    constexpr uint64_t kOwnHands = 1u << SECURE_NO_SETUID_FIXUP | 1u << SECURE_KEEP_CAPS;
    plan.try_call(Stage::Creds, "prctl(PR_SET_SECUREBITS)", SYS_prctl, {PR_SET_SECUREBITS, kOwnHands, 0, 0, 0});
    plan.call(Stage::Creds, "setresgid", SYS_setresgid, {creds.gid(), creds.egid(), creds.sgid()});
    plan.call(Stage::Creds, "setfsgid", SYS_setfsgid, {creds.fsgid()});
    plan.expect_call(Stage::Creds, "check fsgid", creds.fsgid(), SYS_setfsgid, {kKeepId});
    plan.call(Stage::Creds, "setresuid", SYS_setresuid, {creds.uid(), creds.euid(), creds.suid()});
    plan.call(Stage::Creds, "setfsuid", SYS_setfsuid, {creds.fsuid()});
    plan.expect_call(Stage::Creds, "check fsuid", creds.fsuid(), SYS_setfsuid, {kKeepId});
}

void plan_capabilities(plan::ThreadPlan &plan, const img::creds_entry &creds) {
    uint64_t header = plan.data().add_value(CapHeader{_LINUX_CAPABILITY_VERSION_3, 0});
    const uint64_t bounding = both(creds.cap_bnd()), ambient = both(creds.cap_amb());
    // While the effective set still has CAP_SETPCAP; a capability that our own bounding set lacks fails and is fine.
    for (uint64_t cap = 0; cap <= CAP_LAST_CAP; cap++)
        if (!(bounding >> cap & 1))
            plan.try_call(Stage::Creds, "prctl(PR_CAPBSET_DROP)", SYS_prctl, {PR_CAPBSET_DROP, cap, 0, 0, 0});
    std::array<CapData, 2> caps{};
    for (int half = 0; half < 2; half++)
        caps[static_cast<size_t>(half)] = {word(creds.cap_eff(), half), word(creds.cap_prm(), half),
                                           word(creds.cap_inh(), half)};
    // The securebits need CAP_SETPCAP, so they come before a set that may lack it; they do not change what capset does.
    // Ambient capabilities must be raised before SECBIT_NO_CAP_AMBIENT_RAISE forbids it, but need the new permitted and
    // inheritable sets: so capset twice, first with CAP_SETPCAP left in.
    std::array<CapData, 2> first = caps;
    constexpr uint32_t kSetpcap = 1u << CAP_SETPCAP;
    first[0].effective |= kSetpcap, first[0].permitted |= kSetpcap;
    plan.try_call(Stage::Creds, "capset, with CAP_SETPCAP for the moment", SYS_capset,
                  {header, plan.data().add_value(first)});
    for (uint64_t cap = 0; cap <= CAP_LAST_CAP; cap++)
        if (ambient >> cap & 1)
            plan.call(Stage::Creds, "prctl(PR_CAP_AMBIENT_RAISE)", SYS_prctl,
                      {PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0});
    plan.try_call(Stage::Creds, "prctl(PR_SET_SECUREBITS)", SYS_prctl, {PR_SET_SECUREBITS, creds.secbits(), 0, 0, 0});
    plan.call(Stage::Creds, "capset", SYS_capset, {header, plan.data().add_value(caps)});
    plan.expect_call(Stage::Creds, "check securebits", creds.secbits(), SYS_prctl, {PR_GET_SECUREBITS, 0, 0, 0, 0});
}

Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    const img::thread_core_entry &thread = core.thread_core();
    if (thread.has_creds()) {
        if (static_cast<size_t>(thread.creds().groups_size()) > kMaxGroups)
            return base::bad_image("core: more than 65536 groups");
        plan_ids(plan, thread.creds());
        plan_capabilities(plan, thread.creds());
        if (thread.creds().no_new_privs())
            plan.call(Stage::Filters, "prctl(PR_SET_NO_NEW_PRIVS)", SYS_prctl, {PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0});
    }
    // A change of credentials clears the death signal; our own, which ties the task to the tool, goes here too.
    plan.call(Stage::Creds, "prctl(PR_SET_PDEATHSIG)", SYS_prctl, {PR_SET_PDEATHSIG, thread.pdeath_sig(), 0, 0, 0});
    return {};
}

} // namespace

extern const ThreadResource kResource{"credentials", ask, plan};

} // namespace resource::credentials
