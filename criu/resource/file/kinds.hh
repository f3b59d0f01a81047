// Every kind of descriptor, each defined at the end of the file of its name. For the table, and for kinds that pass a
// part of their work on to another.
#pragma once

#include "criu/resource/file/file.hh"

namespace resource::bpf_map {
extern const FileKind kKind;
}
namespace resource::eventfd {
extern const FileKind kKind;
}
namespace resource::eventpoll {
extern const FileKind kKind;
}
namespace resource::fanotify {
extern const FileKind kKind;
}
namespace resource::fifo {
extern const FileKind kKind;
}
namespace resource::inotify {
extern const FileKind kKind;
}
namespace resource::io_uring {
extern const FileKind kKind;
}
namespace resource::memfd {
extern const FileKind kKind;
}
namespace resource::namespace_file {
extern const FileKind kKind;
}
namespace resource::netlink_socket {
extern const FileKind kKind;
}
namespace resource::packet_socket {
extern const FileKind kKind;
}
namespace resource::pidfd {
extern const FileKind kKind;
}
namespace resource::pipe {
extern const FileKind kKind;
}
namespace resource::refused_socket {
extern const FileKind kKind;
}
namespace resource::regular {
extern const FileKind kKind;
}
namespace resource::signalfd {
extern const FileKind kKind;
}
namespace resource::timerfd {
extern const FileKind kKind;
}
namespace resource::tun {
extern const FileKind kKind;
}
namespace resource {
extern const FileKind kTty;
extern const FileKind kUnixSocket;
extern const FileKind kInetSocket;
} // namespace resource
