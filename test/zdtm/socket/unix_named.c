/* Unix sockets with names: absolute, relative, abstract, deleted; listening, and accepting new clients after restore.
 */
#include "sockets.h"

static char absolute[80];

static void check_server(int listener, const char *name, int connected, int accepted) {
    struct sockaddr_un address;
    socklen_t length = sizeof(address);
    check(getpeername(connected, (struct sockaddr *)&address, &length) == 0, "%s: peer name", name);
    check(name[0] == '@' ? !strncmp(address.sun_path + 1, name + 1, strlen(name + 1)) : !strcmp(address.sun_path, name),
          "%s: peer is %s", name, address.sun_path);
    check(sends(connected, "ping") && receives(accepted, "ping"), "%s: connection", name);
    check(int_option(listener, SOL_SOCKET, SO_ACCEPTCONN) == 1, "%s: does not listen", name);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char here[4096], abstract[64];
    must(getcwd(here, sizeof(here)) ? 0 : -1);
    check(snprintf(absolute, sizeof(absolute), "%s/absolute", here) < (int)sizeof(absolute),
          "the scratch folder has a long name");
    snprintf(abstract, sizeof(abstract), "@zdtm-abstract-%d", getpid());
    const char *names[] = {absolute, "relative", abstract, "deleted"};
    int listeners[4], connected[4], accepted[4];
    for (int i = 0; i < 4; i++) {
        listeners[i] = unix_bound(SOCK_STREAM, names[i]);
        must(listen(listeners[i], 5));
        connected[i] = unix_connected(SOCK_STREAM, names[i]);
        accepted[i] = must(accept(listeners[i], NULL, NULL));
    }
    must(unlink("deleted"));
    must(chmod("relative", 0741));
    struct stat before, after;
    must(stat("relative", &before));

    test_daemon();
    test_waitsig();

    for (int i = 0; i < 4; i++)
        check_server(listeners[i], names[i], connected[i], accepted[i]);
    check(access("deleted", F_OK) == -1, "the deleted name is back");
    check(stat("relative", &after) == 0 && after.st_mode == before.st_mode && after.st_uid == before.st_uid,
          "mode of the socket file: %o", after.st_mode);
    for (int i = 0; i < 3; i++) {
        int client = unix_connected(SOCK_STREAM, names[i]);
        int server = must(accept(listeners[i], NULL, NULL));
        check(sends(client, "new") && receives(server, "new"), "%s: new client", names[i]);
    }
    return pass();
}
