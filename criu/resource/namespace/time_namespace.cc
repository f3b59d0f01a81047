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

#include "timens.pb.h"

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

Result<Clocks> offsets_of(const char *process) {
    const auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/timens_offsets", process).c_str());
    if (!text)
        return Clocks{}; // a kernel without time namespaces
    const auto offsets = TRY(parse::parse_timens_offsets(*text));
    return Clocks{offsets.monotonic_sec * kSecond + offsets.monotonic_nsec,
                  offsets.boottime_sec * kSecond + offsets.boottime_nsec};
}

/// As they would be in the initial time namespace.
Result<Clocks> initial_clocks() {
    const Clocks ours = TRY(offsets_of("self"));
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

/// What our children are born into from now on.
Result<base::UniqueFd> of_children() {
    return kernel::open_at(AT_FDCWD, "/proc/self/ns/time_for_children", O_RDONLY);
}

Result<void> enter(const base::UniqueFd &ns) {
    return setns(ns.get(), 0) < 0 ? base::fail_sys("enter the time namespace") : Result<void>();
}

Result<base::UniqueFd> make_with(const Clocks &offsets) {
    if (unshare(static_cast<int>(kernel::clone_flag_of(tree::NamespaceKind::Time))) < 0)
        return base::fail_sys("unshare(CLONE_NEWTIME)");
    TRY_CTX(kernel::write_file(AT_FDCWD, "/proc/self/timens_offsets",
                               line("monotonic", offsets.monotonic) + line("boottime", offsets.boottime)),
            "set the clocks");
    return of_children();
}

/// From what the image says and the clocks are now.
Result<Clocks> offsets_to_be(const NamespaceFillContext &context) {
    const auto saved = TRY(context.images.read_one<img::timens_entry>(image::ImageKind::Timens, context.id));
    if (!saved)
        return base::bad_image(fmt::format("timens-{}.img is missing", context.id));
    const Clocks now = TRY(initial_clocks());
    return Clocks{TRY(read(saved->monotonic())) - now.monotonic, TRY(read(saved->boottime())) - now.boottime};
}

} // namespace

Result<void> dump(NamespaceDumpContext &context, const tree::Namespace &ns) {
    const Clocks now = TRY(initial_clocks()), theirs = TRY(offsets_of(std::to_string(ns.member.value).c_str()));
    img::timens_entry entry;
    write(now.monotonic + theirs.monotonic, entry.mutable_monotonic());
    write(now.boottime + theirs.boottime, entry.mutable_boottime());
    return context.images.add(image::ImageKind::Timens, ns.id, entry);
}

Result<void> fill(NamespaceFillContext &context) {
    return enter(TRY(make_with(TRY(offsets_to_be(context)))));
}

// By somebody else: in a user namespace there is no way back for us.
Result<base::UniqueFd> make_below(NamespaceFillContext &context) {
    base::UniqueFd made;
    TRY(kernel::run_to_end([&]() -> Result<void> {
        made = TRY(make_with(TRY(offsets_to_be(context))));
        return {};
    }));
    return made;
}

} // namespace resource::time_namespace
