/* Clients that wait to be accepted, in order, with what the server will know of them, and their limit. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_un address = {0};
    socklen_t length;
    int listener = unix_bound(SOCK_STREAM, "listener");
    must(listen(listener, 2));
    int first = unix_bound(SOCK_STREAM, "first"), second = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(connect(first, (struct sockaddr *)&address, unix_address(&address, "listener")));
    must(connect(second, (struct sockaddr *)&address, unix_address(&address, "listener")));
    int closing = unix_connected(SOCK_STREAM, "listener");
    must(shutdown(closing, SHUT_WR));
    test_daemon();
    test_waitsig();
    int late = must(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    check(connect(late, (struct sockaddr *)&address, unix_address(&address, "listener")) == -1 && errno == EAGAIN,
          "the queue takes more than the backlog says");
    int clients[] = {first, second, closing};
    for (int i = 0; i < 3; i++) {
        memset(&address, 0, sizeof(address));
        length = sizeof(address);
        int server = must(accept(listener, (struct sockaddr *)&address, &length));
        check(!strcmp(address.sun_path, i == 0 ? "first" : ""), "client %d is '%s'", i, address.sun_path);
        struct ucred peer;
        length = sizeof(peer);
        check(!getsockopt(server, SOL_SOCKET, SO_PEERCRED, &peer, &length) && peer.pid == getpid(), "client %d has pid %d",
              i, peer.pid);
        check(sends(server, "welcome") && receives(clients[i], "welcome"), "client %d", i);
        char byte;
        if (i < 2)
            check(sends(clients[i], "thanks") && receives(server, "thanks"), "server %d", i);
        else
            check(recv(server, &byte, 1, 0) == 0, "the closed half is open");
    }
    return pass();
}
