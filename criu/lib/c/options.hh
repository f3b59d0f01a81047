// A client's options, as the library keeps them: the message of protobuf-c, and what its pointers point to.
#pragma once

#include "criu/criu.h"

#include <deque>
#include <string>
#include <vector>

namespace lib {

/// A repeated field of messages.
template <class Message> struct Messages {
    std::deque<Message> items; ///< do not move
    std::vector<Message *> pointers;
    void add(const Message &message, size_t &count, Message **&list) {
        pointers.push_back(&items.emplace_back(message));
        count = pointers.size();
        list = pointers.data();
    }
};

} // namespace lib

struct criu_opts {
    CriuOpts rpc = CRIU_OPTS__INIT;

    std::deque<std::string> texts; ///< of the message; do not move
    std::deque<std::vector<char *>> text_lists;
    lib::Messages<ExtMountMap> ext_mounts;
    lib::Messages<CriuVethPair> veths;
    lib::Messages<CgroupRoot> cg_roots;
    lib::Messages<InheritFd> inherit_fds;
    lib::Messages<UnixSk> unix_sockets;
    lib::Messages<JoinNamespace> joins;
    CriuPageServerInfo page_server = CRIU_PAGE_SERVER_INFO__INIT;

    int (*notify)(char *action, criu_notify_arg_t na) = nullptr;
    criu_service_comm reached_by = CRIU_COMM_BIN;
    std::string service; ///< path of the socket, or name of the program
    int service_fd = -1;
    std::string message; ///< why the last request failed

    /// A copy that lives as long as the options.
    char *keep(const char *text) { return texts.emplace_back(text).data(); }
};

namespace lib {

/// The options of the functions without `local`; null before criu_init_opts().
extern criu_opts *common;
/// The terminal of the last notification orphan-pts-master.
extern int terminal;

} // namespace lib
