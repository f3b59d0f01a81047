// Contents are read through a copy of the mount, without what lies on it. A mount that is covered by others, at its own
// place or further up, has no path: then the thread gets a copy of the whole namespace, in which the mounts are taken
// away one by one, what lies on top first.
#include "criu/resource/namespace/mounts/contents.hh"

#include "base/listing.hh"
#include "criu/resource/namespace/mounts/archive.hh"
#include "criu/resource/namespace/mounts/file_systems.hh"
#include "criu/resource/namespace/mounts/host_mounts.hh"
#include "criu/resource/namespace/mounts/table.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <functional>
#include <map>
#include <sched.h>
#include <set>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace resource::mounts {
namespace {

using Entry = img::mnt_entry;

std::string_view file_name(std::string_view path) {
    return path.substr(path.rfind('/') + 1);
}

class Dumper {
public:
    Dumper(NamespaceDumpContext &context, const std::vector<Entry> &entries, std::set<uint32_t> &saved)
        : context_(context), entries_(entries), saved_(saved) {
        std::set<uint32_t> known;
        for (const Entry &entry : entries)
            known.insert(entry.mnt_id());
        for (const Entry &entry : entries)
            known.contains(entry.parent_mnt_id()) ? children_[entry.parent_mnt_id()].push_back(&entry)
                                                  : roots_.push_back(&entry);
    }

    Result<void> dump() {
        if (std::ranges::none_of(entries_, [&](const Entry &entry) {
                return has_contents(entry) && (is_covered(entry) || entry.flags() & kUnbindable);
            })) {
            for (const Entry &entry : entries_)
                TRY(dump_one(entry));
            return {};
        }
        if (unshare(CLONE_NEWNS) < 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
            return base::fail_sys("copy the mounts of the tree");
        alone_ = true;
        for (const Entry *root : roots_)
            TRY(take_away(*root));
        return {};
    }

private:
    bool has_contents(const Entry &entry) const {
        if (entry.has_ext_key() || entry.mountpoint() == "/")
            return false;
        const FileSystem *kind = find_file_system(entry);
        return entry.deleted() || (entry.root() == "/" && kind && kind->contents != Contents::None);
    }

    static bool covers(const Entry &upper, const Entry &lower) {
        return &upper != &lower && below(upper.mountpoint(), lower.mountpoint());
    }

    /// By a mount on its own root, or by one beside it, or beside what it lies on.
    bool is_covered(const Entry &entry) const {
        for (const Entry &other : entries_) {
            const bool on_its_root =
                other.parent_mnt_id() == entry.mnt_id() && other.mountpoint() == entry.mountpoint();
            const bool beside = other.parent_mnt_id() == entry.parent_mnt_id() && covers(other, entry);
            if (other.mnt_id() != entry.mnt_id() && (on_its_root || beside))
                return true;
        }
        for (const Entry &other : entries_)
            if (other.mnt_id() == entry.parent_mnt_id() && other.mnt_id() != entry.mnt_id() &&
                other.mountpoint() != "/")
                return is_covered(other);
        return false;
    }

    /// A mount with all that lies on it. Of those on one mount the ones further up may cover the others.
    Result<void> take_away(const Entry &entry) {
        auto &upper = children_[entry.mnt_id()];
        std::ranges::stable_sort(upper, {}, [](const Entry *each) { return each->mountpoint().size(); });
        for (const Entry *each : upper)
            TRY(take_away(*each));
        TRY(dump_one(entry));
        if (entry.mountpoint() == "/" || umount2(entry.mountpoint().c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
            return {};
        if (errno != EINVAL)
            return base::fail_sys(fmt::format("mount {}: take it away from a copy", entry.mountpoint()));
        stuck_.push_back(&entry); // locked: it came from the mounts of another user namespace
        return {};
    }

    /// Of a user namespace's mounts a copy of ours has all locked, so that nothing covered comes to light.
    bool is_hidden(const Entry &entry) const { return !stuck_.empty() && is_covered(entry); }

    Result<void> dump_one(const Entry &entry) {
        if (has_contents(entry) && is_hidden(entry))
            return base::fail(
                base::Error(base::ErrorKind::Unsupported,
                            fmt::format("mount {}: a locked mount covers its contents", entry.mountpoint()))
                    .hint("--external 'mnt[MOUNTPOINT]:KEY' leaves it to the caller"));
        if (has_contents(entry))
            TRY_CTX(save(entry), fmt::format("mount {}", entry.mountpoint()));
        return {};
    }

    Result<void> save(const Entry &entry) {
        if (entry.deleted())
            return save_deleted(entry);
        // Alone, nothing lies on it any more; and what is unbindable has no other copies.
        const unsigned copies = alone_ && stuck_.empty() ? 0 : OPEN_TREE_CLONE;
        const base::UniqueFd copy(static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, entry.mountpoint().c_str(),
                                                           copies | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT)));
        if (!copy)
            return base::fail_sys("open_tree");
        if (!saved_.insert(entry.root_dev()).second)
            return {};
        if (find_file_system(entry)->contents == Contents::Empty)
            return check_empty(copy.get());
        const int file = TRY(context_.images.raw(image::ImageKind::TmpfsDev, entry.root_dev()));
        TRY(write_archive(copy.get(), file, context_.images.owners()));
        return context_.images.close_file(image::ImageKind::TmpfsDev, entry.root_dev());
    }

    Result<void> save_deleted(const Entry &entry) {
        const base::UniqueFd shown(open(entry.mountpoint().c_str(), O_RDONLY | O_NOATIME | O_NONBLOCK | O_CLOEXEC));
        if (!shown)
            return base::fail_sys("open it");
        const int file = TRY(context_.images.raw(image::ImageKind::TmpfsImg, entry.mnt_id()));
        TRY(write_one(shown.get(), std::string(file_name(entry.root())), file, context_.images.owners()));
        return context_.images.close_file(image::ImageKind::TmpfsImg, entry.mnt_id());
    }

    static Result<void> check_empty(int directory) {
        // The kernel's own files in a file system of BPF objects end so.
        for (const std::string &name : TRY_CTX(base::list_names(directory), "list it"))
            if (!name.ends_with(".debug"))
                return base::fail(
                    base::Error(base::ErrorKind::Unsupported,
                                fmt::format("it isn't empty ({}), and its contents cannot be saved", name))
                        .hint("--external 'mnt[MOUNTPOINT]:KEY' leaves it to the caller"));
        return {};
    }

    NamespaceDumpContext &context_;
    const std::vector<Entry> &entries_;
    std::map<uint32_t, std::vector<const Entry *>> children_;
    std::vector<const Entry *> roots_;
    std::set<uint32_t> &saved_;        ///< devices
    std::vector<const Entry *> stuck_; ///< mounts of the copy that cannot be taken away
    bool alone_ = false;               ///< in a copy of the namespace
};

} // namespace

Result<void> dump_contents(NamespaceDumpContext &context, const std::vector<Entry> &entries,
                           std::set<uint32_t> &saved) {
    return Dumper(context, entries, saved).dump();
}

} // namespace resource::mounts
