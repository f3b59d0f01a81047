#include "criu/engine/tracking/notes.hh"

#include "criu/kernel/features.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/parse/stat.hh"

#include <algorithm>

namespace tracking {
namespace {

using engine::TrackMethod;
using kernel::Feature;

bool can_protect(const kernel::Kernel &kernel) {
    return kernel.has(Feature::PagemapScan) && kernel.has(Feature::UffdWpAsync);
}

pages::Notes choose(TrackMethod method, base::Log &log) {
    const kernel::Kernel kernel;
    auto can_see_dirt = [&] { return kernel.has(Feature::SoftDirty); };
    switch (method) {
    case TrackMethod::Off:
        return pages::Notes::None;
    case TrackMethod::Auto:
    case TrackMethod::WriteProtection:
        if (can_protect(kernel))
            return pages::Notes::WriteProtection;
        if (method == TrackMethod::Auto && can_see_dirt())
            return pages::Notes::SoftDirty;
        break;
    case TrackMethod::SoftDirty:
        if (can_see_dirt())
            return pages::Notes::SoftDirty;
        break;
    }
    log.warn("tracking: this kernel cannot note writes in that way: every dump is a full one");
    return pages::Notes::None;
}

} // namespace

Notes Notes::open(Identity root, std::optional<TrackMethod> method, base::Log &log) {
    Notes notes;
    notes.way_ = method ? choose(*method, log) : pages::Notes::None;
    auto tracker = Tracker::find(root);
    if (!tracker) {
        log.warn("tracking: " + tracker.error().message());
        return notes;
    }
    notes.tracker_ = std::move(*tracker);
    if (!notes.tracker_->found())
        return notes;
    if (auto state = notes.tracker_->read())
        notes.state_ = std::move(*state);
    else
        log.warn("tracking: " + state.error().message());
    return notes;
}

Result<void> Notes::protect_for_one_dump() {
    if (!can_protect(kernel::Kernel()))
        return base::unsupported("this kernel cannot note writes by write protection (Linux 6.7 can)");
    way_ = pages::Notes::WriteProtection;
    return {};
}

int Notes::uffd_of(const Identity &task) const {
    const auto found = std::ranges::find(state_.tasks, task, &Tracked::task);
    return found == state_.tasks.end() ? -1 : found->uffd.get();
}

void Notes::keep(const Identity &task, base::UniqueFd uffd) {
    forget(task);
    state_.tasks.push_back({task, std::move(uffd)});
}

void Notes::forget(const Identity &task) {
    std::erase_if(state_.tasks, [&](const Tracked &other) { return other.task == task; });
}

void Notes::keep_only(const std::vector<Identity> &tasks) {
    std::erase_if(state_.tasks,
                  [&](const Tracked &task) { return std::ranges::find(tasks, task.task) == tasks.end(); });
}

Result<void> Notes::begin_taking() {
    return tracker_ ? tracker_->invalidate() : Result<void>();
}

Result<void> Notes::leave(const std::string &run_id) {
    if (way_ != pages::Notes::WriteProtection || !tracker_)
        return {};
    state_.run_id = run_id;
    return tracker_->replace(state_);
}

Result<void> Notes::end() {
    state_ = {};
    return tracker_ ? tracker_->end() : Result<void>();
}

Result<void> untrack(base::Pid root) {
    if (root.value <= 0)
        return base::fail(base::ErrorKind::Usage, "untrack: say which tree with -t PID");
    const Identity who = TRY_CTX(identity_of(root), "untrack");
    Tracker tracker = TRY_CTX(Tracker::find(who), "untrack");
    TRY_CTX(tracker.end(), "untrack");
    return {};
}

Identity identity_of(const tree::TaskFacts &task) {
    return {task.pid, task.stat.starttime};
}

Result<Identity> identity_of(base::Pid pid) {
    const auto folder = TRY(kernel::ProcDir::open(pid));
    const parse::Stat stat = TRY(parse::parse_stat(TRY(folder.read_file("stat"))));
    return Identity{pid, stat.starttime};
}

} // namespace tracking
