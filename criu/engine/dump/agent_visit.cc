#include "criu/engine/dump/agent_visit.hh"

#include "criu/engine/dump/injection_site.hh"

namespace dump {

using resource::MappingClass;

MappingClass class_saved_ahead(const parse::Vma &vma) {
    constexpr MappingClass kNothingOfItsOwn = MappingClass::Vsyscall;
    if (vma.name.starts_with("/anon_hugepage"))
        return kNothingOfItsOwn;
    const auto kind = resource::classify(vma);
    return kind && resource::mapping_kind(*kind).plain ? *kind : kNothingOfItsOwn;
}

Result<compel::Injection *> AgentVisit::enter() {
    if (!task_.abandoned.empty())
        return base::unsupported("a dump that was killed has left something in it");
    memory_.emplace(TRY(compel::RemoteMemory::open(task_.voice)));
    const size_t others = task_.threads.size() - 1;
    const auto site = TRY(choose_site(task_.vmas, *memory_, others, task_.address_end()));
    const tree::ThreadFacts &leader = task_.threads.front();
    agent_.emplace(
        TRY(compel::Injection::enter(compel::StoppedThread(leader.tid), leader.registers, *memory_, site, others)));
    return &*agent_;
}

} // namespace dump
