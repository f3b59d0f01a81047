#include "criu/engine/restore/given_namespaces.hh"

#include "criu/engine/restore/namespaces.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/resource/file/external.hh"

#include "netdev.pb.h"
#include "pidns.pb.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace restore {
namespace {

using tree::NamespaceKind;

Result<base::UniqueFd> check_kind(base::UniqueFd fd, NamespaceKind kind, const std::string &name) {
    const int flag = ioctl(fd.get(), NS_GET_NSTYPE);
    if (flag < 0 || static_cast<uint64_t>(flag) != kernel::clone_flag_of(kind))
        return base::fail(
            base::Error(base::ErrorKind::Usage, fmt::format("{} is not a {} namespace", name, kernel::name_of(kind))));
    return fd;
}

/// What --inherit-fd gives for the key of a namespace that was external at the dump.
Result<base::UniqueFd> inherit(NamespaceKind kind, const std::string &key, const engine::RestoreRequest &request) {
    const int given = resource::given_for(request.files, key);
    if (given < 0)
        return base::fail(base::Error(base::ErrorKind::Usage, fmt::format("Unable to find an external {} namespace: {}",
                                                                          kernel::name_of(kind), key))
                              .hint(fmt::format("give a descriptor of it: --inherit-fd fd[N]:{}", key)));
    base::UniqueFd fd(fcntl(given, F_DUPFD_CLOEXEC, 0));
    if (!fd)
        return base::fail_sys(fmt::format("--inherit-fd fd[{}]:{}", given, key));
    return check_kind(std::move(fd), kind, fmt::format("--inherit-fd fd[{}]:{}", given, key));
}

/// The key of an external namespace; empty for one of the tree's own.
Result<std::string> key_of(const plan::Checkpoint &checkpoint, NamespaceKind kind, uint32_t id) {
    if (kind == NamespaceKind::Net) {
        const auto entry = TRY(checkpoint.images().read_one<img::netns_entry>(image::ImageKind::Netns, id));
        return entry ? entry->ext_key() : std::string();
    }
    const auto entry = TRY(checkpoint.images().read_one<img::pidns_entry>(image::ImageKind::Pidns, id));
    return entry ? entry->ext_key() : std::string();
}

Result<base::UniqueFd> open_joined(const resource::JoinedNamespace &joined) {
    const std::string option = fmt::format("--join-ns {}:{}", kernel::name_of(joined.kind), joined.place);
    const bool is_pid = joined.place.find_first_not_of("0123456789") == std::string::npos;
    const std::string path =
        is_pid ? fmt::format("/proc/{}/ns/{}", joined.place, kernel::name_of(joined.kind)) : joined.place;
    base::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
        return base::fail_sys(option);
    return check_kind(std::move(fd), joined.kind, option);
}

Result<void> become(const std::optional<std::pair<uint32_t, uint32_t>> &ids) {
    if (!ids)
        return {};
    if (setresgid(ids->second, ids->second, ids->second) < 0 || setresuid(ids->first, ids->first, ids->first) < 0)
        return base::fail_sys(fmt::format("become {}, {} in the user namespace", ids->first, ids->second));
    return {};
}

} // namespace

Result<GivenNamespaces> GivenNamespaces::find(const plan::Checkpoint &checkpoint,
                                              const engine::RestoreRequest &request) {
    GivenNamespaces given;
    for (NamespaceKind kind : {NamespaceKind::Net, NamespaceKind::Pid}) {
        if (!has_own(checkpoint, kind))
            continue;
        const std::string key = TRY(key_of(checkpoint, kind, number_in_images(checkpoint.root(), kind)));
        if (key.empty())
            continue;
        given.of_root[kind] = TRY(inherit(kind, key, request));
        given.keys.insert(key);
    }
    for (uint32_t id : restore::below(checkpoint, NamespaceKind::Net))
        if (const std::string key = TRY(key_of(checkpoint, NamespaceKind::Net, id)); !key.empty()) {
            given.below[id] = TRY(inherit(NamespaceKind::Net, key, request));
            given.keys.insert(key);
        }
    for (const resource::JoinedNamespace &joined : request.namespaces.joined)
        given.of_root[joined.kind] = TRY(open_joined(joined));
    return given;
}

Result<void> GivenNamespaces::enter(const resource::NamespaceOptions &options) const {
    for (bool user : {false, true})
        for (const auto &[kind, fd] : of_root)
            if (kind != NamespaceKind::Pid && (kind == NamespaceKind::User) == user && setns(fd.get(), 0) < 0)
                return base::fail_sys(fmt::format("enter the {} namespace that was given", kernel::name_of(kind)));
    for (const resource::JoinedNamespace &joined : options.joined)
        if (joined.kind == NamespaceKind::User)
            TRY(become(joined.ids));
    return {};
}

} // namespace restore
