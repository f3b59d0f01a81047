#include "criu/plan/numbers.hh"

#include "pidns.pb.h"

#include <fmt/format.h>
#include <google/protobuf/message.h>

namespace plan {
namespace {

constexpr size_t kMostLevels = 32; // the kernel's MAX_PID_NS_LEVEL
constexpr size_t kMostNamespaces = 1024;

std::unexpected<base::Error> bad(uint32_t id, std::string_view what) {
    return base::bad_image(fmt::format("pidns-{}.img: {}", id, what));
}

uint32_t home_in_image(const TaskImage &task) {
    return task.dead() ? task.core().tc().ext().pid_namespace() : task.ids.pid_ns_id();
}

class Reader {
public:
    Reader(const image::ImageDir &images, const std::vector<TaskImage> &tasks)
        : images_(images), tasks_(tasks), root_(tasks.front().ids.pid_ns_id()) {}

    Result<tree::Numbers> read() {
        for (const TaskImage &task : tasks_)
            if (const uint32_t id = home_in_image(task); id && id != root_)
                TRY(add(id, 0));
        for (const TaskImage &task : tasks_)
            TRY(check_task(task));
        return std::move(numbers_);
    }

private:
    Result<void> add(uint32_t id, size_t steps) {
        if (id == root_ || numbers_.find(id))
            return {};
        if (steps > kMostLevels || numbers_.below().size() >= kMostNamespaces)
            return bad(id, "more pid namespaces than there can be");
        const auto entry = TRY(images_.read_one<img::pidns_entry>(image::ImageKind::Pidns, id));
        if (!entry || !entry->has_extension())
            return base::unsupported(
                fmt::format("tasks lived in another pid namespace than the root of the tree, and pidns-{}.img does "
                            "not say what they are called there",
                            id));
        const uint32_t parent = entry->extension().parent();
        TRY(add(parent, steps + 1));
        const tree::Numbers::Below *around = numbers_.find(parent);
        tree::Numbers::Below below{.id = id,
                                   .parent = around ? parent : tree::Numbers::kRoots,
                                   .depth = around ? around->depth + 1 : 1,
                                   .inner = {}};
        TRY(fill(entry->extension(), around, below));
        numbers_.add(std::move(below));
        return {};
    }

    static Result<void> fill(const img::ext_pid_namespace &image, const tree::Numbers::Below *around,
                             tree::Numbers::Below &below) {
        std::set<uint32_t> taken;
        for (const img::ext_number &entry : image.numbers()) {
            constexpr uint32_t kMost = 1u << 22; // PID_MAX_LIMIT
            if (!entry.number() || !entry.inner() || entry.number() > kMost || entry.inner() > kMost)
                return bad(below.id, fmt::format("nobody can be called {} or {}", entry.number(), entry.inner()));
            if (!below.inner.emplace(entry.number(), entry.inner()).second || !taken.insert(entry.inner()).second)
                return bad(below.id, fmt::format("{} or {} is there twice", entry.number(), entry.inner()));
            if (around && !around->inner.contains(entry.number()))
                return bad(below.id, fmt::format("{} is not known in the namespace around it", entry.number()));
            if (entry.inner() == 1)
                below.init = entry.number();
        }
        return below.init ? Result<void>{} : bad(below.id, "a pid namespace without an init");
    }

    Result<void> check_task(const TaskImage &task) const {
        const uint32_t image = home_in_image(task);
        const uint32_t home = image == root_ ? tree::Numbers::kRoots : image;
        for (const ThreadImage &thread : task.threads)
            if (numbers_.home_of(thread.tid) != home)
                return base::bad_image(fmt::format("task {}: {} is not in its pid namespace", task.pid, thread.tid));
        if (home != tree::Numbers::kRoots && task.ppid && !is_around(numbers_.home_of(task.ppid), home))
            return base::bad_image(
                fmt::format("task {}: its parent is not in a pid namespace around its own", task.pid));
        for (const ThreadImage &thread : task.threads)
            TRY(check_children(thread, home));
        return check_init(task, home);
    }

    /// Its next child's home is one of the tree's, inside of its own: whatever else the number is of is none of ours.
    Result<void> check_children(const ThreadImage &thread, uint32_t home) const {
        const uint32_t init = thread.core.thread_core().ext().pid_for_children();
        if (!init || std::ranges::any_of(numbers_.below(), [&](const tree::Numbers::Below &below) {
                return below.init == init && below.id != home && is_around(home, below.id);
            }))
            return {};
        return base::bad_image(fmt::format(
            "core-{}.img: {} is the init of no pid namespace that its children can live in", thread.tid, init));
    }

