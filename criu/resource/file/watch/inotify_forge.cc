#include "criu/resource/file/watch/inotify_forge.hh"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace resource {
namespace {

/// A watch needs some event. This one does not happen here.
constexpr uint32_t kQuiet = IN_UNMOUNT;
constexpr uint32_t kOfTheFileItself = IN_DELETE_SELF | IN_MOVE_SELF;

/// What stands for a watched file or directory.
struct StandIn {
    std::string name; ///< in the scratch directory
    bool directory = false;
    bool watched = false;
};

class Forge {
public:
    Forge(int fd, int scratch, const std::vector<WatchEvent> &events) : fd_(fd), scratch_(scratch), events_(events) {}

    Result<size_t> run() {
        TRY(prepare());
        for (at_ = 0; at_ < events_.size(); at_++)
            TRY_CTX(forge(events_[at_]), fmt::format("event {:#x} of watch {}", events_[at_].mask, events_[at_].watch));
        for (auto &[number, stand_in] : stand_ins_)
            if (stand_in.watched)
                inotify_rm_watch(fd_, number);
        return bytes_;
    }

private:
    Result<void> prepare() {
        for (const WatchEvent &event : events_) {
            if (event.watch <= 0 || event.name.find('/') != std::string::npos || event.name == "." ||
                event.name == ".." || event.name.size() > NAME_MAX)
                return base::bad_image("an impossible event of inotify");
            StandIn &stand_in = stand_ins_[event.watch];
            stand_in.name = fmt::format("watch{}", event.watch);
            stand_in.directory |= !event.name.empty() || event.mask & IN_ISDIR;
        }
        for (auto &[number, stand_in] : stand_ins_) {
            TRY(create(stand_in.name, stand_in.directory));
            TRY(add_watch(fd_, number, path(stand_in.name), kQuiet));
            stand_in.watched = true;
        }
        return {};
    }

    std::string path(const std::string &name) const { return fmt::format("/proc/self/fd/{}/{}", scratch_, name); }

    Result<void> create(const std::string &name, bool directory) {
        if ((directory ? mkdirat(scratch_, name.c_str(), 0700) : mknodat(scratch_, name.c_str(), S_IFREG | 0600, 0)) <
            0)
            return base::fail_sys("create a scratch file");
        if (directory)
            return {};
        base::UniqueFd file(openat(scratch_, name.c_str(), O_WRONLY | O_CLOEXEC));
        if (!file || write(file.get(), "x", 1) != 1)
            return base::fail_sys("write a scratch file");
        return {};
    }

    void remove(const std::string &name, bool directory) {
        unlinkat(scratch_, name.c_str(), directory ? AT_REMOVEDIR : 0);
    }

    /// Listens for some kind of event from here on.
    Result<void> listen(int number, uint32_t mask) {
        const StandIn &stand_in = stand_ins_.at(number);
        if (!stand_in.watched)
            return base::unsupported("it came after the end of its watch");
        if (inotify_add_watch(fd_, path(stand_in.name).c_str(), mask) != number)
            return base::fail_sys("change a watch");
        return {};
    }

    void count(const WatchEvent &event) {
        constexpr size_t kUnit = sizeof(inotify_event);
        bytes_ += kUnit + (event.name.empty() ? 0 : (event.name.size() + 1 + kUnit - 1) / kUnit * kUnit);
    }

    Result<void> forge(const WatchEvent &event) {
        const uint32_t what = event.mask & ~static_cast<uint32_t>(IN_ISDIR);
        if (!what || (what & (what - 1)))
            return base::unsupported("it cannot be made to happen again");
        count(event);
        if (what == IN_IGNORED)
            return end_watch(event.watch);
        if (what & kOfTheFileItself)
            return event.name.empty() ? happen_to_itself(event, what) : base::bad_image("it has a name");
        if (!event.name.empty() && (what & (IN_CREATE | IN_DELETE | IN_MOVE)))
            return happen_to_name(event, what);
        return happen_to_file(event, what);
    }

    Result<void> end_watch(int number) {
        StandIn &stand_in = stand_ins_.at(number);
        if (!stand_in.watched || inotify_rm_watch(fd_, number) < 0)
            return base::unsupported("its watch has ended before");
        stand_in.watched = false;
        return {};
    }

    Result<void> happen_to_itself(const WatchEvent &event, uint32_t what) {
        StandIn &stand_in = stand_ins_.at(event.watch);
        TRY(listen(event.watch, what));
        if (what == IN_MOVE_SELF) {
            const std::string moved = stand_in.name + "+";
            if (renameat(scratch_, stand_in.name.c_str(), scratch_, moved.c_str()) < 0)
                return base::fail_sys("move a scratch file");
            stand_in.name = moved;
            return listen(event.watch, kQuiet);
        }
        // IN_IGNORED comes along. It is the next event, or there is too much in the queue, which the caller notices.
        remove(stand_in.name, stand_in.directory);
        stand_in.watched = false;
        if (at_ + 1 < events_.size() && events_[at_ + 1].watch == event.watch && events_[at_ + 1].mask == IN_IGNORED)
            count(events_[++at_]);
        return {};
    }

