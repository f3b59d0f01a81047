// Unix sockets, as they come back. The first that is opened makes all of them; the first that is completed, when the
// files on their way through them are open as well, fills their queues and sets everything else.
#include "criu/resource/file/external.hh"
#include "criu/resource/socket/socket_options.hh"
#include "criu/resource/socket/unix/unix_restore.hh"
#include "criu/resource/socket/unix/unix_socket_verbs.hh"

#include "rpc.pb.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>
#include <unordered_set>

namespace resource {

Result<base::UniqueFd> new_unix_socket(uint32_t type) {
    base::UniqueFd fd(socket(AF_UNIX, static_cast<int>(type) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd)
        return base::fail_sys("socket");
    return fd;
}

namespace {

Result<void> check(const img::unix_sk_entry &entry) {
    const uint32_t type = entry.type(), state = entry.state();
    const bool known_type = type == SOCK_STREAM || type == SOCK_DGRAM || type == SOCK_SEQPACKET;
    const bool known_state = state == kUnixEstablished || state == kUnixClosed || state == kUnixListening;
    // CRIU describes every peer outside of the tree as a datagram socket that listens.
    const bool impossible = type == SOCK_DGRAM && state == kUnixListening && !(entry.uflags() & kUnixExternal);
    if (!known_type || !known_state || impossible)
        return base::bad_image(
            fmt::format("files.img: unix socket {} has the type {} and the state {}", entry.ino(), type, state));
    if (entry.uflags() & ~(kUnixExternal | kUnixService | kUnixOfPlugin))
        return base::unsupported(fmt::format("unix socket {} has unknown flags {:#x}", entry.ino(), entry.uflags()));
    if (!entry.name().empty())
        TRY(unix_address(entry.name()));
    return {};
}

struct UnixRestoreStates {
    bool loaded = false;
    std::map<uint32_t, UnixRestoreState> by_net; ///< by the image's number of the network namespace
};

/// Files on their way, by the queue that they wait in.
struct PassedFiles {
    bool loaded = false;
    std::multimap<uint32_t, FileId> by_queue;
};

Result<void> load_passed(PassedFiles &passed, const image::ImageDir &images) {
    if (std::exchange(passed.loaded, true))
        return {};
    for (const auto &packet : TRY(images.read<img::sk_packet_entry>(image::ImageKind::SkQueues)))
        for (const img::scm_entry &scm : packet.scm())
            for (uint32_t id : scm.rights())
                passed.by_queue.emplace(packet.id_for(), id);
    return {};
}

uint32_t net_of(const FileOpenContext &context, const img::unix_sk_entry &entry) {
    return entry.ns_id() ? entry.ns_id() : context.net_namespace;
}

Result<void> note(const FileOpenContext &context, UnixRestoreState &state, uint32_t id,
                  const img::unix_sk_entry &entry) {
    TRY(check(entry));
    if ((entry.uflags() & (kUnixOfPlugin | kUnixService)) || given_for(context.options, socket_key(entry.ino())) >= 0) {
        state.given.insert(id);
        return {};
    }
    UnixNode &node = state.nodes[entry.ino()];
    if (node.entry)
        return base::bad_image(fmt::format("files.img: there are two unix sockets {}", entry.ino()));
    node.entry = &entry;
    node.id = FileId(id);
    return {};
}

/// What waits in no socket that there is would be lost.
Result<void> load_queues(const FileOpenContext &context, UnixRestoreStates &states) {
    std::unordered_map<uint32_t, UnixRestoreState *> known;
    for (auto &[net, state] : states.by_net) {
        for (uint32_t id : state.given)
            known[id] = &state;
        for (auto &[inode, node] : state.nodes) {
            known[node.id.value] = &state;
            for (const img::ext_unix_pending &pending : node.entry->ext().pending())
                known[pending.queue()] = &state;
        }
    }
    for (auto &packet : TRY(context.images.read_with_payload<img::sk_packet_entry>(image::ImageKind::SkQueues))) {
        const uint32_t queue = packet.message.id_for();
        if (packet.message.ext().has_portid())
            continue; // netlink's
        if (!known.contains(queue))
            return base::bad_image(fmt::format("sk-queues.img: file {} is not a unix socket", queue));
        known[queue]->queues[queue].push_back(std::move(packet));
    }
    return {};
}

Result<UnixRestoreState *> load(FileOpenContext &context, const img::unix_sk_entry &entry) {
    UnixRestoreStates &states = context.states.of<UnixRestoreStates>();
    if (!std::exchange(states.loaded, true)) {
        for (auto &[id, file] : context.files)
            if (file.type() == img::UNIXSK)
                TRY(note(context, states.by_net[net_of(context, file.usk())], id, file.usk()));
        TRY(load_queues(context, states));
        for (auto &[net, state] : states.by_net)
            state.go_to = context.go_to;
    }
    return &states.by_net[net_of(context, entry)];
}

bool is_plain(const UnixNode &node) {
    return !node.external() && !node.made && (node.is(SOCK_DGRAM) || node.entry->state() != kUnixEstablished);
}

bool has_own_name(const UnixNode &node) {
    return !node.external() && !node.entry->name().empty() &&
           (node.is(SOCK_DGRAM) || node.entry->state() != kUnixEstablished);
}

Result<void> make_all(FileOpenContext &context, UnixRestoreState &state) {
    TRY(make_unix_datagram_pairs(context.log, state));
    std::vector<BindJob> jobs;
    for (auto &[inode, node] : state.nodes) {
        if (is_plain(node))
            node.made = TRY(new_unix_socket(node.entry->type()));
        if (!has_own_name(node))
            continue;
        jobs.push_back({node.made.get(), node.entry->name(), node.entry});
        node.bound = true;
    }
    TRY(bind_unix_sockets(state, jobs));
    if (state.go_to)
        TRY(state.go_to(0));
    TRY(make_unix_connections(context.log, state));
    return make_unix_listeners(context.log, state);
}

/// A restore that fails leaves no new names.
void remove_new_files(const UnixRestoreState &state) {
    for (const std::string &path : state.new_files)
        unlink(path.c_str());
}

Result<void> finish_node(const kernel::Outside &outside, const UnixNode &node) {
    const img::unix_sk_entry &entry = *node.entry;
    // What the kernel sets on one end it has set on the other as well.
    if (entry.shutdown() && shutdown(node.fd(), static_cast<int>(entry.shutdown()) - 1) < 0 && errno != ENOTCONN)
        return base::fail_sys("shutdown");
    TRY(restore_socket_options(outside, node.fd(), entry.opts()));
    if (fcntl(node.fd(), F_SETFL, static_cast<int>(entry.flags() & O_NONBLOCK)) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return {};
}

/// Lets go of the other ends that nobody has. Something unread in them is what resets a connection.
void close_gone_ends(UnixRestoreState &state) {
    for (auto &[inode, node] : state.nodes) {
        if (node.gone && node.entry->ext().reset()) {
            const char byte = 0;
            (void)send(node.fd(), &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        node.gone.reset();
    }
    for (WaitingClient &waiting : state.waiting)
        waiting.gone.reset();
}

Result<void> complete_all(FileOpenContext &context, UnixRestoreState &state) {
    for (auto &[inode, node] : state.nodes)
        if (auto found = context.opened.find(node.id.value); found != context.opened.end())
            node.opened = found->second;
    TRY(fill_unix_queues(context, state));
    TRY(restore_unix_file_modes(state));
    close_gone_ends(state);
    for (auto &[inode, node] : state.nodes)
        if (!node.external())
            TRY_CTX(finish_node(context.outside, node), fmt::format("unix socket {}", inode));
    return {};
}

Result<base::UniqueFd> open_with_plugin(FileOpenContext &context, uint32_t inode) {
    if (auto fd = TRY(context.plugins.restore_unix_socket(inode)))
        return fd;
    return base::fail(base::Error(base::ErrorKind::Unsupported,
                                  fmt::format("unix socket {} was saved by a plugin, and none restores it", inode))
                          .hint("say with -L where the plugin is that took part in the dump"));
}

/// The socket over which the task had asked for its own dump: the answer waits in it, from a service that is gone.
Result<base::UniqueFd> make_answered(const img::unix_sk_entry &entry) {
    int ends[2];
    if (socketpair(AF_UNIX, static_cast<int>(entry.type()) | SOCK_CLOEXEC, 0, ends) < 0)
        return base::fail_sys("socketpair");
    base::UniqueFd ours(ends[0]), theirs(ends[1]);
    img::criu_resp answer;
    answer.set_type(img::DUMP);
    answer.set_success(true);
    answer.mutable_dump()->set_restored(true);
    const std::string bytes = answer.SerializeAsString();
    if (send(ours.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0)
        return base::fail_sys("answer the task that has dumped itself");
    if (fcntl(theirs.get(), F_SETFL, static_cast<int>(entry.flags() & O_NONBLOCK)) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return theirs;
}

} // namespace

namespace unix_socket {

Result<std::string> inherit_key(FileOpenContext &, const img::file_entry &entry) {
    return socket_key(entry.usk().ino());
}

Result<base::UniqueFd> open(FileOpenContext &context, const img::file_entry &entry) {
    UnixRestoreState &state = *TRY(load(context, entry.usk()));
    if (entry.usk().uflags() & kUnixService)
        return make_answered(entry.usk());
    if (entry.usk().uflags() & kUnixOfPlugin)
        return open_with_plugin(context, entry.usk().ino());
    if (!std::exchange(state.made, true))
        if (auto made = make_all(context, state); !made) {
            remove_new_files(state);
            return base::fail(std::move(made).error());
        }
    UnixNode *node = state.find(entry.usk().ino());
    if (!node || !node->made || node->id.value != entry.id())
        return base::bad_image(fmt::format("files.img: unix socket {} was not made", entry.usk().ino()));
    return std::move(node->made);
}

Place place(const img::file_entry &entry) {
    return {.net = entry.usk().ns_id(), .mount = static_cast<uint32_t>(std::max(entry.usk().mnt_id(), 0))};
}

Result<std::vector<FileId>> carries(const FileImages &images, const img::file_entry &entry) {
    PassedFiles &passed = images.states.of<PassedFiles>();
    TRY(load_passed(passed, images.images));
    std::vector<FileId> files;
    const auto add = [&](uint32_t queue) {
        for (auto [at, end] = passed.by_queue.equal_range(queue); at != end; ++at)
            files.push_back(at->second);
    };
    add(entry.id());
    for (const img::ext_unix_pending &pending : entry.usk().ext().pending())
        add(pending.queue());
    return files;
}

Result<void> complete(FileOpenContext &context, int, const img::file_entry &entry) {
    UnixRestoreState &state = *TRY(load(context, entry.usk()));
    if (std::exchange(state.completed, true))
        return {};
    auto outcome = complete_all(context, state);
    if (!outcome)
        remove_new_files(state);
    return outcome;
}

/// Calling listen(2) again makes SO_PEERCRED's process the real one, where that is this task.
Result<void> settle(FileSettleContext &context, int fd, const img::file_entry &entry) {
    const img::unix_sk_entry &usk = entry.usk();
    const img::ext_credentials &creds = usk.ext().peer_creds();
    if (usk.state() == kUnixListening && context.first_holder && creds.pid() == context.pid &&
        identity_of(true, creds) == own_identity())
        (void)listen(fd, static_cast<int>(usk.backlog()));
    return restore_owner(fd, usk.fown(), usk.flags());
}

} // namespace unix_socket
} // namespace resource
