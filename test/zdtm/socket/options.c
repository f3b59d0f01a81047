/* Options of the socket level: buffers, timeouts, linger, priority, mark, reuse, filter; on unix, UDP and TCP sockets.
 */
#include "sockets.h"

#include <linux/filter.h>
#include <sys/time.h>

struct option {
    int name, value;
};
static const struct option kOptions[] = {
    {SO_PRIORITY, 5},  {SO_MARK, 77},     {SO_REUSEADDR, 1}, {SO_DONTROUTE, 1}, {SO_OOBINLINE, 1}, {SO_KEEPALIVE, 1},
    {SO_BUSY_POLL, 3}, {SO_TIMESTAMP, 1}, {SO_NO_CHECK, 1},  {SO_RXQ_OVFL, 1},  {SO_PASSCRED, 1},
};
#define COUNT ARRAY_SIZE(kOptions)

int main(int argc, char **argv) {
    test_init(argc, argv);
    static const int kKinds[3][2] = {{AF_UNIX, SOCK_DGRAM}, {AF_INET, SOCK_DGRAM}, {AF_INET6, SOCK_STREAM}};
    int fds[3], values[3][COUNT], send_buffer[3], receive_buffer[3];
    struct timeval limit = {12, 500000}, limit_after;
    struct linger linger = {1, 44}, linger_after;
    for (int i = 0; i < 3; i++) {
        fds[i] = must(socket(kKinds[i][0], kKinds[i][1], 0));
        for (size_t j = 0; j < COUNT; j++) {
            setsockopt(fds[i], SOL_SOCKET, kOptions[j].name, &kOptions[j].value, sizeof(int));
            values[i][j] = int_option(fds[i], SOL_SOCKET, kOptions[j].name);
        }
        int size = 30000 + i * 1000;
        must(setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
        must(setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
        must(setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
        must(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
        send_buffer[i] = int_option(fds[i], SOL_SOCKET, SO_SNDBUF);
        receive_buffer[i] = int_option(fds[i], SOL_SOCKET, SO_RCVBUF);
    }
    struct sock_filter code[] = {{BPF_RET | BPF_K, 0, 0, 3}}, code_after[4];
    struct sock_fprog program = {1, code};
    must(setsockopt(fds[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));

    test_daemon();
    test_waitsig();

    for (int i = 0; i < 3; i++) {
        for (size_t j = 0; j < COUNT; j++)
            check(int_option(fds[i], SOL_SOCKET, kOptions[j].name) == values[i][j],
                  "socket %d: option %d is %d instead of %d", i, kOptions[j].name,
                  int_option(fds[i], SOL_SOCKET, kOptions[j].name), values[i][j]);
        check(int_option(fds[i], SOL_SOCKET, SO_SNDBUF) == send_buffer[i] &&
                  int_option(fds[i], SOL_SOCKET, SO_RCVBUF) == receive_buffer[i],
              "socket %d: buffers", i);
        socklen_t length = sizeof(limit_after);
        check(!getsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &limit_after, &length) &&
                  !memcmp(&limit, &limit_after, length),
              "socket %d: time limit", i);
        length = sizeof(linger_after);
        check(!getsockopt(fds[i], SOL_SOCKET, SO_LINGER, &linger_after, &length) &&
                  !memcmp(&linger, &linger_after, length),
              "socket %d: linger", i);
    }
    socklen_t count = 4;
    check(!getsockopt(fds[1], SOL_SOCKET, 26 /* SO_GET_FILTER */, code_after, &count) && count == 1 &&
              !memcmp(code, code_after, sizeof(code)),
          "filter");
    return pass();
}
