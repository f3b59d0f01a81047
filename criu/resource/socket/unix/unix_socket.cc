#include "criu/resource/socket/unix/unix_socket.hh"
#include "criu/kernel/namespaces.hh"

#include "criu/resource/socket/unix/unix_socket_verbs.hh"

#include <cstring>
#include <fmt/format.h>
#include <sys/socket.h>

namespace resource {

constexpr size_t kFamilySize = offsetof(sockaddr_un, sun_path);

Result<UnixAddress> unix_address(std::string_view name) {
    UnixAddress out;
    // A path may fill sun_path; its final zero is then the kernel's own.
    std::string_view text = is_path(name) ? unix_path(name) : name;
    if (text.empty() || text.size() > sizeof out.address.sun_path)
        return base::bad_image(fmt::format("a unix socket has a name of {} bytes", name.size()));
    out.address.sun_family = AF_UNIX;
    std::memcpy(out.address.sun_path, text.data(), text.size());
    const bool ends = is_path(name) && text.size() < sizeof out.address.sun_path;
    out.length = static_cast<socklen_t>(kFamilySize + text.size() + (ends ? 1 : 0));
    return out;
}

std::string unix_name(const UnixAddress &address) {
    if (address.length <= kFamilySize)
        return {};
    return std::string(address.address.sun_path,
                       std::min(address.length - kFamilySize, sizeof address.address.sun_path));
}

std::string_view unix_path(std::string_view name) {
    return name.substr(0, name.find('\0'));
}

std::string show_unix_name(std::string_view name) {
    if (name.empty())
        return "without a name";
    std::string out(name);
    if (is_path(name))
        out = unix_path(name);
    else
        out[0] = '@';
    for (char &c : out)
        if (c >= 0 && c < ' ')
            c = '?';
    return out;
}

namespace {

/// What a peer that is no task of the tree is called in the tree's own pid namespace: one that has ended, mostly.
pid_t number_inside(const FileDumpContext &context, int fd) {
    const tree::Namespace *ns = context.namespaces.of_root(tree::NamespaceKind::Pid);
    if (!ns || ns->origin == tree::NamespaceOrigin::Host)
        return 0;
    ucred peer{};
    const auto asked = kernel::inside_pids(ns->member, [&]() -> Result<void> {
        socklen_t size = sizeof peer;
        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ? base::fail_sys("SO_PEERCRED")
                                                                         : Result<void>{};
    });
    return asked ? peer.pid : 0;
}

} // namespace

bool peer_credentials(const FileDumpContext &context, int fd, img::ext_credentials *credentials) {
    ucred peer{};
    socklen_t size = sizeof peer;
    constexpr auto kNobody = static_cast<uid_t>(-1);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid == kNobody)
        return false;
    const pid_t number = context.pids.inside(base::Pid(peer.pid)).value;
    credentials->set_pid(static_cast<uint32_t>(number || !peer.pid ? number : number_inside(context, fd)));
    credentials->set_uid(peer.uid);
    credentials->set_gid(peer.gid);
    size = 0;
    getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, nullptr, &size); // says how many, and ERANGE
    std::vector<gid_t> groups(size / sizeof(gid_t));
    size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (!groups.empty() && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0)
        for (gid_t group : groups)
            credentials->add_groups(group);
    return true;
}

extern const FileKind kUnixSocket{
    .name = "unix socket",
    .type = img::UNIXSK,
    .about = {.saved = "stream, datagram and sequenced packets; names (abstract, files, removed and renamed ones), "
                       "peers, shut down sides, backlog, connections that wait to be accepted; queues with boundaries, "
                       "descriptors, credentials, senders and out-of-band bytes; what SO_PEERCRED answers",
              .restored = "queues are filled by sending again",
              .limits = "peers outside of the tree need `--ext-unix-sk` (datagram) or `--external unix[INODE]`; data "
                        "in connections that nobody has accepted yet can only be saved by a dump that ends the tree; "
                        "SCM_RIGHTS of kinds that are opened late is refused, except pidfds between two sockets "
                        "that are each other's peers; so are extended BPF filters"},
    .matches = unix_socket::matches,
    .dump = unix_socket::dump,
    .finish = unix_socket::finish,
    .destructive_step = unix_socket::destructive_step,
    .place = unix_socket::place,
    .carries = unix_socket::carries,
    .open = unix_socket::open,
    .inherit_key = unix_socket::inherit_key,
    .complete = unix_socket::complete,
    .settle = unix_socket::settle,
    .examine = unix_socket::examine};

} // namespace resource
