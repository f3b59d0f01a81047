/* SO_PEERCRED and SO_PEERGROUPS of connections made by other processes and users, living and dead, on both ends; a
 * server that still listens answers for itself. */
#include "sockets.h"

#include <grp.h>

enum { kSockets = 8 };
static int sockets[kSockets];
static struct ucred peers[kSockets];
static gid_t groups[kSockets][32];
static socklen_t sizes[kSockets];

static void ask(int i, struct ucred *peer, gid_t *list, socklen_t *size) {
    socklen_t length = sizeof(*peer);
    must(getsockopt(sockets[i], SOL_SOCKET, SO_PEERCRED, peer, &length));
    *size = 32 * sizeof(gid_t);
    if (getsockopt(sockets[i], SOL_SOCKET, SO_PEERGROUPS, list, size))
        *size = 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_un address;
    int stream[2], dgram[2];
    int listener = unix_bound(SOCK_STREAM, "server");
    must(chmod("server", 0777));
    must(listen(listener, 5));
    /* A client that has died since: another pid, user and groups. */
    sockets[0] = must(socket(AF_UNIX, SOCK_STREAM, 0));
    pid_t child = must(fork());
    if (child == 0) {
        gid_t list[] = {10, 20, 30};
        must(setgroups(3, list));
        must(setgid(4321));
        must(setuid(1234));
        must(connect(sockets[0], (struct sockaddr *)&address, unix_address(&address, "server")));
        _exit(0);
    }
    expect_wait_status(child, 0);
    sockets[1] = must(accept(listener, NULL, NULL));
    /* A server that has died since. */
    int other = unix_bound(SOCK_SEQPACKET, "other");
    child = must(fork());
    if (child == 0) {
        must(setegid(77));
        must(listen(other, 5));
        _exit(0);
    }
    expect_wait_status(child, 0);
    sockets[2] = unix_connected(SOCK_SEQPACKET, "other");
    sockets[3] = must(accept(other, NULL, NULL));
    /* Pairs: made by ourselves as another user. */
    must(seteuid(555));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, stream));
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram));
    must(seteuid(0));
    sockets[4] = stream[0];
    sockets[5] = stream[1];
    sockets[6] = dgram[0];
    /* Nobody. */
    sockets[7] = unix_bound(SOCK_DGRAM, "nobody");
    for (int i = 0; i < kSockets; i++)
        ask(i, &peers[i], groups[i], &sizes[i]);

    test_daemon();
    test_waitsig();

    for (int i = 0; i < kSockets; i++) {
        struct ucred peer;
        gid_t list[32];
        socklen_t size;
        ask(i, &peer, list, &size);
        check(!memcmp(&peer, &peers[i], sizeof(peer)), "socket %d: peer is pid %d, user %d, group %d, was %d, %d, %d", i,
              peer.pid, peer.uid, peer.gid, peers[i].pid, peers[i].uid, peers[i].gid);
        check(size == sizes[i] && !memcmp(list, groups[i], size), "socket %d: groups of the peer", i);
    }
    check(sends(sockets[0], "a") && receives(sockets[1], "a") && sends(sockets[3], "b") && receives(sockets[2], "b"),
          "connections");
    int client = unix_connected(SOCK_STREAM, "server");
    struct ucred peer;
    socklen_t length = sizeof(peer);
    check(!getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) && peer.pid == getpid() && peer.uid == 0,
          "a new client sees %d as its server", peer.pid);
    return pass();
}
