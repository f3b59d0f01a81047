#include "criu/kernel/unix_diag.hh"

#include "criu/kernel/netlink.hh"

#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>

namespace kernel {
namespace {

void read_attribute(UnixSocket &sk, int type, std::string_view value) {
    switch (type) {
    case UNIX_DIAG_NAME:
        sk.name = value;
        break;
    case UNIX_DIAG_VFS: {
        const auto vfs = value_of<unix_diag_vfs>(value);
        sk.file = {vfs.udiag_vfs_dev, vfs.udiag_vfs_ino};
        break;
    }
    case UNIX_DIAG_PEER:
        sk.peer = value_of<uint32_t>(value);
        break;
    case UNIX_DIAG_ICONS:
        for (; value.size() >= sizeof(uint32_t); value.remove_prefix(sizeof(uint32_t)))
            sk.waiting.push_back(value_of<uint32_t>(value));
        break;
    case UNIX_DIAG_RQLEN: {
        const auto lengths = value_of<unix_diag_rqlen>(value);
        sk.receive_queue = lengths.udiag_rqueue;
        sk.send_queue = lengths.udiag_wqueue;
        break;
    }
    case UNIX_DIAG_SHUTDOWN:
        sk.shutdown = value_of<uint8_t>(value);
        break;
    default:
        break;
    }
}

} // namespace

Result<std::unordered_map<uint32_t, UnixSocket>> unix_sockets() {
    std::unordered_map<uint32_t, UnixSocket> found;
    struct {
        nlmsghdr head;
        unix_diag_req body;
    } request{};
    request.body.sdiag_family = AF_UNIX;
    request.body.udiag_states = ~0u;
    request.body.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS | UDIAG_SHOW_RQLEN;
    auto visit = [&](std::string_view body) -> Result<void> {
        if (body.size() < sizeof(unix_diag_msg))
            return base::fail_sys(EBADMSG, "list of unix sockets");
        const auto head = value_of<unix_diag_msg>(body);
        UnixSocket sk{.inode = head.udiag_ino, .type = head.udiag_type, .state = head.udiag_state};
        TRY(for_each_attribute(body.substr(sizeof head),
                               [&](int type, std::string_view value) { read_attribute(sk, type, value); }));
        if (sk.inode)
            found.insert_or_assign(sk.inode, std::move(sk));
        return {};
    };
    TRY_CTX(netlink_dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request, sizeof request, visit),
            "list all unix sockets");
    return found;
}

} // namespace kernel
