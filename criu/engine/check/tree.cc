#include "criu/engine/check/tree.hh"

#include "compel/freezer.hh"
#include "criu/engine/dump/checks.hh"
#include "criu/engine/dump/collect.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/put_in.hh"
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/file.hh"
#include "criu/resource/mm/mapping.hh"
#include "criu/resource/namespace/namespace.hh"
#include "criu/resource/task/hidden_state.hh"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/format.h>
#include <iterator>
#include <linux/kcmp.h>
#include <nlohmann/json.hpp>
#include <set>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace check {

namespace {

using base::Pid;
using base::Result;
using tree::TaskFacts;

/// Collects what is found, in the words a dump would use.
class Examination {
public:
    Examination(const engine::DumpRequest &request, TreeReport &report)
        : request_(request), file_options_(request.files), report_(report) {}

    void add(Severity severity, const TaskFacts *task, std::string object, std::string reason, std::string advice) {
        report_.findings.push_back({severity, task ? task->pid.value : 0, task ? task->stat.comm : std::string(),
                                    std::move(object), std::move(reason), std::move(advice)});
    }
    void add_error(const TaskFacts *task, std::string object, const base::Error &error) {
        add(Severity::Prevents, task, std::move(object), error.message(), error.hint());
    }

    void examine_facts(const std::vector<TaskFacts> &tasks);
    void examine_hidden(std::vector<TaskFacts> &tasks);
    void examine_all_descriptors(std::span<const TaskFacts> tasks);

private:
    void examine_descriptors(const TaskFacts &task);
    void examine_table(const TaskFacts &task, Pid voice, std::span<const int> numbers, uint32_t table);
    void note_sockets(const TaskFacts &task);
    void examine_mappings(const TaskFacts &task);
    Result<void> examine_descriptor(const TaskFacts &task, Pid voice, int pidfd, int number);
    void examine_deleted(const TaskFacts &task, const std::string &object, const resource::OpenFile &file);

