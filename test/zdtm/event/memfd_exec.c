/* A program in a memfd that memfd_create has returned can be run before and after: that description counts as no writer.
 * One that was opened again for writing counts, and forbids it. */
#include "zdtm.h"

#include <sys/sendfile.h>
#include <sys/wait.h>

static int make(const char *name) {
    int program = must(open("/bin/true", O_RDONLY)), fd = must(memfd_create(name, MFD_CLOEXEC));
    struct stat st;
    must(fstat(program, &st));
    for (off_t done = 0; done < st.st_size;)
        must(sendfile(fd, program, &done, st.st_size - done));
    must(close(program));
    return fd;
}

/* Wait status of the program, or -errno. */
static int run(int fd) {
    char *argv[] = {"true", NULL}, *envp[] = {NULL};
    pid_t pid = must(fork());
    if (!pid) {
        fexecve(fd, argv, envp);
        _exit(100 + errno);
    }
    int status;
    must(waitpid(pid, &status, 0));
    return WEXITSTATUS(status) >= 100 ? 100 - WEXITSTATUS(status) : status;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char path[64];
    int plain = make("plain"), mapped = make("mapped"), written = make("written");
    must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0) == MAP_FAILED ? -1 : 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", written);
    must(open(path, O_RDWR));
    check(run(plain) == 0 && run(mapped) == 0 && run(written) == -ETXTBSY, "before: %d %d %d", run(plain), run(mapped),
          run(written));
    test_daemon();
    test_waitsig();
    check(run(plain) == 0, "plain: %d", run(plain));
    check(run(mapped) == 0, "mapped: %d", run(mapped));
    check(run(written) == -ETXTBSY, "open for writing: %d", run(written));
    return pass();
}
