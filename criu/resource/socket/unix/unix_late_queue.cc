// Queues are filled before the first process is forked: a pidfd of a process that will exist later is replaced by a
// stand-in there. When all processes exist, such a queue is passed through once: each message is received and sent
// again by the peer, with the pidfds in their places. The other descriptors of the messages are those that come out.
#include "criu/resource/socket/unix/unix_late_queue.hh"

#include "criu/resource/socket/option_list.hh"
#include "criu/resource/socket/unix/unix_socket.hh"
#include "sk-packet.pb.h"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr uint32_t kThread = O_EXCL; // PIDFD_THREAD
constexpr size_t kMostPassed = 253;  // SCM_MAX_FD
using SkPacket = image::Entry<img::sk_packet_entry>;
using Fetch = std::function<Result<base::UniqueFd>(uint32_t id)>;

struct LateQueue {
    bool late = false; ///< a late file is in it
    std::vector<SkPacket> packets;
};

std::vector<uint32_t> passed_by(const SkPacket &packet) {
    std::vector<uint32_t> ids;
    for (const img::scm_entry &scm : packet.message.scm())
        ids.insert(ids.end(), scm.rights().begin(), scm.rights().end());
    return ids;
}

/// By id of the receiving socket.
Result<std::map<uint32_t, LateQueue>> late_queues(const image::ImageDir &images, const ImageFiles &files) {
    std::map<uint32_t, LateQueue> queues;
    for (auto &packet : TRY(images.read_with_payload<img::sk_packet_entry>(image::ImageKind::SkQueues))) {
        LateQueue &queue = queues[packet.message.id_for()];
        for (uint32_t id : passed_by(packet))
            queue.late |= files.contains(id) && can_be_passed_late(files.at(id));
        queue.packets.push_back(std::move(packet));
    }
    std::erase_if(queues, [](auto &queue) { return !queue.second.late; });
    return queues;
}