    const engine::DumpRequest &request_;
    const resource::FileOptions &file_options_;
    TreeReport &report_;
    std::set<uint32_t> tables_done_;
    std::span<const TaskFacts> tasks_;
    std::set<uint64_t> sockets_; ///< inode numbers of all that the tree has open
    resource::KindStates states_;
};

void Examination::examine_mappings(const TaskFacts &task) {
    for (const parse::Vma &vma : task.vmas)
        if (auto kind = resource::classify(vma); !kind && !(request_.allow_uprobes && resource::is_of_probes(vma)))
            add_error(&task, fmt::format("mapping {:x}-{:x}", vma.start, vma.end), kind.error());
}

void Examination::examine_facts(const std::vector<TaskFacts> &tasks) {
    if (auto fine = dump::check_sessions(tasks, file_options_.shell_job); !fine)
        add_error(nullptr, {}, fine.error()); // it names the task itself
    auto namespaces = dump::number_namespaces(tasks);
    if (!namespaces)
        return add_error(nullptr, {}, namespaces.error());
    const resource::NamespaceCheckContext context{tasks, *namespaces, request_.namespaces};
    for (const tree::Namespace &ns : namespaces->all())
        if (auto fine = resource::check_namespace(context, ns); !fine)
            add_error(nullptr, fmt::format("task {}", ns.member.value), fine.error());
    for (const TaskFacts &task : tasks) {
        ++report_.processes;
        report_.threads += task.threads.size();
        if (task.zombie)
            continue;
        if (auto fine = resource::check_children(tasks, task); !fine)
            add_error(&task, {}, fine.error());
        if (auto fine = dump::check_sharing(task, tasks); !fine)
            add_error(&task, {}, fine.error());
        if (auto fine = dump::check_threads(task, tasks); !fine)
            add_error(&task, {}, fine.error());
        examine_mappings(task);
    }
}

/// While the tree is traced.
void Examination::examine_hidden(std::vector<TaskFacts> &tasks) {
    std::optional<resource::KernelMemory> memory;
    const auto open = [&]() -> Result<resource::KernelMemory *> {
        if (!memory)
            memory = TRY(resource::KernelMemory::open());
        return &*memory;
    };
    const auto found = resource::find_hidden_state(open, tasks);
    if (!found)
        return add(Severity::Degrades, nullptr, {}, resource::cannot_look(found.error()), {});
    if (std::string unseen = resource::cannot_see_landlock(tasks); !unseen.empty())
        add(Severity::Degrades, nullptr, {}, std::move(unseen), {});
    for (const resource::HiddenFinding &finding : *found) {
        const auto task = std::ranges::find(tasks, finding.task, &TaskFacts::pid);
        const bool allowed = file_options_.allowed_losses.has(finding.loss);
        add(allowed ? Severity::Degrades : Severity::Prevents, &*task, {}, finding.what,
            allowed ? "" : resource::refused_loss(finding.loss, finding.what).hint());
    }
}

void Examination::examine_deleted(const TaskFacts &task, const std::string &object, const resource::OpenFile &file) {
    constexpr uint64_t kBlock = 512;
    uint64_t size = static_cast<uint64_t>(file.stat.st_blocks) * kBlock;
    if (!S_ISREG(file.stat.st_mode) || !file.link.ends_with(" (deleted)"))
        return;
    if (file.stat.st_nlink > 0 && !file_options_.link_remap)
        add(Severity::Prevents, &task, object, fmt::format("{} was deleted, but has another name", file.link),
            "dump with --link-remap");
    else if (file.stat.st_nlink == 0 && size > file_options_.ghost_limit)
        add(Severity::Prevents, &task, object,
            fmt::format("{} holds {} bytes, more than the limit of {}", file.link, size, file_options_.ghost_limit),
            fmt::format("dump with --ghost-limit {}", size));
    else if (file.stat.st_nlink == 0)
        add(Severity::Degrades, &task, object, fmt::format("{}: its {} bytes go into the images", file.link, size), {});
}

Result<void> Examination::examine_descriptor(const TaskFacts &task, Pid voice, int pidfd, int number) {
    base::UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, number, 0)));
    if (!fd)
        return errno == EBADF || errno == ESRCH ? Result<void>() : base::fail_sys("pidfd_getfd");
    resource::OpenFile file = TRY(resource::look_at(fd.get()));
    file.holder = task.pid;
    file.voice = voice;
    file.number = number;
    file.link = TRY(kernel::read_link(AT_FDCWD, fmt::format("/proc/self/fd/{}", fd.get()).c_str()));
    // Not ours: our descriptor shows the locks of the description, but not those of the task.
    auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/fdinfo/{}", voice.value, number).c_str());
    if (!text)
        return {}; // closed meanwhile
    file.fdinfo = std::move(*text);

    std::string object = fmt::format("fd {}", number);
    auto kinds = resource::file_kinds();
    auto kind = std::ranges::find_if(kinds, [&](const resource::FileKind *each) { return each->matches(file); });
    if (kind == kinds.end()) {
        add(Severity::Prevents, &task, object, fmt::format("{} cannot be checkpointed", file.link),
            fmt::format("close it before the dump, or leave it out with --skip-fd {}", number));
        return {};
    }
    std::vector<std::string> warnings;
    if ((*kind)->examine)
        if (auto fine = (*kind)->examine(file, {file_options_, tasks_, sockets_, states_, warnings}); !fine) {
            add_error(&task, object, fine.error());
            return {};
        }
    for (std::string &warning : warnings)
        add(Severity::Degrades, &task, object, std::move(warning), {});
    examine_deleted(task, object, file);
    if (!file_options_.file_locks && !TRY(parse::parse_fdinfo(file.fdinfo)).locks.empty())
        add(Severity::Prevents, &task, object, fmt::format("{} is locked", file.link), "dump with --file-locks");
    return {};
}

void Examination::examine_descriptors(const TaskFacts &task) {
    if (task.zombie)
        return;
    examine_table(task, task.voice, task.fds, task.ids.files);
    for (const tree::ThreadFacts &thread : task.threads)
        if (thread.own_table)
            examine_table(task, thread.tid, thread.own_fds, thread.own_table);
}

void Examination::examine_table(const TaskFacts &task, Pid voice, std::span<const int> numbers, uint32_t table) {
    if (!tables_done_.insert(table).second)
        return;
    const auto pidfd = compel::open_pidfd(voice);
    if (!pidfd)
        return; // gone since
    for (int number : numbers) {
        if (std::ranges::find(request_.skip_fds, number) != request_.skip_fds.end())
            continue;
        // What a thread has kept of its process's descriptors was looked at there.
        if (voice != task.voice && syscall(SYS_kcmp, task.voice.value, voice.value, KCMP_FILE, number, number) == 0)
            continue;
        ++report_.descriptors;
        if (auto seen = examine_descriptor(task, voice, pidfd->get(), number); !seen)
            add_error(&task, fmt::format("fd {}", number), seen.error());
    }
}

