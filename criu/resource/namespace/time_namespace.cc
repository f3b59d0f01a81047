// CLOCK_MONOTONIC and CLOCK_BOOTTIME begin at zero with each boot. Timers are saved as the time that is left, but
// programs also keep absolute times of these clocks in their memory: behind a reboot, or on another machine, these lie
// in a far future. A time namespace shifts both clocks; a task that was in one goes on where its clocks were.
//
// Offsets can be written until the first task is in the namespace, and who calls unshare is not: only its children are,
// and itself after a setns, which a process of one thread may do.
#include "criu/kernel/child.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/parse/one_line_files.hh"
#include "criu/resource/namespace/kinds.hh"
#include "criu/resource/namespace/time_of_children.hh"

#include "timens.pb.h"

#include <algorithm>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

namespace resource::time_namespace {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

/// Nanoseconds of both clocks.
struct Clocks {
    int64_t monotonic = 0, boottime = 0;
};

int64_t read_clock(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return now.tv_sec * kSecond + now.tv_nsec;
}

Result<Clocks> offsets_of(int proc, const std::string &process) {
    const auto text = kernel::read_file(proc, fmt::format("{}/timens_offsets", process).c_str());
    if (!text)
        return Clocks{}; // a kernel without time namespaces
    const auto offsets = TRY(parse::parse_timens_offsets(*text));
    return Clocks{offsets.monotonic_sec * kSecond + offsets.monotonic_nsec,
                  offsets.boottime_sec * kSecond + offsets.boottime_nsec};
}

/// As they would be in the initial time namespace.
Result<Clocks> initial_clocks(int proc) {
    const Clocks ours = TRY(offsets_of(proc, "self"));
    return Clocks{read_clock(CLOCK_MONOTONIC) - ours.monotonic, read_clock(CLOCK_BOOTTIME) - ours.boottime};
}

void write(int64_t time, img::timespec *out) {
    out->set_tv_sec(static_cast<uint64_t>(time / kSecond));
    out->set_tv_nsec(static_cast<uint64_t>(time % kSecond));
}

Result<int64_t> read(const img::timespec &time) {
    constexpr uint64_t kMostSeconds = uint64_t{1} << 32; // more than the kernel takes, and far from overflowing
    if (time.tv_sec() > kMostSeconds || time.tv_nsec() >= static_cast<uint64_t>(kSecond))
        return base::bad_image("an impossible time");
    return static_cast<int64_t>(time.tv_sec()) * kSecond + static_cast<int64_t>(time.tv_nsec());
}

std::string line(const char *clock, int64_t offset) {
    const int64_t seconds = offset / kSecond - (offset % kSecond < 0);
    return fmt::format("{} {} {}\n", clock, seconds, offset - seconds * kSecond);
}

/// Our children are born into it from now on. `proc`: a directory of /proc.
Result<void> make_with(const Clocks &offsets, int proc) {
    if (unshare(static_cast<int>(kernel::clone_flag_of(tree::NamespaceKind::Time))) < 0)
        return base::fail_sys("unshare(CLONE_NEWTIME)");
    TRY_CTX(kernel::write_file(proc, "self/timens_offsets",
                               line("monotonic", offsets.monotonic) + line("boottime", offsets.boottime)),
            "set the clocks");
    return {};
}

Result<void> enter(const base::UniqueFd &ns) {
    return setns(ns.get(), 0) < 0 ? base::fail_sys("enter the time namespace") : Result<void>();
}

Result<base::UniqueFd> make_with(const Clocks &offsets) {
    const base::UniqueFd proc = TRY(kernel::open_at(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY));
    TRY(make_with(offsets, proc.get()));
    return kernel::open_at(proc.get(), "self/ns/time_for_children", O_RDONLY);
}

/// From what the image says and the clocks are now.
Result<Clocks> offsets_to_be(const image::ImageDir &images, uint32_t id, int proc) {
    const auto saved = TRY(images.read_one<img::timens_entry>(image::ImageKind::Timens, id));
    if (!saved)
        return base::bad_image(fmt::format("timens-{}.img is missing", id));
    const Clocks now = TRY(initial_clocks(proc));
    return Clocks{TRY(read(saved->monotonic())) - now.monotonic, TRY(read(saved->boottime())) - now.boottime};
}

Result<Clocks> clocks_to_be(const NamespaceFillContext &context) {
    const base::UniqueFd proc = TRY(kernel::open_at(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY));
    return offsets_to_be(context.images, context.id, proc.get());
}

/// A task's offsets are told of the namespace that its children are born into.
const tree::TaskFacts *who_tells_of(std::span<const tree::TaskFacts> tasks, const tree::Namespace &ns) {
    const auto found = std::ranges::find_if(
        tasks, [&](const tree::TaskFacts &task) { return !task.zombie && task.ns.time_for_children == ns.inode; });
    return found == tasks.end() ? nullptr : &*found;
}

} // namespace

Result<void> refuse(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    if (who_tells_of(context.tasks, ns))
        return {};
    return base::unsupported("and so would none of its children: all tasks in it have called unshare(CLONE_NEWTIME), "
                             "and the kernel tells the clocks of their children only");
}

Result<void> dump(NamespaceDumpContext &context, const tree::Namespace &ns) {
    const base::UniqueFd proc = TRY(kernel::open_at(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY));
    const base::Pid teller = who_tells_of(context.tasks, ns)->voice;
    const Clocks now = TRY(initial_clocks(proc.get()));
    const Clocks theirs = TRY(offsets_of(proc.get(), std::to_string(teller.value)));
    img::timens_entry entry;
    write(now.monotonic + theirs.monotonic, entry.mutable_monotonic());
    write(now.boottime + theirs.boottime, entry.mutable_boottime());
    return context.images.add(image::ImageKind::Timens, ns.id, entry);
}

Result<void> fill(NamespaceFillContext &context) {
    return enter(TRY(make_with(TRY(clocks_to_be(context)))));
}

// By somebody else: in a user namespace there is no way back for us.
Result<base::UniqueFd> make_below(NamespaceFillContext &context) {
    base::UniqueFd made;
    TRY(kernel::run_to_end([&]() -> Result<void> {
        if (const int owner = context.owner_of(context.id); owner >= 0 && setns(owner, CLONE_NEWUSER) < 0)
            return base::fail_sys("enter the user namespace that it belongs to");
        made = TRY(make_with(TRY(clocks_to_be(context))));
        return {};
    }));
    return made;
}

} // namespace resource::time_namespace

namespace resource {

Result<void> make_time_of_children(const image::ImageDir &images, uint32_t id, int own_proc) {
    return time_namespace::make_with(TRY(time_namespace::offsets_to_be(images, id, own_proc)), own_proc);
}

} // namespace resource
