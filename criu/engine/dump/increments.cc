#include "criu/engine/dump/increments.hh"

#include "criu/engine/tracking/borrowed_fd.hh"
#include "criu/kernel/io.hh"
#include "criu/pages/dedup.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>

namespace dump {
namespace {

/// Whether two mappings, one of which was write-protected for us, would be one without that.
bool would_be_one(const parse::Vma &a, const parse::Vma &b) {
    const bool goes_on = a.inode == 0 || a.pgoff + a.size() == b.pgoff;
    return a.end == b.start && goes_on && a.prot == b.prot && a.shared == b.shared && a.name == b.name &&
           a.inode == b.inode && a.dev_major == b.dev_major && a.dev_minor == b.dev_minor && a.flags == b.flags &&
           a.unknown_flags == b.unknown_flags && a.protection_key == b.protection_key;
}

/// `ours[i]`: whether mapping i was.
void join_mappings(std::vector<parse::Vma> &vmas, const std::vector<bool> &ours) {
    std::vector<parse::Vma> joined;
    bool last_ours = false; // of the mapping that was added last
    for (size_t i = 0; i < vmas.size(); i++) {
        const bool split = !joined.empty() && ours[i] != last_ours && would_be_one(joined.back(), vmas[i]);
        last_ours = ours[i];
        if (!split) {
            joined.push_back(std::move(vmas[i]));
            continue;
        }
        parse::Vma &whole = joined.back();
        whole.end = vmas[i].end;
        whole.rss_bytes += vmas[i].rss_bytes, whole.anon_bytes += vmas[i].anon_bytes;
        whole.swap_bytes += vmas[i].swap_bytes, whole.locked_bytes += vmas[i].locked_bytes;
        whole.anon_huge_bytes += vmas[i].anon_huge_bytes;
    }
    vmas = std::move(joined);
}

} // namespace

Result<Increments> Increments::open(const engine::DumpRequest &request, base::Log &log) {
    const engine::Increment &wanted = request.increment;
    auto parent = TRY(ParentImages::open(request.images_dir_fd, wanted.previous, log));
    // That there is no such process is for those to say who are going to stop it.
    const auto root = tracking::identity_of(request.root).value_or(tracking::Identity{request.root, 0});
    const auto method = parent || wanted.track_memory ? std::optional(wanted.method) : std::nullopt;
    Increments increments(std::move(parent), tracking::Notes::open(root, method, log), log);
    if (wanted.pidfd_store >= 0)
        increments.pidfds_ = TRY(PidfdStore::open(wanted.pidfd_store));
    if (increments.parent_ && increments.pidfds_ && increments.pidfds_->empty())
        return base::fail(base::Error(base::ErrorKind::Usage,
                                      "pidfd_store_sk knows of no process, and there are images "
                                      "before these (parent_img)")
                              .hint("give the socket from the first pre-dump on"));
    increments.tracks_ = wanted.track_memory;
    increments.compares_shared_ = wanted.track_shared;
    increments.drops_ = wanted.dedup;
    return increments;
}

void Increments::prune(const std::vector<tree::TaskFacts> &tasks) {
    std::vector<tracking::Identity> living;
    for (const tree::TaskFacts &task : tasks)
        if (!task.zombie)
            living.push_back(tracking::identity_of(task));
    notes_.keep_only(living);
}

void Increments::settle(std::vector<tree::TaskFacts> &tasks) {
    prune(tasks);
    for (tree::TaskFacts &task : tasks) {
        // Of processes that share memory one has the notes.
        const tree::TaskFacts &holder =
            task.memory_of.value ? *std::ranges::find(tasks, task.memory_of, &tree::TaskFacts::pid) : task;
        const int uffd = task.zombie ? -1 : notes_.uffd_of(tracking::identity_of(holder));
        if (uffd < 0)
            continue; // as in most dumps: of none
        auto scanner = pages::PageScanner::open(task.voice);
        if (!scanner)
            continue;
        const std::vector<pages::Extent> trusted = tracking::watchable(task);
        std::vector<pages::Extent> ours;
        std::vector<bool> is_ours(task.vmas.size());
        for (size_t i = 0; i < task.vmas.size(); i++) {
            parse::Vma &vma = task.vmas[i];
            if (!vma.flags.has(parse::VmFlag::Uw))
                continue;
            const auto found = tracking::look(uffd, *scanner, {pages::extent_of(vma.start, vma.end)}).known;
            if (found.empty())
                continue;
            vma.flags.clear(parse::VmFlag::Uw);
            pages::append(ours, found.front());
            is_ours[i] = true;
        }
        join_mappings(task.vmas, is_ours);
        known_[task.pid] = pages::intersect(ours, trusted);
    }
}

/// Whether what the images before say of this number is about the same process.
bool Increments::parent_knows(const tree::TaskFacts &task) const {
    switch (pidfds_ ? pidfds_->ask(task.pid) : PidfdStore::Answer::Unknown) {
    case PidfdStore::Answer::Same:
        return true;
    case PidfdStore::Answer::Other:
        return false;
    case PidfdStore::Answer::Unknown:
        break;
    }
    return parent_.knows_of(task.stat.starttime);
}

void Increments::keep_pidfds(const std::vector<tree::TaskFacts> &tasks) {
    if (!pidfds_)
        return;
    if (auto kept = pidfds_->keep(tasks); !kept)
        log_->warn(fmt::format("pidfd_store_sk: {}: start times tell the processes apart", kept.error().message()));
}

std::vector<pages::Extent> Increments::unchanged(const tree::TaskFacts &task,
                                                 const std::vector<pages::Extent> &clean) const {
    if (!parent_ || !parent_knows(task))
        return {};
    switch (notes_.way()) {
    case pages::Notes::SoftDirty:
        return clean;
    case pages::Notes::WriteProtection:
        if (const auto known = known_.find(task.pid); known != known_.end() && notes_.are_since(parent_.run_id()))
            return pages::intersect(clean, known->second);
        break;
    case pages::Notes::None:
        break;
    }
    return {};
}

Result<void> Increments::note_for_snapshot() {
    if (uses_notes())
        return base::unsupported("the kernel's notes of writes are those between two dumps (--track-mem)");
    return notes_.protect_for_one_dump();
}

std::vector<pages::Extent> Increments::watched(const tree::TaskFacts &task) const {
    const auto known = known_.find(task.pid);
    return known == known_.end() ? std::vector<pages::Extent>() : known->second;
}

Result<void> Increments::apply(const tree::TaskFacts &task, pages::PageScanner &scanner, compel::Injection &agent,
                               PageRuns &runs) {
    if (parent_)
        runs.data = without_parents_pages(runs.data, unchanged(task, runs.clean),
                                          parent_.covered(static_cast<uint64_t>(task.vpid.value)));
    if (!tracks())
        return {};
    TRY(arm(task, scanner, [&]() -> Result<compel::Injection *> { return &agent; }));
    if (notes_.way() == pages::Notes::WriteProtection)
        TRY(scanner.take_written(0, base::kUserEnd)); // what was written until now is in these images
    return {};
}

void Increments::drop_superseded(int images_dir_fd) const {
    if (!drops_ || !parent_)
        return;
    if (auto dropped = pages::dedup(images_dir_fd); !dropped)
        log_->warn(fmt::format("{}: the earlier images keep what they have", dropped.error().message()));
    else
        log_->info(fmt::format("dedup: {} pages dropped", *dropped));
}

/// The descriptor for the memory of the task, which is made if there is none yet.
Result<int> Increments::uffd_for(const tree::TaskFacts &task, const Enter &enter) {
    const tracking::Identity who = tracking::identity_of(task);
    if (const int known = notes_.uffd_of(who); known >= 0)
        return known;
    base::UniqueFd made = TRY(tracking::borrow_userfaultfd(*TRY(enter())));
    TRY(tracking::set_up(made.get()));
    notes_.keep(who, std::move(made));
    return notes_.uffd_of(who);
}

Result<void> Increments::arm(const tree::TaskFacts &task, const pages::PageScanner &scanner, const Enter &enter) {
    if (!std::exchange(taking_, true))
        TRY(notes_.begin_taking());
    if (notes_.way() == pages::Notes::SoftDirty)
        return kernel::write_file(AT_FDCWD, fmt::format("/proc/{}/clear_refs", task.voice.value).c_str(), "4");
    known_.erase(task.pid);
    const std::vector<pages::Extent> mappings = tracking::watchable(task);
    constexpr int kTries = 2; // of the first the descriptor may be that of a program that was replaced (execve)
    for (int i = 0; i < kTries && !mappings.empty(); i++) {
        auto uffd = uffd_for(task, enter);
        if (!uffd) {
            log_->warn(fmt::format("tracking: task {}: {}: it is written in full each time", task.pid.value,
                                   uffd.error().message()));
            return {};
        }
        tracking::Watch found = tracking::watch(*uffd, scanner, mappings);
        if (!found.dead) {
            known_[task.pid] = std::move(found.known);
            return {};
        }
        notes_.forget(tracking::identity_of(task));
    }
    return {};
}

} // namespace dump