    std::string child(const WatchEvent &event) const {
        return fmt::format("{}/{}", stand_ins_.at(event.watch).name, event.name);
    }

    /// The other half of a move, if it comes next.
    const WatchEvent *partner(const WatchEvent &event) const {
        if (at_ + 1 >= events_.size() || !event.cookie)
            return nullptr;
        const WatchEvent &next = events_[at_ + 1];
        return next.cookie == event.cookie && (next.mask & IN_MOVED_TO) && !next.name.empty() ? &next : nullptr;
    }

    Result<void> happen_to_name(const WatchEvent &event, uint32_t what) {
        const bool directory = event.mask & IN_ISDIR;
        std::string from = "aside", to = "aside";
        if (what == IN_DELETE || what == IN_MOVED_FROM)
            TRY(create(from = child(event), directory));
        if (what == IN_CREATE)
            from = child(event);
        if (what == IN_MOVED_TO) {
            TRY(create(from, directory));
            to = child(event);
        }
        TRY(listen(event.watch, what));
        int other = event.watch;
        if (const WatchEvent *next = what == IN_MOVED_FROM ? partner(event) : nullptr) {
            to = child(*next);
            TRY(listen(next->watch, next->watch == event.watch ? IN_MOVE : IN_MOVED_TO));
            other = next->watch;
            count(*next);
            at_++;
        }
        if (what == IN_CREATE)
            TRY(create(from, directory));
        else if (what == IN_DELETE)
            remove(from, directory);
        else if (renameat(scratch_, from.c_str(), scratch_, to.c_str()) < 0)
            return base::fail_sys("move a scratch file");
        TRY(listen(event.watch, kQuiet));
        TRY(listen(other, kQuiet));
        remove(what & IN_MOVE ? to : from, directory);
        return {};
    }

    /// What happens to a file or directory, or one in a directory, without changing where it is.
    Result<void> happen_to_file(const WatchEvent &event, uint32_t what) {
        const bool directory = event.mask & IN_ISDIR;
        const std::string name = event.name.empty() ? stand_ins_.at(event.watch).name : child(event);
        if (!event.name.empty())
            TRY(create(name, directory));
        else if (directory != stand_ins_.at(event.watch).directory)
            return base::unsupported("its watch is for a directory and for a file");
        const Result<void> happened = what == IN_ATTRIB ? change_mode(event, name) : use(event, what, name, directory);
        if (!event.name.empty())
            remove(name, directory);
        return happened;
    }

    Result<void> change_mode(const WatchEvent &event, const std::string &name) {
        TRY(listen(event.watch, IN_ATTRIB));
        if (fchmodat(scratch_, name.c_str(), 0700, 0) < 0)
            return base::fail_sys("change the mode of a scratch file");
        return listen(event.watch, kQuiet);
    }

    Result<void> use(const WatchEvent &event, uint32_t what, const std::string &name, bool directory) {
        const bool writes = !directory && (what & (IN_MODIFY | IN_CLOSE_WRITE));
        if (what == IN_OPEN)
            TRY(listen(event.watch, what));
        base::UniqueFd file(openat(scratch_, name.c_str(), (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC));
        if (!file)
            return base::fail_sys("open a scratch file");
        if (what != IN_OPEN)
            TRY(listen(event.watch, what));
        char byte = 'x', entries[1024];
        if (what == IN_MODIFY && write(file.get(), &byte, 1) != 1)
            return base::fail_sys("write a scratch file");
        if (what == IN_ACCESS &&
            (directory ? getdents64(file.get(), entries, sizeof entries) : read(file.get(), &byte, 1)) < 1)
            return base::fail_sys("read a scratch file");
        if (what & IN_CLOSE)
            file.reset();
        return listen(event.watch, kQuiet);
    }

    int fd_, scratch_;
    const std::vector<WatchEvent> &events_;
    std::map<int, StandIn> stand_ins_;
    size_t at_ = 0;
    size_t bytes_ = 0;
};

} // namespace

Result<base::UniqueFd> create_scratch() {
    base::UniqueFd context(fsopen("tmpfs", FSOPEN_CLOEXEC));
    if (!context || fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
        return base::fail_sys("create a file system for scratch files");
    base::UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
    if (!mount)
        return base::fail_sys("create a file system for scratch files");
    return mount;
}

Result<size_t> forge_events(int fd, int scratch, const std::vector<WatchEvent> &events) {
    return Forge(fd, scratch, events).run();
}

} // namespace resource
