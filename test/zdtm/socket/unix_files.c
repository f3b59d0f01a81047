/* Files of unix sockets that were renamed, replaced, or removed and made again; sockets bound but not listening; clients
 * with names of their own; names chosen by the kernel. */
#include "sockets.h"

static void check_name(int fd, const char *name) {
    struct sockaddr_un address = {0};
    socklen_t length = sizeof(address);
    check(!getsockname(fd, (struct sockaddr *)&address, &length) && !strcmp(address.sun_path, name),
          "name is '%s' instead of '%s'", address.sun_path, name);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    /* The way servers appear in one step. */
    int renamed = unix_bound(SOCK_STREAM, "temporary");
    must(listen(renamed, 5));
    must(rename("temporary", "final"));
    /* Two generations of one name. */
    int old = unix_bound(SOCK_STREAM, "same");
    must(listen(old, 5));
    int old_client = unix_connected(SOCK_STREAM, "same"), old_server = must(accept(old, NULL, NULL));
    must(unlink("same"));
    int young = unix_bound(SOCK_STREAM, "same");
    must(listen(young, 5));
    int young_client = unix_connected(SOCK_STREAM, "same"), young_server = must(accept(young, NULL, NULL));
    /* Its name belongs to a regular file now. */
    int replaced = unix_bound(SOCK_DGRAM, "replaced");
    must(unlink("replaced"));
    close(must(open("replaced", O_CREAT | O_WRONLY, 0600)));
    int idle = unix_bound(SOCK_SEQPACKET, "idle");
    int client = unix_bound(SOCK_STREAM, "client");
    struct sockaddr_un address;
    must(connect(client, (struct sockaddr *)&address, unix_address(&address, "final")));
    int server = must(accept(renamed, NULL, NULL));
    /* Bound after it was connected. */
    int pair[2];
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    must(bind(pair[0], (struct sockaddr *)&address, unix_address(&address, "one-of-a-pair")));
    int automatic = must(socket(AF_UNIX, SOCK_DGRAM, 0));
    must(bind(automatic, (struct sockaddr *)&(sa_family_t){AF_UNIX}, sizeof(sa_family_t)));
    struct sockaddr_un before = {0}, after = {0};
    socklen_t length = sizeof(before);
    must(getsockname(automatic, (struct sockaddr *)&before, &length));
    socklen_t automatic_length = length;

    test_daemon();
    test_waitsig();

    check_name(renamed, "temporary");
    check(access("temporary", F_OK) == -1, "the old name is back");
    int fresh = unix_connected(SOCK_STREAM, "final"), met = must(accept(renamed, NULL, NULL));
    check(sends(fresh, "new") && receives(met, "new"), "renamed server");
    check(sends(old_client, "old") && receives(old_server, "old"), "connection of the first generation");
    check(sends(young_client, "young") && receives(young_server, "young"), "connection of the second generation");
    fresh = unix_connected(SOCK_STREAM, "same");
    fcntl(old, F_SETFL, O_NONBLOCK);
    check(accept(old, NULL, NULL) == -1 && errno == EAGAIN, "the removed server gets clients");
    met = must(accept(young, NULL, NULL));
    check(sends(fresh, "new") && receives(met, "new"), "second server of a name");
    struct stat st;
    check_name(replaced, "replaced");
    check(stat("replaced", &st) == 0 && S_ISREG(st.st_mode), "the file that took a socket's name is gone");
    check_name(idle, "idle");
    check(stat("idle", &st) == 0 && S_ISSOCK(st.st_mode), "bound socket's file");
    must(listen(idle, 1));
    check_name(client, "client");
    length = sizeof(after);
    check(!getpeername(server, (struct sockaddr *)&after, &length) && !strcmp(after.sun_path, "client"),
          "client's name is '%s'", after.sun_path);
    check(sends(client, "hi") && receives(server, "hi"), "client with a name");
    check_name(pair[0], "one-of-a-pair");
    check(sends(pair[1], "pair") && receives(pair[0], "pair") && sends(pair[0], "riap") && receives(pair[1], "riap"),
          "pair that was bound later");
    length = sizeof(after);
    check(!getsockname(automatic, (struct sockaddr *)&after, &length) && length == automatic_length &&
              !memcmp(&before, &after, length),
          "name chosen by the kernel");
    return pass();
}
