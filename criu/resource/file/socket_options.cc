#include "criu/resource/file/socket_options.hh"
#include <sys/socket.h>
namespace resource {
static uint32_t get(int fd, int option) {
    int value = 0;
    socklen_t size = sizeof value;
    getsockopt(fd, SOL_SOCKET, option, &value, &size);
    return static_cast<uint32_t>(value);
}
static void set(int fd, int option, int value) {
    setsockopt(fd, SOL_SOCKET, option, &value, sizeof value);
}
base::Result<void> dump_socket_options(int fd, img::sk_opts_entry *opts) {
    opts->set_so_sndbuf(get(fd, SO_SNDBUF));
    opts->set_so_rcvbuf(get(fd, SO_RCVBUF));
    opts->set_so_snd_tmo_sec(0), opts->set_so_snd_tmo_usec(0), opts->set_so_rcv_tmo_sec(0),
        opts->set_so_rcv_tmo_usec(0);
    opts->set_so_passcred(get(fd, SO_PASSCRED));
    return {};
}
base::Result<void> restore_socket_options(int fd, const img::sk_opts_entry &opts) {
    set(fd, SO_SNDBUFFORCE, static_cast<int>(opts.so_sndbuf() / 2));
    set(fd, SO_RCVBUFFORCE, static_cast<int>(opts.so_rcvbuf() / 2));
    set(fd, SO_PASSCRED, opts.so_passcred());
    return {};
}
} // namespace resource
