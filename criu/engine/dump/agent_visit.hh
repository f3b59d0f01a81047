// A short visit of the agent to a stopped task whose memory is saved ahead of a dump.
#pragma once

#include "compel/injection.hh"
#include "criu/resource/mm/mapping.hh"
#include "criu/tree/facts.hh"

#include <optional>

namespace dump {

using base::Result;

/// Of a mapping: what it is where its pages may be saved ahead, while the task runs; else a class that has no pages of
/// its own. What the dump saves whole each time (the vdso, rings), and gigantic pages, are left to it.
resource::MappingClass class_saved_ahead(const parse::Vma &vma);

/// The agent in a stopped task, for as long as it is needed, if it is.
class AgentVisit {
public:
    explicit AgentVisit(const tree::TaskFacts &task) : task_(task) {}
    Result<compel::Injection *> enter();
    Result<void> leave() { return agent_ ? agent_->leave() : Result<void>(); }

private:
    const tree::TaskFacts &task_;
    std::optional<compel::RemoteMemory> memory_;
    std::optional<compel::Injection> agent_;
};

} // namespace dump
