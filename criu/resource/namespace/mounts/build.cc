// Every mount is made at a place of its own in a yard, a tmpfs over the directory that becomes the root, and moved from
// there to where it belongs. (Linux 6.18 could do without the yard, by detached mounts that are attached to each other;
// 6.1 cannot, and both would have to be tested for ever.) All this happens in a private mount namespace: the yard goes
// with the old root, and if we are killed the kernel takes all of it away.
#include "criu/resource/namespace/mounts/build.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/resource/namespace/mounts/calls.hh"
#include "criu/resource/namespace/mounts/file_systems.hh"
#include "criu/resource/namespace/mounts/overlay.hh"
#include "criu/resource/namespace/mounts/table.hh"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource::mounts {
namespace {

using namespace calls;

class Builder {
public:
    Builder(const kernel::Outside &outside, const MountPlan &plan, const std::vector<Entry> &entries,
            const Fillers &fill, Masters &masters)
        : outside_(outside), plan_(plan), entries_(entries), fill_(fill), masters_(masters),
          mounts_(plan.steps.size()) {}

    Result<BuiltMounts> build() {
        auto built = assemble();
        if (!built)
            (void)delete_again(); // nothing of a failed restore stays in the caller's directories
        return built;
    }

private:
    Result<BuiltMounts> assemble() {
        // The way to our own namespaces: the tree may have no /proc.
        self_.reset(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (!self_)
            return base::fail_sys("open /proc");
        // Events of the caller's mounts still come in, ours do not go out.
        if (mount("", "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0)
            return base::fail_sys("separate the mounts of the tree from ours");
        for (size_t i = 0; i < plan_.steps.size(); i++)
            TRY_CTX(take_given(i), name(i));
        TRY(make_yard());
        for (size_t i = 0; i < plan_.steps.size(); i++)
            if (!plan_.steps[i].made_in_place)
                TRY_CTX(make(i), name(i));
        TRY(enter_root());
        for (size_t i : plan_.attaching) {
            if (plan_.steps[i].made_in_place)
                TRY_CTX(make(i), name(i));
            if (plan_.steps[i].parent != i) // the root of another namespace
                TRY_CTX(put_in_place(i), name(i));
        }
        TRY(delete_again());
        for (const Propagation &each : plan_.sharing)
            TRY_CTX(share(each), name(each.step) + ": propagation");
        for (size_t i = 0; i < plan_.steps.size(); i++)
            if (entry(i).flags() & kUnbindable && mounts_[i])
                TRY_CTX(set_propagation(mounts_[i].get(), MS_UNBINDABLE), name(i));
        BuiltMounts built;
        for (size_t i : plan_.later)
            built.later.push_back(TRY_CTX(keep(i), name(i)));
        for (size_t i = 1; i < plan_.trees.size(); i++)
            built.below.push_back(TRY_CTX(move_out(plan_.trees[i]), "another mount namespace of the tree"));
        TRY(leave_old_root());
        for (LaterMount &each : built.later)
            TRY(tell_namespace(each, built.below));
        return built;
    }

    size_t root_of(size_t step) const {
        while (plan_.steps[step].parent != step)
            step = plan_.steps[step].parent;
        return step;
    }

    /// A mount that is attached when a pid namespace is there, detached until then.
    Result<LaterMount> keep(size_t i) const {
        const MountStep &step = plan_.steps[i];
        LaterMount later{.awaits = step.awaits,
                         .name = name(i),
                         .place = entry(i).mountpoint(),
                         .tree = root_of(i),
                         .part = step.path,
                         .attributes = attributes_of(entry(i)),
                         .options = entry(i).options()};
        if (step.origin != Origin::Proc)
            later.mount = TRY(clone(mounts_[i].get(), ""));
        return later;
    }

    Result<void> tell_namespace(LaterMount &later, std::span<const UniqueFd> below) const {
        const auto tree = std::ranges::find(plan_.trees, later.tree) - plan_.trees.begin();
        later.table = static_cast<size_t>(tree);
        later.space.reset(tree ? fcntl(below[static_cast<size_t>(tree) - 1].get(), F_DUPFD_CLOEXEC, 0)
                               : openat(self_.get(), "thread-self/ns/mnt", O_RDONLY | O_CLOEXEC));
        return later.space ? Result<void>() : base::fail_sys("open the mount namespace");
    }

    /// What has a name for a while only.
    struct ToDelete {
        size_t whole; ///< step of the mount that it is on
        std::string path;
        bool is_directory;
        std::vector<std::string> directories; ///< that were made for it
    };

    const Entry &entry(size_t step) const { return entries_[plan_.steps[step].entry]; }
    std::string name(size_t step) const { return fmt::format("mount {}", entry(step).mountpoint()); }

    Result<void> take_given(size_t i) {
        const MountStep &step = plan_.steps[i];
        if (step.origin == Origin::New || step.origin == Origin::Part || step.origin == Origin::Proc)
            return {};
        const std::string path = step.origin == Origin::Namespace ? "/proc/" + step.path : step.path;
        if (step.origin == Origin::Namespace) // ours are the tree's
            mounts_[i] = TRY(clone(AT_FDCWD, path));
        else
            mounts_[i] = outside_.copy_mount(path);
        return mounts_[i] ? Result<void>() : base::fail_sys(fmt::format("open_tree({})", path));
    }

    Result<void> make_yard() {
        Entry tmpfs;
        tmpfs.set_fstype(img::TMPFS);
        tmpfs.set_source("criu");
        tmpfs.set_options("mode=700");
        yard_ = TRY(make_file_system(tmpfs, 0));
        // Any directory will do: the yard goes with the old root. Who is of a user namespace may not see the way to its
        // own.
        std::string over = plan_.steps.front().path;
        for (const char *other : {"/tmp", "/mnt", "/var"})
            if (over == "/" || access(over.c_str(), F_OK) < 0)
                over = other;
        TRY_CTX(attach(yard_.get(), AT_FDCWD, over), "the yard");
        return set_propagation(yard_.get(), MS_PRIVATE);
    }

    /// A place in the yard for something of the kind of what the mount shows.
    Result<std::string> place(size_t i) const {
        const std::string path = std::to_string(i);
        struct stat shown {};
        if (fstat(mounts_[i].get(), &shown) < 0)
            return base::fail_sys("look at it");
        const bool made = S_ISDIR(shown.st_mode)
                              ? mkdirat(yard_.get(), path.c_str(), 0700) == 0
                              : static_cast<bool>(UniqueFd(
                                    openat(yard_.get(), path.c_str(), O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0600)));
        if (!made)
            return base::fail_sys("make a place for it");
        return path;
    }

    /// What is to be filled becomes read-only later. All else at once: in a user namespace nobody may change a sysfs.
    uint32_t born_with(size_t i) const {
        return entry(i).sb_flags() & (plan_.steps[i].archived ? ~static_cast<uint32_t>(kReadOnly) : ~0u);
    }

    Result<UniqueFd> make_part(size_t i) {
        const MountStep &step = plan_.steps[i];
        const int whole = mounts_[step.whole].get();
        if (entry(i).deleted())
            return make_deleted(i);
        if (auto number = terminal_number(entry(i), step.path); number && !masters_.contains(*number))
            masters_[*number] = TRY(open_terminal(whole, *number));
        return clone(whole, step.path);
    }

    /// Whether the place of a mount is a directory, where it is there already.
    bool belongs_on_directory(size_t i) const {
        struct stat st {};
        const MountStep &step = plan_.steps[i];
        return mounts_[step.parent] && fstatat(mounts_[step.parent].get(), step.place.c_str(), &st, 0) == 0 &&
               S_ISDIR(st.st_mode);
    }

    /// What was deleted while it was mounted is made again, and deleted when it is in its place: the kernel moves no
    /// mount of what has no name. The file system may be one that is to be read-only.
    Result<UniqueFd> make_deleted(size_t i) {
        const MountStep &step = plan_.steps[i];
        return writable(step.whole, [&](int whole) { return deleted_at(i, whole, step.path); });
    }

    template <class Body> auto writable(size_t step, Body &&body) -> decltype(body(0)) {
        const int mounted = mounts_[step].get();
        mount_attr attributes{};
        attributes.attr_clr = MOUNT_ATTR_RDONLY;
        TRY(change(mounted, attributes));
        auto outcome = body(mounted);
        TRY(change(mounted, attributes_of(entry(step))));
        return outcome;
    }

    Result<UniqueFd> deleted_at(size_t i, int whole, const std::string &path) {
        ToDelete made{.whole = plan_.steps[i].whole, .path = path, .is_directory = false, .directories = {}};
        for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1))
            if (mkdirat(whole, path.substr(0, slash).c_str(), 0700) == 0)
                made.directories.push_back(path.substr(0, slash));
        const size_t slash = path.rfind('/');
        const std::string name = slash == path.npos ? path : path.substr(slash + 1);
        const std::string above = slash == path.npos ? "." : path.substr(0, slash);
        UniqueFd directory(openat(whole, above.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        struct stat st {};
        if (!directory)
            return base::fail_sys("open the directory that it was in");
        if (fstatat(directory.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0)
            return base::fail(base::ErrorKind::Busy,
                              fmt::format("what it shows was deleted, and there is another {} now", name));
        TRY(fill_.deleted(entry(i), directory.get(), name, belongs_on_directory(i)));
        made.is_directory = fstatat(directory.get(), name.c_str(), &st, 0) == 0 && S_ISDIR(st.st_mode);
        to_delete_.push_back(std::move(made));
        return clone(directory.get(), name);
    }

    Result<void> delete_again() {
        for (const ToDelete &each : to_delete_)
            TRY(writable(each.whole, [&](int whole) -> Result<void> {
                if (unlinkat(whole, each.path.c_str(), each.is_directory ? AT_REMOVEDIR : 0) < 0)
                    return base::fail_sys(fmt::format("delete {} again", each.path));
                for (auto made = each.directories.rbegin(); made != each.directories.rend(); ++made)
                    unlinkat(whole, made->c_str(), AT_REMOVEDIR);
                return {};
            }));
        to_delete_.clear();
        return {};
    }

    /// Its options are looked up from the root of its tree, by a thread that is there for that.
    Result<UniqueFd> make_overlay(size_t i) const {
        TRY(check_directories(mounts_[root_of(i)].get(), entry(i)));
        UniqueFd made;
        TRY(kernel::inside({}, [&]() -> Result<void> {
            if (fchdir(mounts_[root_of(i)].get()) < 0 || chroot(".") < 0)
                return base::fail_sys("enter the tree");
            made = TRY(make_file_system(entry(i), born_with(i)));
            return {};
        }));
        return made;
    }

    Result<void> make(size_t i) {
        const MountStep &step = plan_.steps[i];
        if (step.origin == Origin::Proc)
            return {};
        if (step.origin == Origin::New)
            mounts_[i] =
                TRY(step.made_in_place ? make_overlay(i) : make_file_system(entry(i), born_with(i), step.path));
        if (step.origin == Origin::Part)
            mounts_[i] = TRY(make_part(i));
        TRY(attach(mounts_[i].get(), yard_.get(), TRY(place(i))));
        if (step.archived)
            TRY(fill_.file_system(entry(i), mounts_[i].get()));
        if (step.archived && step.origin == Origin::New && entry(i).sb_flags() & kReadOnly)
            TRY(make_read_only(mounts_[i].get()));
        // A mount that was the caller's goes on receiving from where it did, if it received before.
        const bool is_given = step.origin == Origin::External || step.origin == Origin::Root;
        if (!is_given || !(entry(i).flags() & kSlave))
            TRY(set_propagation(mounts_[i].get(), MS_PRIVATE));
        return change(mounts_[i].get(), attributes_of(entry(i)));
    }

    /// The old root lies on the new one afterwards.
    Result<void> enter_root() const {
        if (fchdir(mounts_.front().get()) < 0)
            return base::fail_sys("enter the new root");
        if (syscall(SYS_pivot_root, ".", ".") < 0)
            return base::fail_sys("pivot_root");
        return {};
    }

    /// A tree that stands in the yard becomes that of a namespace of its own: a copy of ours, of which everything else
    /// goes. Mounts in it are in the groups of those that they are copies of; these leave their groups and go, too.
    Result<UniqueFd> move_out(size_t root) const {
        UniqueFd made;
        TRY(kernel::inside({}, [&]() -> Result<void> {
            if (fchdir(mounts_[root].get()) < 0 || unshare(CLONE_NEWNS) < 0)
                return base::fail_sys("unshare(CLONE_NEWNS)");
            TRY(keep_only_tree(root));
            made.reset(openat(self_.get(), "thread-self/ns/mnt", O_RDONLY | O_CLOEXEC));
            return made ? Result<void>() : base::fail_sys("open the namespace");
        }));
        TRY(set_propagation(mounts_[root].get(), MS_PRIVATE, AT_RECURSIVE));
        const std::string place = std::to_string(root);
        if (fchdir(yard_.get()) < 0 || umount2(place.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ||
            fchdir(mounts_.front().get()) < 0)
            return base::fail_sys("take it out of the yard");
        return made;
    }

    /// In the copy, in the copy of the tree's root.
    Result<void> keep_only_tree(size_t root) const {
        const UniqueFd own(open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)),
            all(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
        if (!own || !all)
            return base::fail_sys("look at the copy");
        TRY(set_propagation(own.get(), MS_PRIVATE)); // a shared one is no place for an old root
        if (syscall(SYS_pivot_root, ".", ".") < 0)
            return base::fail_sys("pivot_root");
        TRY(set_propagation(all.get(), MS_PRIVATE, AT_RECURSIVE)); // nobody else's mounts go with these
        // On top of ours lies the root task's root, and on top of that the old root with the yard.
        for (int i = 0; i < 2; i++)
            if (umount2(".", MNT_DETACH) < 0)
                return base::fail_sys("leave the root of the others");
        if (chdir("/") < 0)
            return base::fail_sys("enter the root");
        const Entry &image = entry(root);
        if ((image.shared_id() || image.master_id()) && in_a_group(root))
            return join(mounts_[root].get(), own.get());
        return {};
    }

    bool in_a_group(size_t step) const {
        return std::ranges::find(plan_.sharing, step, &Propagation::step) != plan_.sharing.end();
    }

    /// With the old root the yard and all mounts of the tool go: everything of the tree's was moved out before.
    static Result<void> leave_old_root() {
        if (umount2(".", MNT_DETACH) < 0)
            return base::fail_sys("leave the old root");
        return chdir("/") < 0 ? base::fail_sys("enter the new root") : Result<void>();
    }

    Result<void> put_in_place(size_t i) const {
        const MountStep &step = plan_.steps[i];
        const int parent = mounts_[step.parent].get();
        if (step.place.empty())
            return attach(mounts_[i].get(), parent, "");
        UniqueFd place(openat(parent, step.place.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
        if (!place)
            return base::fail(std::move(
                base::Error::sys("its place is not there")
                    .hint(fmt::format("the directory or file {} has to exist in the mount below it (--root {})",
                                      entry(i).mountpoint(), plan_.steps.front().path))));
        return attach(mounts_[i].get(), place.get(), "");
    }

    Result<void> share(const Propagation &each) const {
        const int mounted = mounts_[each.step].get();
        if (each.of_given) // our other threads are where the caller's mounts are
            return join(
                TRY(kernel::open_at(self_.get(), ("self/root" + plan_.steps[each.step].path).c_str(), O_PATH)).get(),
                mounted);
        if (each.leader)
            TRY(join(mounts_[*each.leader].get(), mounted));
        if (each.becomes_slave)
            TRY(set_propagation(mounted, MS_SLAVE));
        if (each.becomes_shared)
            TRY(set_propagation(mounted, MS_SHARED));
        return {};
    }

    static Result<void> join(int leader, int mounted) {
        if (syscall(SYS_move_mount, leader, "", mounted, "",
                    MOVE_MOUNT_SET_GROUP | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
            return base::fail_sys("join the group of another mount");
        return {};
    }

    const kernel::Outside &outside_;
    UniqueFd self_; ///< /proc
    const MountPlan &plan_;
    const std::vector<Entry> &entries_;
    const Fillers &fill_;
    Masters &masters_;
    std::vector<ToDelete> to_delete_;
    UniqueFd yard_;
    std::vector<UniqueFd> mounts_; ///< by step: the root of each mount
};

} // namespace

Result<BuiltMounts> build_mounts(const kernel::Outside &outside, const MountPlan &plan,
                                 const std::vector<Entry> &entries, const Fillers &fill, Masters &masters) {
    return Builder(outside, plan, entries, fill, masters).build();
}

Result<UniqueFd> make_proc(std::string_view options) {
    Entry proc;
    proc.set_fstype(img::PROC);
    proc.set_source("proc");
    proc.set_options(std::string(options));
    return make_file_system(proc, 0);
}

Result<void> attach_later(const LaterMount &later, int proc) {
    return kernel::inside(std::array{later.space.get()}, [&]() -> Result<void> {
        UniqueFd made;
        if (!later.mount) {
            auto copy = clone(proc, later.part);
            if (!copy && copy.error().code() == EINVAL && later.part.empty()) // Linux before 6.15: the only one then
                made.reset(fcntl(proc, F_DUPFD_CLOEXEC, 0));
            else
                made = TRY(std::move(copy));
            TRY(change(made.get(), later.attributes));
        }
        const UniqueFd place(open(later.place.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
        if (!place)
            return base::fail_sys("its place is not there");
        return attach(made ? made.get() : later.mount.get(), place.get(), "");
    });
}

} // namespace resource::mounts
