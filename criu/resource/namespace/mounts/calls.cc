#include "criu/resource/namespace/mounts/calls.hh"

#include "criu/resource/namespace/mounts/file_systems.hh"
#include "criu/resource/namespace/mounts/table.hh"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace resource::mounts::calls {
namespace {

std::unexpected<base::Error> fail_with_log(int context, std::string what) {
    base::Error error = base::Error::sys(std::move(what));
    // The file system says what it did not like: "e tmpfs: Unknown parameter 'x'".
    char text[256];
    if (const ssize_t n = read(context, text, sizeof text); n > 2)
        error.hint(fmt::format("the kernel says: {}", std::string_view(text + 2, static_cast<size_t>(n - 2))));
    return base::fail(std::move(error));
}

/// Options that mountinfo prints and nobody may give.
bool is_report(std::string_view option) {
    return option == "seclabel" || option == "newinstance" || option == "inode64" || option.empty() ||
           option.starts_with("release_agent="); // of the hierarchy, not of the mount
}

Result<void> set_option(int context, const std::string &option) {
    if (option.starts_with("name=") && fsconfig(context, FSCONFIG_SET_FLAG, "none", nullptr, 0) < 0)
        return fail_with_log(context, "option none"); // control groups without a controller
    const size_t equals = option.find('=');
    const bool set = equals == std::string::npos
                         ? fsconfig(context, FSCONFIG_SET_FLAG, option.c_str(), nullptr, 0) == 0
                         : fsconfig(context, FSCONFIG_SET_STRING, option.substr(0, equals).c_str(),
                                    option.substr(equals + 1).c_str(), 0) == 0;
    return set ? Result<void>() : fail_with_log(context, fmt::format("option {}", option));
}

Result<void> set_options(int context, std::string_view options) {
    while (!options.empty()) {
        const size_t end = std::min(options.find(','), options.size());
        const std::string option(options.substr(0, end));
        options.remove_prefix(std::min(end + 1, options.size()));
        if (!is_report(option))
            TRY(set_option(context, option));
    }
    return {};
}

} // namespace

Result<UniqueFd> make_file_system(const Entry &entry, uint32_t flags, const std::string &device) {
    const std::string type = type_of(entry), source = device.empty() ? entry.source() : device;
    if (type.empty())
        return base::unsupported(
            fmt::format("file systems of the type {}", img::fstype_Name(static_cast<img::fstype>(entry.fstype()))));
    UniqueFd context(fsopen(type.c_str(), FSOPEN_CLOEXEC));
    if (!context)
        return base::fail_sys(fmt::format("open a file system of the type {}", type));
    if (!source.empty() && fsconfig(context.get(), FSCONFIG_SET_STRING, "source", source.c_str(), 0) < 0)
        return fail_with_log(context.get(), "set its source");
    TRY(set_options(context.get(), entry.options()));
    for (auto [flag, name] : {std::pair{kSynchronous, "sync"}, {kDirSync, "dirsync"}, {kReadOnly, "ro"}})
        if (flags & flag)
            TRY(set_option(context.get(), name));
    if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
        return fail_with_log(context.get(), fmt::format("make a file system of the type {}", type));
    UniqueFd mounted(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
    if (!mounted)
        return fail_with_log(context.get(), "mount it");
    return mounted;
}

Result<void> make_read_only(int mounted) {
    UniqueFd context(fspick(mounted, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH));
    if (!context)
        return base::fail_sys("fspick");
    TRY(set_option(context.get(), "ro"));
    if (fsconfig(context.get(), FSCONFIG_CMD_RECONFIGURE, nullptr, nullptr, 0) < 0)
        return fail_with_log(context.get(), "make it read-only");
    return {};
}

Result<UniqueFd> clone(int directory, const std::string &path) {
    UniqueFd copy(static_cast<int>(
        syscall(SYS_open_tree, directory, path.c_str(),
                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT | (path.empty() ? AT_EMPTY_PATH : 0))));
    if (!copy)
        return base::fail_sys(fmt::format("open_tree({})", path));
    return copy;
}

Result<void> attach(int mounted, int directory, const std::string &path) {
    if (syscall(SYS_move_mount, mounted, "", directory, path.c_str(),
                MOVE_MOUNT_F_EMPTY_PATH | (path.empty() ? MOVE_MOUNT_T_EMPTY_PATH : 0)) < 0)
        return base::fail_sys("attach it");
    return {};
}

mount_attr attributes_of(const Entry &entry) {
    constexpr std::pair<uint32_t, uint64_t> kBits[] = {{kReadOnly, MOUNT_ATTR_RDONLY},
                                                       {kNoSuid, MOUNT_ATTR_NOSUID},
                                                       {kNoDev, MOUNT_ATTR_NODEV},
                                                       {kNoExec, MOUNT_ATTR_NOEXEC},
                                                       {kNoDirAtime, MOUNT_ATTR_NODIRATIME}};
    mount_attr attributes{};
    for (auto [flag, bit] : kBits)
        (entry.flags() & flag ? attributes.attr_set : attributes.attr_clr) |= bit;
    attributes.attr_clr |= MOUNT_ATTR__ATIME;
    attributes.attr_set |= entry.flags() & kNoAtime       ? MOUNT_ATTR_NOATIME
                           : entry.flags() & kStrictAtime ? MOUNT_ATTR_STRICTATIME
                                                          : MOUNT_ATTR_RELATIME;
    return attributes;
}

Result<void> change(int mounted, mount_attr attributes, int flags) {
    if (syscall(SYS_mount_setattr, mounted, "", AT_EMPTY_PATH | flags, &attributes, sizeof attributes) < 0)
        return base::fail_sys("mount_setattr");
    return {};
}

Result<void> set_propagation(int mounted, uint64_t type, int flags) {
    mount_attr attributes{};
    attributes.propagation = type;
    return change(mounted, attributes, flags);
}

Result<UniqueFd> open_terminal(int mounted, uint32_t number) {
    std::vector<UniqueFd> in_the_way;
    for (;;) {
        UniqueFd master(openat(mounted, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
        unsigned made = 0;
        if (!master || ioctl(master.get(), TIOCGPTN, &made) < 0)
            return base::fail_sys("open ptmx");
        if (made == number)
            return master;
        if (made > number)
            return base::fail(base::ErrorKind::Busy, fmt::format("the terminal {} is in use", number));
        in_the_way.push_back(std::move(master));
    }
}

std::optional<uint32_t> terminal_number(const Entry &entry, std::string_view path) {
    uint32_t number = 0;
    const auto [rest, error] = std::from_chars(path.begin(), path.end(), number);
    constexpr uint32_t kMost = 1u << 20;
    const bool is_one = entry.fstype() == img::DEVPTS && error == std::errc() && rest == path.end() && number < kMost;
    return is_one ? std::optional(number) : std::nullopt;
}

} // namespace resource::mounts::calls
