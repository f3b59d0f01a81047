/* A tree of both kinds: a 32-bit program one of whose children is a program of 64 bits, the other one of 32 that runs all the time. */
#include "zdtm.h"

static volatile unsigned int *counter;

static int become_sleep(void *unused) {
    (void)unused;
    child_ready();
    execl("/bin/sleep", "sleep", "1000", NULL);
    return 1;
}

static int count(void *unused) {
    (void)unused;
    child_ready();
    for (;;) {
        (*counter)++;
        sleep_ms(1);
    }
    return 0;
}

static bool is_program_of_64_bits(pid_t pid) {
    char path[64], head[5] = "";
    snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    int fd = must(open(path, O_RDONLY));
    must(read(fd, head, sizeof(head)));
    close(fd);
    return head[4] == 2;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    counter = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t other = spawn(become_sleep, NULL), same = spawn(count, NULL);
    while (!is_program_of_64_bits(other))
        sleep_ms(1);
    wait_until_asleep(other);
    test_daemon();
    test_waitsig();
    check(is_program_of_64_bits(other), "the child is of 32 bits now");
    check(kill(other, SIGTERM) == 0, "the child of 64 bits is gone");
    expect_wait_status(other, SIGTERM);
    unsigned int before = *counter;
    for (int i = 0; i < 2000 && *counter == before; i++)
        sleep_ms(1);
    check(*counter != before, "the child of 32 bits does not run");
    kill(same, SIGKILL);
    expect_wait_status(same, SIGKILL);
    return pass();
}