/// The descriptors of a message, in their order.
std::vector<base::UniqueFd> descriptors_in(msghdr &head) {
    std::vector<base::UniqueFd> fds;
    for (auto *part = CMSG_FIRSTHDR(&head); part; part = CMSG_NXTHDR(&head, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
            for (size_t at = CMSG_LEN(0); at + sizeof(int) <= part->cmsg_len; at += sizeof(int)) {
                int fd = -1;
                memcpy(&fd, reinterpret_cast<char *>(part) + at, sizeof fd);
                fds.emplace_back(fd);
            }
    return fds;
}

/// Takes the next `length` bytes, or the next packet of that length.
Result<std::vector<base::UniqueFd>> take(int socket, size_t length) {
    std::vector<base::UniqueFd> fds;
    std::vector<std::byte> data(length + 1);
    for (size_t done = 0; done < length || length == 0;) {
        alignas(cmsghdr) char control[CMSG_SPACE(kMostPassed * sizeof(int)) + 256];
        iovec part{data.data(), length - done + (length == 0)};
        msghdr head{};
        head.msg_iov = &part;
        head.msg_iovlen = 1;
        head.msg_control = control;
        head.msg_controllen = sizeof control;
        const ssize_t n = recvmsg(socket, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
            return base::fail_sys("take what waits in a unix socket");
        for (base::UniqueFd &fd : descriptors_in(head))
            fds.push_back(std::move(fd));
        if (n == 0)
            break;
        done += static_cast<size_t>(n);
    }
    return fds;
}

void add_control(std::string &control, int type, const void *data, size_t size) {
    const size_t at = control.size();
    control.resize(at + CMSG_SPACE(size));
    cmsghdr head{};
    head.cmsg_len = CMSG_LEN(size);
    head.cmsg_level = SOL_SOCKET;
    head.cmsg_type = type;
    memcpy(control.data() + at, &head, sizeof head);
    memcpy(control.data() + at + CMSG_LEN(0), data, size);
}

/// `from`: the process that has sent it; 0: ourselves.
Result<void> give(int socket, const SkPacket &packet, const std::vector<base::UniqueFd> &fds, pid_t from) {
    std::string control;
    std::vector<int> numbers;
    for (const base::UniqueFd &fd : fds)
        numbers.push_back(fd.get());
    if (!numbers.empty())
        add_control(control, SCM_RIGHTS, numbers.data(), numbers.size() * sizeof(int));
    if (packet.message.ext().has_creds()) {
        const img::ext_credentials &creds = packet.message.ext().creds();
        const ucred sender{from ? from : getpid(), creds.uid(), creds.gid()};
        add_control(control, SCM_CREDENTIALS, &sender, sizeof sender);
    }
    iovec part{const_cast<std::byte *>(packet.payload.data()), packet.payload.size()};
    msghdr head{};
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    head.msg_control = control.empty() ? nullptr : control.data();
    head.msg_controllen = control.size();
    if (sendmsg(socket, &head, MSG_DONTWAIT | MSG_NOSIGNAL) != static_cast<ssize_t>(packet.payload.size()))
        return base::fail_sys("send what waited in a unix socket");
    return {};
}

/// The one that a task has, or a new one: the same for all messages that it is in.
class LateFiles {
public:
    LateFiles(const ImageFiles &files, const tree::PidMap &pids, const Fetch &fetch)
        : files_(files), pids_(pids), fetch_(fetch) {}

    /// As we have to call who sent something.
    pid_t sender(uint32_t number) const { return pids_.outside(base::VPid(static_cast<pid_t>(number))).value; }

    Result<base::UniqueFd> get(uint32_t id) {
        base::UniqueFd &known = known_[id];
        if (!known)
            known = TRY(fetch_(id));
        const img::pidfd_entry &pidfd = files_.at(id).pidfd();
        if (!known)
            known.reset(static_cast<int>(syscall(SYS_pidfd_open,
                                                 pids_.outside(base::VPid(static_cast<pid_t>(pidfd.nspid()))).value,
                                                 pidfd.flags() & (kThread | static_cast<uint32_t>(O_NONBLOCK)))));
        if (!known)
            return base::fail_sys(fmt::format("pidfd_open of task {}", pidfd.nspid()));
        base::UniqueFd copy(fcntl(known.get(), F_DUPFD_CLOEXEC, 0));
        if (!copy)
            return base::fail_sys("keep a pidfd");
        return copy;
    }

private:
    const ImageFiles &files_;
    const tree::PidMap &pids_;
    const Fetch &fetch_;
    std::map<uint32_t, base::UniqueFd> known_;
};

Result<void> pass_through(int receiver, int sender, const LateQueue &queue, const ImageFiles &files, LateFiles &late) {
    for (const SkPacket &packet : queue.packets) {
        auto fds = TRY(take(receiver, packet.payload.size()));
        const auto ids = passed_by(packet);
        if (fds.size() != ids.size())
            return base::bad_image("sk-queues.img: a message does not carry what it should");
        for (size_t i = 0; i < ids.size(); i++)
            if (can_be_passed_late(files.at(ids[i])))
                fds[i] = TRY(late.get(ids[i]));
        TRY(give(sender, packet, fds, late.sender(packet.message.ext().creds().pid())));
    }
    return {};
}

uint32_t id_of_inode(const ImageFiles &files, uint32_t inode) {
    const auto found = std::ranges::find_if(
        files, [&](auto &file) { return file.second.has_usk() && file.second.usk().ino() == inode; });
    return found == files.end() ? 0 : found->first;
}

Result<void> refill(uint32_t id, const LateQueue &queue, const ImageFiles &files, const Fetch &fetch, LateFiles &late) {
    const auto socket = files.find(id);
    if (socket == files.end() || !socket->second.has_usk())
        return base::bad_image("sk-queues.img: a pidfd is on its way through something that is no unix socket");
    const base::UniqueFd receiver = TRY(fetch(id)),
                         sender = TRY(fetch(id_of_inode(files, socket->second.usk().peer())));
    if (!receiver || !sender)
        return base::unsupported(
            "a pidfd is on its way through a socket that no task has open, or whose peer none has");
    // Reading moves it.
    const int offset = int_option(receiver.get(), SOL_SOCKET, SO_PEEK_OFF, -1);
    TRY(pass_through(receiver.get(), sender.get(), queue, files, late));
    return offset >= 0 ? set_int_option(receiver.get(), SOL_SOCKET, SO_PEEK_OFF, offset, "SO_PEEK_OFF")
                       : Result<void>{};
}

} // namespace

bool can_be_passed_late(const img::file_entry &file) {
    return file.has_pidfd() && file.pidfd().nspid() > 0;
}

Result<base::UniqueFd> late_stand_in() {
    base::UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!fd)
        return base::fail_sys("open /dev/null");
    return fd;
}

Result<void> refill_late_queues(const image::ImageDir &images, const ImageFiles &files, const tree::PidMap &pids,
                                const Fetch &fetch) {
    if (std::ranges::none_of(files, [](auto &file) { return can_be_passed_late(file.second); }))
        return {};
    LateFiles late(files, pids, fetch);
    for (const auto &[id, queue] : TRY(late_queues(images, files)))
        TRY_CTX(refill(id, queue, files, fetch, late), fmt::format("file {} (unix socket)", id));
    return {};
}

} // namespace resource
