// Unix sockets, as they are saved. What getsockopt does not tell (peers, clients that wait to be accepted) comes from
// one list of all unix sockets of the machine.
#include "criu/resource/file/external.hh"
#include "criu/resource/socket/option_list.hh"
#include "criu/resource/socket/socket_options.hh"
#include "criu/resource/socket/unix/unix_socket.hh"
#include "criu/resource/socket/unix/unix_socket_verbs.hh"

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace resource {
namespace {

Result<UnixDumpState *> load(FileDumpContext &context) {
    UnixDumpState &state = context.states.of<UnixDumpState>();
    if (state.loaded)
        return &state;
    TRY(context.networks.in_each([&](uint32_t net) -> Result<void> {
        for (auto &[inode, sk] : TRY(kernel::unix_sockets())) {
            state.networks.emplace(inode, net);
            state.sockets.emplace(inode, std::move(sk));
        }
        return {};
    }));
    for (auto &[inode, sk] : state.sockets)
        for (uint32_t client : sk.waiting)
            if (client)
                state.waiting_at[client] = inode;
    state.loaded = true;
    return &state;
}

/// What both a socket that has a descriptor and one outside of the tree have.
void write_kernel_facts(FileDumpContext &context, const kernel::UnixSocket &sk, img::unix_sk_entry *entry) {
    const UnixDumpState &state = context.states.of<UnixDumpState>();
    entry->set_ino(sk.inode);
    entry->set_type(sk.type);
    entry->set_state(sk.state);
    entry->set_backlog(sk.send_queue);
    auto waits = state.waiting_at.find(sk.inode);
    entry->set_peer(waits != state.waiting_at.end() ? waits->second : sk.peer.value_or(0));
    if (sk.shutdown)
        entry->set_shutdown(static_cast<img::sk_shutdown>(sk.shutdown & 3));
    entry->set_ns_id(state.networks.at(sk.inode));
}

/// The peer exists for the kernel alone: its last descriptor was closed.
void dump_gone_peer(int fd, img::unix_sk_entry *entry) {
    img::ext_unix_sk *ext = entry->mutable_ext();
    ext->set_peer_gone(true);
    UnixAddress name;
    name.length = sizeof name.address;
    if (getpeername(fd, name.get(), &name.length) == 0)
        ext->set_peer_name(unix_name(name));
}

Result<void> dump_details(const FileDumpContext &context, int fd, const kernel::UnixSocket &sk,
                          img::unix_sk_entry *entry) {
    img::ext_unix_sk *ext = entry->mutable_ext();
    if (sk.peer && *sk.peer == 0 && entry->peer() == 0)
        dump_gone_peer(fd, entry);
    if (img::ext_credentials credentials; peer_credentials(context, fd, &credentials))
        *ext->mutable_peer_creds() = credentials;
    // SO_ERROR would take it away; there is no other error that a unix socket can have.
    pollfd error{fd, 0, 0};
    if (poll(&error, 1, 0) == 1 && (error.revents & POLLERR))
        ext->set_reset(true);
    return {};
}

Result<void> postpone(FileDumpContext &context, std::vector<UnixDumpState::Kept> &list, const OpenFile &file,
                      const img::file_entry &entry) {
    base::UniqueFd fd(fcntl(file.fd, F_DUPFD_CLOEXEC, 0));
    if (!fd)
        return base::fail_sys("keep a socket");
    list.push_back({std::move(fd), entry});
    context.postponed = true;
    return {};
}

// ---- clients that were not accepted yet ----------------------------------------------------------------------------

/// The other end of such a client has no descriptor: what it holds can only be read by accepting it. Memory of what
/// the client has sent tells whether there is anything.
bool may_hold_data(const UnixDumpState &state, uint32_t client) {
    auto found = state.sockets.find(client);
    return found == state.sockets.end() || found->second.send_queue > 0;
}

/// Without accepting it nobody tells who connected: most likely it was the task that has the client.
void guess_credentials(const FileDumpContext &context, const UnixDumpState &state, img::ext_unix_pending *pending) {
    auto holder = state.dumped.find(pending->client());
    if (holder == state.dumped.end())
        return;
    auto task = std::ranges::find(context.tasks, holder->second, &tree::TaskFacts::pid);
    if (task == context.tasks.end() || task->zombie)
        return;
    constexpr size_t kEffective = 1;
    img::ext_credentials *creds = pending->mutable_creds();
    creds->set_pid(static_cast<uint32_t>(task->vpid.value));
    creds->set_uid(task->status().uid[kEffective]);
    creds->set_gid(task->status().gid[kEffective]);
    for (uint32_t group : task->status().groups)
        creds->add_groups(group);
}

Result<void> describe_waiting(FileDumpContext &context, const UnixDumpState &state, UnixDumpState::Kept &listener) {
    for (uint32_t client : state.sockets.at(listener.entry.usk().ino()).waiting) {
        img::ext_unix_pending *pending = listener.entry.mutable_usk()->mutable_ext()->add_pending();
        pending->set_client(client);
        guess_credentials(context, state, pending);
    }
    return context.images.add(image::ImageKind::Files, 0, listener.entry);
}

Result<void> accept_one(FileDumpContext &context, UnixDumpState &state, UnixDumpState::Kept &listener,
                        uint32_t client) {
    UnixAddress name;
    name.length = sizeof name.address;
    base::UniqueFd fd(accept4(listener.fd.get(), name.get(), &name.length, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd)
        return base::fail_sys("accept a connection that waits");
    img::ext_unix_pending *pending = listener.entry.mutable_usk()->mutable_ext()->add_pending();
    pending->set_client(client);
    if (!client)
        pending->set_client_name(unix_name(name));
    peer_credentials(context, fd.get(), pending->mutable_creds());
    pending->set_queue(state.next_queue_id--);
    return dump_unix_queue(context, fd.get(), static_cast<int>(listener.entry.usk().type()), pending->queue(), 0);
}

Result<void> accept_waiting(FileDumpContext &context, UnixDumpState &state, UnixDumpState::Kept &listener) {
    const int flags = fcntl(listener.fd.get(), F_GETFL);
    fcntl(listener.fd.get(), F_SETFL, flags | O_NONBLOCK);
    for (uint32_t client : state.sockets.at(listener.entry.usk().ino()).waiting)
        TRY(accept_one(context, state, listener, client));
    return context.images.add(image::ImageKind::Files, 0, listener.entry);
}

Result<void> finish_listener(FileDumpContext &context, UnixDumpState &state, UnixDumpState::Kept &listener) {
    const auto &waiting = state.sockets.at(listener.entry.usk().ino()).waiting;
    if (std::ranges::none_of(waiting, [&](uint32_t client) { return may_hold_data(state, client); }))
        return describe_waiting(context, state, listener);
    if (context.options.tree_survives)
        return base::fail(
            base::Error(base::ErrorKind::Unsupported,
                        fmt::format("listening socket {} ({}) has connections with data in them that were not accepted "
                                    "yet: they can only be saved by a dump that ends the tree",
                                    listener.entry.usk().ino(), show_unix_name(listener.entry.usk().name())))
                .hint("dump without --leave-running and --leave-stopped, or again a moment later"));
    constexpr uint64_t kUnknown = 256u << 10; // a client that is gone may have sent so much by default
    for (uint32_t client : waiting) {
        auto found = state.sockets.find(client);
        context.destructive_bytes += (found == state.sockets.end() ? kUnknown : found->second.send_queue) + 4096;
    }
    state.to_accept.push_back(&listener);
    return {};
}

// ---- a client that has asked for its own dump -----------------------------------------------------------------------

/// It waits for our answer, and finds it when it is restored (unix_socket_restore.cc).
bool leads_to_us(const FileOptions &options, const kernel::UnixSocket &sk) {
    return options.service_socket && sk.peer == options.service_socket;
}

// ---- peers outside of the tree -------------------------------------------------------------------------------------

bool is_external(const FileOptions &options, uint32_t inode) {
    return is_external(options, "unix", std::to_string(inode)) ||
           std::ranges::find(options.ext_unix_inodes, inode) != options.ext_unix_inodes.end();
}

/// Who has a socket open, for people. Looks through all of /proc.
std::string find_holder(uint32_t inode) {
    const std::string wanted = fmt::format("socket:[{}]", inode);
    std::error_code error;
    for (auto &process : std::filesystem::directory_iterator("/proc", error)) {
        const std::string pid = process.path().filename();
        if (pid.find_first_not_of("0123456789") != std::string::npos)
            continue;
        for (auto &fd : std::filesystem::directory_iterator(process.path() / "fd", error))
            if (std::filesystem::read_symlink(fd.path(), error) == wanted)
                return ", open in task " + pid;
    }
    return {};
}

Result<void> refuse_outsider(const kernel::UnixSocket &own, const kernel::UnixSocket &peer, std::string why) {
    auto name = show_unix_name(peer.name.empty() ? own.name : peer.name);
    return base::fail(
        base::Error(base::ErrorKind::Unsupported,
                    fmt::format("unix socket {} is connected to socket {} ({}{}), which is not part of the tree{}",
                                own.inode, peer.inode, name, find_holder(peer.inode), why))
            .hint(fmt::format("--external unix[{}] restores it as a connection whose other end has gone, or with "
                              "datagrams --ext-unix-sk connects it to that name again",
                              peer.inode)));
}

/// The peer's own entry: its address, for a restore to connect to.
Result<void> dump_outsider(FileDumpContext &context, const kernel::UnixSocket &peer) {
    img::file_entry entry;
    entry.set_type(img::UNIXSK);
    entry.set_id(context.new_id().value);
    img::unix_sk_entry *usk = entry.mutable_usk();
    usk->set_id(entry.id());
    usk->set_flags(O_RDWR);
    write_kernel_facts(context, peer, usk);
    usk->set_uflags(kUnixExternal);
    usk->set_peer(0);
    usk->set_backlog(0);
    usk->set_name(peer.name);
    for (auto set : {&img::fown_entry::set_uid, &img::fown_entry::set_euid, &img::fown_entry::set_signum,
                     &img::fown_entry::set_pid_type, &img::fown_entry::set_pid})
        (usk->mutable_fown()->*set)(0);
    img::sk_opts_entry *opts = usk->mutable_opts();
    opts->set_so_sndbuf(0), opts->set_so_rcvbuf(0), opts->set_so_snd_tmo_sec(0), opts->set_so_snd_tmo_usec(0),
        opts->set_so_rcv_tmo_sec(0), opts->set_so_rcv_tmo_usec(0);
    return context.images.add(image::ImageKind::Files, 0, entry);
}

Result<bool> accept_outsider(const FileOptions &options, const kernel::UnixSocket &own,
                             const kernel::UnixSocket &peer) {
    if (is_external(options, peer.inode) || is_external(options, own.inode))
        return true;
    const bool any = options.ext_unix_sk && options.ext_unix_inodes.empty();
    if (any && peer.type == SOCK_DGRAM && !peer.name.empty())
        return true;
    TRY(refuse_outsider(own, peer,
                        any ? peer.type == SOCK_DGRAM ? "; it has no name" : "; only datagram sockets can connect again"
                            : ""));
    return false;
}

/// Plugins may take the sockets whose peers are outside.
Result<void> ask_plugins(FileDumpContext &context, UnixDumpState &state) {
    for (UnixDumpState::Kept &kept : state.undecided) {
        img::unix_sk_entry *usk = kept.entry.mutable_usk();
        const uint32_t peer = state.sockets.at(usk->ino()).peer.value_or(0);
        if (!state.dumped.contains(peer) && TRY(context.plugins.dump_unix_socket(kept.fd.get(), usk->ino()))) {
            usk->set_uflags(kUnixOfPlugin);
            state.of_plugins.insert(usk->ino());
        }
        TRY(context.images.add(image::ImageKind::Files, 0, kept.entry));
    }
    return {};
}

/// A datagram socket that sends to one which does not send back to it.
bool refers_to_another(const UnixDumpState &state, const kernel::UnixSocket &sk) {
    const auto peer = state.sockets.find(sk.peer.value_or(0));
    return sk.peer && peer != state.sockets.end() && peer->second.peer != sk.inode;
}

Result<void> check_peers(FileDumpContext &context, UnixDumpState &state) {
    std::set<uint32_t> outsiders;
    for (auto [inode, holder] : state.dumped) {
        const kernel::UnixSocket &own = state.sockets.at(inode);
        if (leads_to_us(context.options, own))
            continue;
        auto waits = state.waiting_at.find(inode);
        const uint32_t peer = waits != state.waiting_at.end() ? waits->second : own.peer.value_or(0);
        if (!peer || state.dumped.contains(peer) || state.of_plugins.contains(inode))
            continue;
        auto found = state.sockets.find(peer);
        if (found == state.sockets.end())
            return base::unsupported(fmt::format("unix socket {} is connected to socket {} of another network "
                                                 "namespace",
                                                 inode, peer));
        TRY_CTX(accept_outsider(context.options, own, found->second), fmt::format("task {}", holder.value));
        if (outsiders.insert(peer).second)
            TRY(dump_outsider(context, found->second));
    }
    return {};
}

/// Clients from outside wait to be accepted: as if they had gone.
Result<void> check_clients(FileDumpContext &context, const UnixDumpState &state) {
    for (const UnixDumpState::Kept &listener : state.busy) {
        const kernel::UnixSocket &own = state.sockets.at(listener.entry.usk().ino());
        for (uint32_t client : own.waiting)
            if (auto found = state.sockets.find(client); found != state.sockets.end() && !state.dumped.contains(client))
                TRY_CTX(accept_outsider(context.options, own, found->second), "a connection that was not accepted yet");
    }
    return {};
}

struct UnixExamination {
    bool loaded = false;
    std::unordered_map<uint32_t, kernel::UnixSocket> sockets;
    std::unordered_map<uint32_t, uint32_t> waiting_at;
};

Result<UnixExamination *> load(KindStates &states) {
    auto &state = states.of<UnixExamination>();
    if (std::exchange(state.loaded, true))
        return &state;
    state.sockets = TRY(kernel::unix_sockets());
    for (const auto &[inode, sk] : state.sockets)
        for (uint32_t client : sk.waiting)
            state.waiting_at.emplace(client, inode);
    return &state;
}

} // namespace

namespace unix_socket {

Result<void> examine(const OpenFile &file, const Examined &known) {
    const UnixExamination &state = *TRY(load(known.states));
    const auto found = state.sockets.find(static_cast<uint32_t>(file.stat.st_ino));
    if (found == state.sockets.end())
        return {}; // of a network namespace of the tree's own
    const kernel::UnixSocket &own = found->second;
    auto look_at = [&](uint32_t other) -> Result<void> {
        const auto peer = state.sockets.find(other);
        if (other && !known.sockets.contains(other) && peer != state.sockets.end())
            TRY(accept_outsider(known.options, own, peer->second));
        return {};
    };
    const auto waits = state.waiting_at.find(own.inode);
    TRY(look_at(waits != state.waiting_at.end() ? waits->second : own.peer.value_or(0)));
    for (uint32_t client : own.waiting)
        TRY_CTX(look_at(client), "a connection that was not accepted yet");
    return {};
}

bool matches(const OpenFile &file) {
    return file.family == AF_UNIX && file.link.starts_with("socket:[");
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    UnixDumpState &state = *TRY(load(context));
    const auto inode = static_cast<uint32_t>(file.stat.st_ino);
    auto found = state.sockets.find(inode);
    if (found == state.sockets.end())
        return base::unsupported("it belongs to another network namespace");
    const kernel::UnixSocket &sk = found->second;
    state.dumped.emplace(inode, file.holder);
    img::unix_sk_entry *usk = entry.mutable_usk();
    usk->set_id(file.id.value);
    usk->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    usk->set_uflags(0);
    write_kernel_facts(context, sk, usk);
    TRY(dump_owner(context, file, usk->mutable_fown()));
    TRY(dump_socket_options(file.fd, usk->mutable_opts()));
    TRY(dump_unix_name(context, file, sk, usk));
    if (leads_to_us(context.options, sk)) {
        usk->set_uflags(kUnixService);
        usk->set_state(kUnixClosed);
        usk->set_peer(0);
        return {};
    }
    TRY(dump_details(context, file.fd, sk, usk));
    if (!sk.waiting.empty())
        return postpone(context, state.busy, file, entry);
    if (sk.state != kUnixListening)
        TRY(dump_unix_queue(context, file.fd, sk.type, file.id.value, inode));
    if (sk.peer && context.plugins.has_unix_hook())
        return postpone(context, state.undecided, file, entry);
    if (state.waiting_at.contains(inode) || refers_to_another(state, sk)) {
        state.clients.push_back(entry);
        context.postponed = true;
    }
    return {};
}

Result<void> write_clients(FileDumpContext &context, UnixDumpState &state) {
    for (const img::file_entry &client : std::exchange(state.clients, {}))
        TRY(context.images.add(image::ImageKind::Files, 0, client));
    return {};
}

Result<void> finish(FileDumpContext &context) {
    UnixDumpState &state = context.states.of<UnixDumpState>();
    TRY(ask_plugins(context, state));
    TRY(check_peers(context, state));
    TRY(check_clients(context, state));
    for (UnixDumpState::Kept &listener : state.busy)
        TRY(finish_listener(context, state, listener));
    if (context.options.tree_survives || state.busy.empty())
        return write_clients(context, state);
    return {}; // behind the listeners, which are completed by the destructive step
}

Result<bool> destructive_step(FileDumpContext &context) {
    UnixDumpState &state = context.states.of<UnixDumpState>();
    const auto listeners = std::exchange(state.to_accept, {});
    const bool any = !listeners.empty() || !state.clients.empty();
    for (UnixDumpState::Kept *listener : listeners)
        TRY(accept_waiting(context, state, *listener));
    TRY(write_clients(context, state));
    return any;
}

} // namespace unix_socket
} // namespace resource
