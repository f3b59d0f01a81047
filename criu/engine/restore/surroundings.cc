#include "criu/engine/restore/surroundings.hh"

#include "criu/engine/restore/namespaces.hh"
#include "criu/engine/restore/vdso32.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/pages/source.hh"
#include "criu/parse/elf.hh"
#include "criu/parse/maps.hh"
#include "criu/parse/stat.hh"
#include "criu/parse/status.hh"
#include "criu/plan/program.hh"
#include "criu/resource/mm/vma_status.hh"
#include "criu/resource/task/processor.hh"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <sys/capability.h>
#include <sys/mman.h>
#include <unistd.h>

namespace restore {
namespace {

using plan::Range;

std::string text_of(const std::string &path) {
    return kernel::read_file(AT_FDCWD, path.c_str()).value_or(std::string());
}

bool exists(pid_t who) {
    return kill(who, 0) == 0 || errno != ESRCH;
}

/// Neither a process nor a process group has the number.
bool is_free(uint32_t pid) {
    return !exists(static_cast<pid_t>(pid)) && !exists(-static_cast<pid_t>(pid));
}

bool is_ending(const std::string &directory) {
    auto stat = parse::parse_stat(text_of(directory + "/stat"));
    return !stat || stat->state == 'Z' || stat->state == 'X';
}

/// Who has the number for longer than it takes to end: the process itself, or the first of its group.
std::optional<std::string> user_of(uint32_t pid) {
    const std::string own = fmt::format("/proc/{}", pid);
    if (exists(static_cast<pid_t>(pid)))
        return is_ending(own) ? std::nullopt : std::optional(own);
    std::error_code error;
    for (auto &entry : std::filesystem::directory_iterator("/proc", error)) {
        const std::string name = entry.path().filename();
        if (name.find_first_not_of("0123456789") != std::string::npos)
            continue;
        auto stat = parse::parse_stat(text_of(entry.path().string() + "/stat"));
        if (stat && stat->pgrp == static_cast<pid_t>(pid) && !is_ending(entry.path()))
            return entry.path().string();
    }
    return std::nullopt;
}

Result<void> check_free(uint32_t pid) {
    // The end of a task that was just dumped takes a moment to reach its parent.
    constexpr int kTries = 200, kPauseUs = 10'000;
    for (int tries = 0; tries < kTries && !is_free(pid) && !user_of(pid); tries++)
        usleep(kPauseUs);
    if (is_free(pid))
        return {};
    const std::string user = user_of(pid).value_or(fmt::format("/proc/{}", pid));
    std::string name = text_of(user + "/comm");
    if (!name.empty())
        name.pop_back();
    if (user != fmt::format("/proc/{}", pid))
        name += fmt::format(", the group of process {}", user.substr(strlen("/proc/")));
    return base::fail(
        base::Error(base::ErrorKind::Busy, fmt::format("pid {} is in use{}", pid, name.empty() ? "" : " by " + name))
            .hint("end that process, or restore in a new pid namespace (unshare --pid --fork --mount-proc)"));
}

/// The bytes of a task's vdso, from its pages image. Empty if they are not there.
Result<std::string> vdso_bytes(const plan::Checkpoint &checkpoint, const plan::TaskImage &task, const Range &vdso) {
    const auto run = task.pages.first_behind(vdso.start);
    if (run == task.pages.runs.end() || run->start >= vdso.end)
        return std::string();
    std::string bytes(vdso.end - vdso.start, '\0');
    const auto source = TRY(pages::PageSource::open(checkpoint.chain, task.pages));
    TRY_CTX(source.read(task.pages, vdso.start, std::as_writable_bytes(std::span(bytes))), "the vdso");
    return bytes;
}

Result<bool> same_functions(std::string_view a, std::string_view b) {
    auto sorted = [](std::vector<parse::ElfSymbol> symbols) {
        std::sort(symbols.begin(), symbols.end(), [](auto &x, auto &y) { return x.name < y.name; });
        return symbols;
    };
    const parse::ElfImage x = TRY_CTX(parse::parse_elf_image(a), "the vdso of the checkpoint");
    const parse::ElfImage y = TRY_CTX(parse::parse_elf_image(b), "a vdso");
    return sorted(x.symbols) == sorted(y.symbols);
}

uint64_t total(const std::vector<Range> &ranges) {
    uint64_t sum = 0;
    for (const Range &range : ranges)
        sum += range.end - range.start;
    return sum;
}

bool fits_in_place(const plan::SpecialMappings &image, const std::vector<Range> &special) {
    const bool contiguous = !image.vvar.end || image.vvar.end == image.vdso.start;
    return !special.empty() && contiguous &&
           image.vvar.end - image.vvar.start + (image.vdso.end - image.vdso.start) == total(special) &&
           image.vdso.end - image.vdso.start == special.back().end - special.back().start;
}

Result<void> check_size(const plan::TaskImage &task, const Range &vdso) {
    if (vdso.end <= vdso.start || vdso.end - vdso.start > plan::Arena::kParkingSize)
        return base::bad_image(fmt::format("mm-{}.img: the vdso has an impossible size", task.pid));
    return {};
}

/// A thread in the middle of the old vdso's code would go on with data that are not there.
Result<void> check_outside(const plan::TaskImage &task, const Range &vdso) {
    for (const plan::ThreadImage &thread : task.threads) {
        const uint64_t ip = thread.core.thread_info().gpregs().ip();
        if (ip >= vdso.start && ip < vdso.end)
            return base::fail(
                base::Error(base::ErrorKind::Unsupported,
                            fmt::format("thread {} was in the middle of a function of its kernel's vdso", thread.tid))
                    .hint("restore under the kernel of the checkpoint, or take another checkpoint"));
    }
    return {};
}

} // namespace

Result<OwnMappings> own_mappings() {
    OwnMappings own;
    for (const parse::Vma &vma : TRY(parse::parse_maps(text_of("/proc/self/maps")))) {
        own.all.push_back({vma.start, vma.end});
        if (vma.name == "[vdso]" || vma.name.starts_with("[vvar"))
            own.special.push_back({vma.start, vma.end});
        if (vma.name == "[heap]")
            own.heap = {vma.start, vma.end};
    }
    return own;
}

void prepare_heap_for_forks() {
    constexpr uint64_t kLarge = 4 * base::kHugePageSize;
    constexpr int kCollapse = 25; // MADV_COLLAPSE, Linux 6.1
    const auto own = own_mappings();
    if (!own || own->heap.end - own->heap.start < kLarge)
        return;
    const uint64_t start = (own->heap.start + base::kHugePageSize - 1) & ~(base::kHugePageSize - 1);
    const uint64_t end = own->heap.end & ~(base::kHugePageSize - 1);
    madvise(reinterpret_cast<void *>(start), end - start, kCollapse);
}

Result<void> check_32bit_vdsos(const plan::Checkpoint &checkpoint) {
    std::optional<Vdso32> ours;
    for (const plan::TaskImage &task : checkpoint.tasks) {
        if (!plan::is_32bit(task))
            continue;
        if (!ours)
            ours = TRY_CTX(read_vdso32(), fmt::format("task {} is a 32-bit program", task.pid));
        const plan::SpecialMappings image = plan::special_mappings(task);
        if (!image.vdso.end)
            continue;
        TRY(check_size(task, image.vdso));
        const std::string theirs = TRY(vdso_bytes(checkpoint, task, image.vdso));
        const bool contiguous = image.vvar.end == image.vdso.start;
        const bool same_sizes = image.vvar.end - image.vvar.start == ours->data_size &&
                                image.vdso.end - image.vdso.start == ours->image.size();
        const std::string whose = fmt::format("task {}", task.pid);
        if (!contiguous || !same_sizes || !(theirs.empty() || TRY_CTX(same_functions(theirs, ours->image), whose)))
            return base::fail(base::Error(base::ErrorKind::Unsupported,
                                          fmt::format("{}: its 32-bit vdso is of another kernel", whose))
                                  .hint("restore under the kernel of the checkpoint"));
    }
    return {};
}

Result<VdsoFit> compare_vdso(const plan::Checkpoint &checkpoint, const std::vector<Range> &special) {
    VdsoFit fit;
    if (!special.empty()) {
        const Range &ours = special.back();
        fit.ours = {reinterpret_cast<const char *>(ours.start), ours.end - ours.start};
        fit.ours_offset = ours.start - special.front().start;
    }
    for (const plan::TaskImage &task : checkpoint.tasks) {
        const plan::SpecialMappings image = plan::special_mappings(task);
        if (!image.vdso.end || plan::is_32bit(task))
            continue;
        TRY(check_size(task, image.vdso));
        const std::string whose = fmt::format("task {}", task.pid);
        std::string theirs = TRY(vdso_bytes(checkpoint, task, image.vdso));
        const bool alike = theirs.empty() || theirs == fit.ours;
        if (fits_in_place(image, special) && (alike || TRY_CTX(same_functions(theirs, fit.ours), whose)))
            continue;
        if (theirs.empty())
            return base::unsupported(fmt::format(
                "task {}: its vdso differs from this kernel's, and the images do not hold its contents", task.pid));
        if (!fit.in_place && !TRY_CTX(same_functions(theirs, fit.theirs), whose))
            return base::unsupported("its tasks have vdsos of different kernels");
        fit.in_place = false;
        fit.theirs = std::move(theirs);
    }
    if (!fit.in_place)
        for (const plan::TaskImage &task : checkpoint.tasks)
            if (!task.dead() && !plan::is_32bit(task))
                TRY_CTX(check_outside(task, plan::special_mappings(task).vdso), fmt::format("task {}", task.pid));
    return fit;
}

Result<void> check_pids(const plan::Checkpoint &checkpoint, const plan::Topology &topology) {
    for (const plan::TaskImage &task : checkpoint.tasks)
        for (const plan::ThreadImage &thread : task.threads)
            TRY(check_free(thread.tid));
    for (const plan::Node &node : topology.nodes)
        if (node.task < 0)
            TRY(check_free(node.pid));
    return {};
}

Result<void> check_cpu(const plan::Checkpoint &checkpoint) {
    for (const plan::TaskImage &task : checkpoint.tasks)
        if (!task.dead())
            TRY_CTX(plan::finishes(task), fmt::format("task {}", task.pid));
    return {};
}

Result<void> check_probes(const plan::Checkpoint &checkpoint, bool allowed) {
    const auto probed = std::ranges::find_if(checkpoint.tasks, [](const plan::TaskImage &task) {
        return std::ranges::any_of(task.mm.vmas(),
                                   [](const auto &vma) { return vma.status() & resource::kVmaUprobes; });
    });
    const bool any = probed != checkpoint.tasks.end();
    if (allowed || !(any || checkpoint.inventory.allow_uprobes()))
        return {};
    return base::fail(
        base::Error(base::ErrorKind::Unsupported,
                    fmt::format("{}: the tasks may have been probed (uprobes) at the dump",
                                any ? fmt::format("mm-{}.img", probed->pid) : std::string("inventory.img")))
            .hint("set the same probes again and restore with --allow-uprobes: without them the tasks end by "
                  "SIGTRAP where a probe was"));
}

Result<void> check_processor(const plan::Checkpoint &checkpoint, const resource::ProcessorCare &care, base::Log &log) {
    if (!care.any())
        return {};
    const bool compared = TRY(resource::check_processor(checkpoint.images(), care));
    if (!compared && care.asked)
        log.warn("there is no cpuinfo.img to compare this processor with: dump with --cpu-cap writes it");
    return {};
}

Result<void> check_given(const std::vector<resource::InheritFd> &inherited) {
    for (const resource::InheritFd &given : inherited) {
        const int flags = fcntl(given.fd, F_GETFD);
        if (flags < 0 || (flags & FD_CLOEXEC))
            return base::fail(base::Error(base::ErrorKind::Usage, fmt::format("--inherit-fd fd[{}]:{}: there is no "
                                                                              "descriptor {}",
                                                                              given.fd, given.key, given.fd))
                                  .hint("open it in the caller, without O_CLOEXEC"));
    }
    return {};
}

// Whoever is born in a new user namespace has all rights there.
Result<void> check_capabilities(const plan::Checkpoint &checkpoint, bool withhold) {
    const auto status = parse::parse_status(text_of("/proc/self/status"));
    if (!status || has_own(checkpoint, tree::NamespaceKind::User))
        return {};
    for (const plan::TaskImage &task : checkpoint.tasks)
        for (const plan::ThreadImage &thread : task.threads) {
            if (number_in_images(task, tree::NamespaceKind::User) !=
                number_in_images(checkpoint.root(), tree::NamespaceKind::User))
                continue;
            const auto &words = thread.core.thread_core().creds().cap_prm();
            uint64_t permitted = 0;
            for (int i = 0; i < std::min(words.size(), 2); i++)
                permitted |= uint64_t{words[i]} << (32 * i);
            const uint64_t missing = permitted & ~(withhold ? 0 : status->cap_prm);
            if (!missing || task.dead())
                continue;
            const int first = std::countr_zero(missing);
            std::unique_ptr<char, int (*)(void *)> name(cap_to_name(first), cap_free);
            return base::fail(
                base::Error(base::ErrorKind::Unsupported,
                            fmt::format("thread {} has {}, which this process has not got and so cannot pass on",
                                        thread.tid, name ? name.get() : fmt::format("capability {}", first)))
                    .hint("restore with the capabilities that the tasks had, or run them with fewer"));
        }
    return {};
}

Result<void> check_groups(const plan::Checkpoint &checkpoint) {
    const auto status = parse::parse_status(text_of("/proc/self/status"));
    if (!status || (status->cap_eff >> CAP_SETGID & 1) || has_own(checkpoint, tree::NamespaceKind::User))
        return {};
    for (const plan::TaskImage &task : checkpoint.tasks)
        for (const plan::ThreadImage &thread : task.threads)
            if (const auto &groups = thread.core.thread_core().creds().groups();
                !task.dead() && !std::ranges::equal(groups, status->groups))
                return base::fail(
                    base::Error(base::ErrorKind::Unsupported,
                                fmt::format("thread {} has other supplementary groups than this process", thread.tid))
                        .hint("restore with CAP_SETGID, or as the user who ran the program"));
    return {};
}

} // namespace restore