void Examination::note_sockets(const TaskFacts &task) {
    constexpr std::string_view kSocket = "socket:[";
    const auto note = [&](Pid voice, std::span<const int> numbers) {
        for (const int number : numbers) {
            const auto link = kernel::read_link(AT_FDCWD, fmt::format("/proc/{}/fd/{}", voice.value, number).c_str());
            if (link && link->starts_with(kSocket))
                sockets_.insert(std::strtoull(link->c_str() + kSocket.size(), nullptr, 10));
        }
    };
    note(task.voice, task.fds);
    for (const tree::ThreadFacts &thread : task.threads)
        note(thread.tid, thread.own_fds);
}

void Examination::examine_all_descriptors(std::span<const TaskFacts> tasks) {
    tasks_ = tasks;
    for (const TaskFacts &task : tasks)
        if (!task.zombie)
            note_sockets(task);
    for (const TaskFacts &task : tasks)
        examine_descriptors(task);
}

std::string subject(const Finding &finding) {
    std::string out = finding.pid ? fmt::format("task {} ({})", finding.pid, finding.comm) : std::string("the tree");
    return finding.object.empty() ? out : fmt::format("{}: {}", out, finding.object);
}

std::string counted(size_t n, std::string_view one, std::string_view many) {
    return fmt::format("{} {}", n, n == 1 ? one : many);
}

} // namespace

bool TreeReport::prevents() const {
    return std::ranges::any_of(findings, [](const Finding &f) { return f.severity == Severity::Prevents; });
}

base::Result<TreeReport> examine(const engine::DumpRequest &request) {
    TRY(dump::check_target(request.root, false));
    TreeReport report;
    Examination examination(request, report);
    compel::FreezeOptions freeze;
    freeze.put_in = [&] { return kernel::put_in(request.root); };
    freeze.timeout_ms = request.timeout_seconds ? static_cast<int>(request.timeout_seconds) * 1000 : -1;
    auto frozen = TRY(compel::FrozenTree::freeze(request.root, freeze));
    auto tasks = dump::collect(frozen);
    if (tasks)
        examination.examine_hidden(*tasks);
    TRY(frozen.thaw());
    if (!tasks) {
        examination.add_error(nullptr, {}, tasks.error());
        return report;
    }
    examination.examine_facts(*tasks);
    examination.examine_all_descriptors(*tasks);
    return report;
}

std::string to_text(const TreeReport &report) {
    std::string out;
    for (const Finding &finding : report.findings) {
        fmt::format_to(std::back_inserter(out), "{} {}: {}\n",
                       finding.severity == Severity::Prevents ? "Error:" : "Note: ", subject(finding), finding.reason);
        if (!finding.advice.empty())
            fmt::format_to(std::back_inserter(out), "Hint:  {}\n", finding.advice);
    }
    auto preventing = static_cast<size_t>(std::ranges::count(report.findings, Severity::Prevents, &Finding::severity));
    fmt::format_to(std::back_inserter(out), "{} ({}, {}, {}", preventing ? "Does not look good." : "Looks good.",
                   counted(report.processes, "process", "processes"), counted(report.threads, "thread", "threads"),
                   counted(report.descriptors, "descriptor", "descriptors"));
    out += preventing ? fmt::format("; {} a checkpoint)\n", counted(preventing, "object prevents", "objects prevent"))
                      : ")\n";
    return out;
}

std::string to_json(const TreeReport &report) {
    nlohmann::ordered_json out{{"checkpointable", !report.prevents()},
                               {"processes", report.processes},
                               {"threads", report.threads},
                               {"descriptors", report.descriptors},
                               {"findings", nlohmann::ordered_json::array()}};
    for (const Finding &finding : report.findings)
        out["findings"].push_back({{"severity", finding.severity == Severity::Prevents ? "prevents" : "degrades"},
                                   {"pid", finding.pid},
                                   {"comm", finding.comm},
                                   {"object", finding.object},
                                   {"reason", finding.reason},
                                   {"advice", finding.advice}});
    // Names of tasks and files may be any bytes.
    return out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

base::Result<engine::CheckOutcome> run_tree(const engine::DumpRequest &request, TreeFormat format) {
    const TreeReport report = TRY_CTX(examine(request), "check");
    return engine::CheckOutcome{.text = format == TreeFormat::Json ? to_json(report) : to_text(report),
                                .complete = !report.prevents()};
}

} // namespace check
