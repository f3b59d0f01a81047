// The first passes of a dump: everything that can be known, or refused, before the first byte is written.
#include "criu/engine/dump/checks.hh"
#include "criu/engine/dump/collect.hh"
#include "criu/engine/dump/frozen_dump.hh"
#include "criu/engine/dump/memory_room.hh"
#include "criu/engine/dump/page_writer.hh"
#include "criu/engine/dump/refusals.hh"
#include "criu/engine/dump/remains.hh"
#include "criu/engine/dump/tree_images.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/network_lock.hh"
#include "criu/resource/namespace/mounts/tree_mounts.hh"
#include "criu/resource/namespace/namespace.hh"
#include "criu/resource/namespace/user_namespace.hh"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>

namespace dump {
namespace {

/// --external net[INODE]:KEY, pid[INODE]:KEY.
void set_external(tree::Namespaces &namespaces, const resource::FileOptions &options) {
    for (const resource::External &external : options.externals)
        for (tree::NamespaceKind kind : {tree::NamespaceKind::Net, tree::NamespaceKind::Pid}) {
            uint64_t inode = 0;
            const char *end = external.key.data() + external.key.size();
            if (external.kind == kernel::name_of(kind) && std::from_chars(external.key.data(), end, inode).ptr == end)
                namespaces.set_external(kind, inode, external.value);
        }
}

bool check_mappings(const tree::TaskFacts &task, Refusals &refusals) {
    return std::ranges::all_of(
        task.vmas, [&](const parse::Vma &vma) { return refusals.note(resource::classify(vma), name_of(task)); });
}

bool check_task(const FrozenDump &dump, const tree::TaskFacts &task, MemoryRoom &room, Refusals &refusals) {
    const std::string name = name_of(task);
    return refusals.note(resource::check_children(dump.tasks, task), name) &&
           refusals.note(check_threads(task, dump.tasks), name) && refusals.note(room.check(task), name) &&
           check_mappings(task, refusals) && refusals.note(check_sharing(task, dump.tasks), name);
}

} // namespace

NetworkNotice::~NetworkNotice() {
    if (!given_)
        return;
    if (auto told = job_.notifier.tell("network-unlock", job_.request.root); !told)
        job_.log.warn(told.error().message());
}

Result<void> NetworkNotice::give() {
    const std::string theirs = fmt::format("/proc/{}/ns/net", job_.request.root.value);
    auto own = kernel::read_link(AT_FDCWD, "/proc/self/ns/net");
    auto other = kernel::read_link(AT_FDCWD, theirs.c_str());
    if (!own || !other || *own == *other)
        return {};
    given_ = true;
    return job_.notifier.tell("network-lock", job_.request.root);
}

Result<void> FrozenDump::tell_of_each(kernel::PluginMoment moment) const {
    if (plugins.has(moment))
        for (const compel::FrozenProcess &process : tree.processes())
            if (!process.zombie)
                TRY(plugins.tell(moment, process.pid));
    return {};
}

Result<void> tell_plugins(FrozenDump &dump) {
    return dump.tell_of_each(kernel::PluginMoment::CheckpointDevices);
}

Result<void> announce_lock(FrozenDump &dump) {
    return dump.notice.give();
}

Result<void> ask_for_names(FrozenDump &dump) {
    return dump.job.notifier.ask_for_external(dump.request);
}

Result<void> learn(FrozenDump &dump) {
    const engine::DumpRequest &request = dump.request;
    const auto is_skipped = [&](int fd) { return std::ranges::find(request.skip_fds, fd) != request.skip_fds.end(); };
    dump.tasks = TRY(collect(dump.tree, Depth::Everything, std::move(dump.mappings)));
    for (tree::TaskFacts &task : dump.tasks) {
        if (request.allow_uprobes)
            std::erase_if(task.vmas, resource::is_of_probes);
        std::erase_if(task.fds, is_skipped);
        for (tree::ThreadFacts &thread : task.threads)
            std::erase_if(thread.own_fds, is_skipped);
    }
    dump.increments.settle(dump.tasks);
    dump.namespaces = TRY(number_namespaces(dump.tasks));
    set_external(dump.namespaces, request.files);
    dump.pids = tree::pids_of(dump.tasks);
    return {};
}

Result<void> check_tree(FrozenDump &dump) {
    TRY(check_sessions(dump.tasks, dump.request.files.shell_job));
    const resource::NamespaceCheckContext context{dump.tasks, dump.namespaces, dump.request.namespaces};
    Refusals refusals(dump.job.log);
    bool goes_on = true;
    for (const tree::Namespace &ns : dump.namespaces.all())
        goes_on =
            goes_on && refusals.note(resource::check_namespace(context, ns), fmt::format("task {}", ns.member.value));
    MemoryRoom room;
    for (const tree::TaskFacts &task : dump.tasks)
        goes_on = goes_on && (task.zombie || check_task(dump, task, room, refusals));
    TRY(refusals.outcome());
    return straighten_handlers(dump.tasks);
}

Result<void> learn_groups(FrozenDump &dump) {
    if (dump.request.cgroups.mode != resource::cgroup::Mode::Ignore) {
        dump.groups = TRY(
            resource::cgroup::Sets::collect(dump.tasks, dump.namespaces, dump.job.own_groups, dump.request.cgroups));
        for (tree::TaskFacts &task : dump.tasks)
            for (tree::ThreadFacts &thread : task.threads)
                thread.cgroup_set = dump.groups.of(thread.tid);
    }
    dump.polls.settle(dump.tasks);
    return {};
}

Result<void> open_images(FrozenDump &dump) {
    dump.images = TRY(image::ImageDirWriter::open(dump.request.images_dir_fd, dump.request.layout));
    dump.images->mark_unfinished();
    dump.images->set_durable(dump.request.durable);
    dump.directory = images_sink(dump.request, *dump.images);
    dump.run_id = make_run_id();
    // CRIU's restore deletes the table of this name.
    dump.request.files.network_table = kernel::lock_table_name(dump.run_id);
    if (const auto *user = dump.namespaces.of_root(tree::NamespaceKind::User);
        user && user->origin == tree::NamespaceOrigin::Ours)
        dump.images->set_owners(TRY(resource::owner_maps(user->member)));
    return {};
}

Result<void> open_surroundings(FrozenDump &dump) {
    if (const auto *net = dump.namespaces.of_root(tree::NamespaceKind::Net);
        net && net->origin != tree::NamespaceOrigin::Host)
        dump.visit.emplace(TRY(kernel::NetworkVisit::enter(net->member)));
    dump.mounts = TRY(resource::tree_mounts(dump.namespaces));
    dump.networks = TRY(resource::Networks::open(dump.namespaces));
    dump.snapshot = Snapshot::plan(dump.request, dump.ahead.way, dump.ahead.memory && !dump.ahead.memory->is_empty(),
                                   dump.tasks, dump.job.log);
    auto &files = dump.files.emplace(resource::FileDumpContext{.options = dump.request.files,
                                                               .plugins = dump.plugins,
                                                               .images = *dump.images,
                                                               .log = dump.job.log,
                                                               .tasks = dump.tasks,
                                                               .namespaces = dump.namespaces,
                                                               .pids = dump.pids,
                                                               .mounts = dump.mounts,
                                                               .networks = *dump.networks});
    dump.polls.hand_over_memory(files);
    auto &memory = dump.memory.emplace(MemoryDumpContext{.images = *dump.images,
                                                         .sink = dump.sink(),
                                                         .files = &dump.table.emplace(files),
                                                         .namespaces = dump.namespaces,
                                                         .tasks = dump.tasks,
                                                         .left = dump.job.lazy ? &dump.left : nullptr,
                                                         .snapshot = dump.snapshot.get(),
                                                         .ahead = dump.ahead.memory.get(),
                                                         .increments = &dump.increments,
                                                         .progress = dump.request.progress});
    engine::begin_writing(dump.request.progress, engine::Progress::Tree::Stands);
    files.dump_contents = [&](uint64_t id, int fd) {
        return write_file_pages(memory, image::ImageKind::ShmemPagemap, id, fd);
    };
    return {};
}

} // namespace dump