    /// One makes a namespace in its own only.
    Result<void> check_init(const TaskImage &task, uint32_t home) const {
        const tree::Numbers::Below *below = numbers_.find(home);
        if (below && below->init == task.pid && numbers_.home_of(task.ppid) != below->parent)
            return base::unsupported(fmt::format(
                "task {} is the init of a pid namespace, and its parent does not live in the one around it", task.pid));
        return {};
    }

    bool is_around(uint32_t outer, uint32_t inner) const {
        while (inner != outer && inner != tree::Numbers::kRoots)
            inner = numbers_.find(inner)->parent;
        return inner == outer;
    }

    const image::ImageDir &images_;
    const std::vector<TaskImage> &tasks_;
    uint32_t root_;
    tree::Numbers numbers_;
};

/// Every field `fown` of an entry of files.img, wherever it is.
template <class Change> void for_each_owner(google::protobuf::Message &message, Change change) {
    const auto *reflection = message.GetReflection();
    std::vector<const google::protobuf::FieldDescriptor *> fields;
    reflection->ListFields(message, &fields);
    for (const auto *field : fields) {
        if (field->type() != google::protobuf::FieldDescriptor::TYPE_MESSAGE || field->is_repeated())
            continue;
        auto *inner = reflection->MutableMessage(&message, field);
        if (inner->GetDescriptor() == img::fown_entry::descriptor())
            change(static_cast<img::fown_entry &>(*inner));
        else
            for_each_owner(*inner, change);
    }
}

} // namespace

Result<tree::Numbers> read_numbers(const image::ImageDir &images, const std::vector<TaskImage> &tasks) {
    return Reader(images, tasks).read();
}

void number_as_inside(Checkpoint &checkpoint, size_t index) {
    TaskImage &task = checkpoint.tasks[index];
    const uint32_t home = checkpoint.numbers.home_of(task.pid);
    if (home == tree::Numbers::kRoots)
        return;
    const auto seen = [&](uint32_t number) { return checkpoint.numbers.seen_in(home, number); };
    for (auto &[id, file] : checkpoint.files) {
        for_each_owner(file, [&](img::fown_entry &owner) { owner.set_pid(seen(owner.pid())); });
        if (file.has_pidfd() && file.pidfd().nspid() > 0)
            file.mutable_pidfd()->set_nspid(static_cast<int32_t>(seen(static_cast<uint32_t>(file.pidfd().nspid()))));
    }
    for (ThreadImage &thread : task.threads) {
        if (thread.core.thread_core().ext().pid_for_children()) {
            auto *ext = thread.core.mutable_thread_core()->mutable_ext();
            ext->set_pid_for_children(seen(ext->pid_for_children()));
        }
        if (!thread.core.has_tc())
            continue;
        for (auto &timer : *thread.core.mutable_tc()->mutable_timers()->mutable_posix())
            if (timer.notify_thread_id())
                timer.set_notify_thread_id(static_cast<int32_t>(seen(static_cast<uint32_t>(timer.notify_thread_id()))));
    }
}

void own_as_inside(Checkpoint &checkpoint, size_t index, const base::OwnerMaps &owners, bool files) {
    const auto or_leave = [](std::optional<uint32_t> id) { return id.value_or(~uint32_t{0}); };
    for (ThreadImage &thread : checkpoint.tasks[index].threads) {
        img::creds_entry &creds = *thread.core.mutable_thread_core()->mutable_creds();
        creds.set_uid(or_leave(owners.users.find(creds.uid())));
        creds.set_euid(or_leave(owners.users.find(creds.euid())));
        creds.set_suid(or_leave(owners.users.find(creds.suid())));
        creds.set_fsuid(owners.users.inside(creds.fsuid())); // the kernel tells nobody's there, and takes no ~0
        creds.set_gid(or_leave(owners.groups.find(creds.gid())));
        creds.set_egid(or_leave(owners.groups.find(creds.egid())));
        creds.set_sgid(or_leave(owners.groups.find(creds.sgid())));
        creds.set_fsgid(owners.groups.inside(creds.fsgid()));
        for (uint32_t &group : *creds.mutable_groups())
            group = owners.groups.inside(group);
    }
    if (!files)
        return;
    for (auto &[id, file] : checkpoint.files)
        for_each_owner(file, [&](img::fown_entry &owner) {
            owner.set_uid(owners.users.inside(owner.uid()));
            owner.set_euid(owners.users.inside(owner.euid()));
        });
}

} // namespace plan
