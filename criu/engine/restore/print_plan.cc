#include "criu/engine/restore/print_plan.hh"

#include <fmt/format.h>
#include <iterator>

namespace restore {
namespace {

using Out = std::back_insert_iterator<std::string>;

const char *kind_name(plan::Region::Kind kind) {
    switch (kind) {
    case plan::Region::Kind::Anonymous:
        return "anonymous";
    case plan::Region::Kind::PrivateFile:
        return "private file";
    case plan::Region::Kind::SharedFile:
        return "shared file";
    case plan::Region::Kind::SharedAnonymous:
        return "shared anonymous";
    case plan::Region::Kind::AioRing:
        return "AIO ring";
    case plan::Region::Kind::SysvSegment:
        return "System V segment";
    case plan::Region::Kind::CopyOfShared:
        return "private, of shared memory";
    case plan::Region::Kind::Memfd:
        return "memfd";
    }
    return "?";
}

void print_node(Out out, const plan::Checkpoint &checkpoint, const plan::Topology &topology, const plan::Node &node) {
    const char *what = node.task < 0                                             ? "helper"
                       : checkpoint.tasks[static_cast<size_t>(node.task)].dead() ? "zombie"
                                                                                 : "task";
    fmt::format_to(out, "{} {}: ", what, node.pid);
    if (node.parent >= 0)
        fmt::format_to(out, "child of {}, ", topology.nodes[static_cast<size_t>(node.parent)].pid);
    fmt::format_to(out, "session {}, group {}{}\n", node.sid, node.pgid,
                   node.before_setsid ? ", forked before its parent's setsid" : "");
}

void print_files(Out out, const plan::Checkpoint &checkpoint, const plan::TaskImage &task) {
    for (const img::fdinfo_entry &entry : checkpoint.tables.at(task.ids.files_id()))
        fmt::format_to(out, "  fd {} = file {} ({}){}\n", entry.fd(), entry.id(), img::fd_types_Name(entry.type()),
                       entry.flags() & 1 ? ", close on exec" : "");
}

void print_schedule(Out out, const plan::FileSchedule &files) {
    for (const plan::FileStep &step : files.early)
        fmt::format_to(out, "open {}\n", plan::describe(step));
    for (const plan::FileStep &step : files.late)
        fmt::format_to(out, "later {}\n", plan::describe(step));
}

void print_memory(Out out, const plan::AddressSpace &space) {
    for (const plan::Region &region : space.regions)
        if (!region.by_agent)
            fmt::format_to(out, "  premap {:#x}-{:#x} at {:#x}: {}{}{}\n", region.start, region.end, region.at,
                           kind_name(region.kind), region.inherited ? ", inherited" : "",
                           region.passed_on ? ", passed on" : "");
}

} // namespace

Result<std::string> print_plan(const plan::Checkpoint &checkpoint, const plan::Topology &topology,
                               const plan::FileSchedule &files, const std::vector<plan::AddressSpace> &spaces,
                               const plan::Surroundings &around) {
    std::string text;
    const Out out(text);
    fmt::format_to(out, "arena {:#x}-{:#x}\n", around.arena.base, around.arena.end());
    print_schedule(out, files);
    for (const plan::Node &node : topology.nodes) {
        print_node(out, checkpoint, topology, node);
        if (node.task < 0 || checkpoint.tasks[static_cast<size_t>(node.task)].dead())
            continue;
        const plan::TaskImage &task = checkpoint.tasks[static_cast<size_t>(node.task)];
        const plan::AddressSpace &space = spaces[static_cast<size_t>(node.task)];
        print_files(out, checkpoint, task);
        print_memory(out, space);
        auto program = TRY_CTX(plan::compile(checkpoint, task, space, around, static_cast<uint32_t>(node.task) << 16),
                               fmt::format("task {}", task.pid));
        for (const plan::Listing &listing : program.listings) {
            TRY(plan::validate(listing, around.arena));
            fmt::format_to(out, "  thread {}\n", listing.tid);
            for (size_t i = 0; i < listing.ops.size(); i++)
                fmt::format_to(out, "    {:>4} {}\n", i, plan::describe(listing.ops[i]));
        }
    }
    return text;
}

} // namespace restore
