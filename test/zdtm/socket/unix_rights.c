/* Descriptors in flight: several per message, of all kinds, sockets inside of sockets, and a cycle. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int channel[2], inner[2], pipe_ends[2], cycle[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, channel));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, inner));
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, cycle));
    must(pipe(pipe_ends));
    int file = must(open(test_filename, O_CREAT | O_RDWR, 0600));
    must(write(file, "contents", 8));
    must(lseek(file, 3, SEEK_SET));
    int kept = must(dup(file));
    must(write(pipe_ends[1], "in the pipe", 11));
    int first[] = {file, pipe_ends[0]}, second[] = {inner[0]}, in_inner[] = {pipe_ends[1]};
    send_fds(inner[1], in_inner, 1);
    send_fds(channel[0], first, 2);
    send_fds(channel[0], second, 1);
    /* Each end holds the other in its queue. */
    send_fds(cycle[0], &cycle[0], 1);
    send_fds(cycle[1], &cycle[1], 1);
    close(file);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    close(inner[0]);

    test_daemon();
    test_waitsig();

    int fds[4];
    char text[32] = {0};
    check(receive_fds(channel[1], fds, 4) == 2, "first message");
    check(read(fds[0], text, 5) == 5 && !strcmp(text, "tents"), "file in flight: '%s'", text);
    check(same_description(getpid(), kept, getpid(), fds[0]), "the file in flight is another description");
    check(read(fds[1], text, 32) == 11, "pipe in flight");
    int reader = fds[1];
    check(receive_fds(channel[1], fds, 4) == 1, "second message");
    int inside = fds[0];
    check(receive_fds(inside, fds, 4) == 1 && write(fds[0], "z", 1) == 1 && read(reader, text, 1) == 1,
          "descriptor in a socket in flight");
    check(sends(inner[1], "q") && receives(inside, "q"), "socket in flight is not connected");
    check(receive_fds(cycle[1], fds, 4) == 1 && sends(fds[0], "x") && receives(cycle[1], "x"), "cycle");
    return pass();
}
