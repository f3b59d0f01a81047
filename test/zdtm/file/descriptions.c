/* Open file descriptions shared by dup, by fork and across the tree: one offset and one set of flags each. */
#include "zdtm.h"

static int file, twin, other, late;
static pid_t root;

static int grandchild(void *unused) {
    (void)unused;
    must(dup2(late, 300));
    close(late);
    child_wait();
    check(same_description(getpid(), file, root, twin), "the grandchild's description is another one");
    check(same_description(getpid(), 300, getppid(), late), "description of child and grandchild");
    check(lseek(file, 0, SEEK_CUR) == 111, "offset seen by the grandchild: %ld", (long)lseek(file, 0, SEEK_CUR));
    check(lseek(file, 222, SEEK_SET) == 222, "lseek");
    return 0;
}

static int child(void *unused) {
    (void)unused;
    late = must(open(test_filename, O_RDWR));
    must(lseek(late, 33, SEEK_SET));
    pid_t pid = spawn(grandchild, NULL);
    must(lseek(late, 44, SEEK_SET));
    close(other);
    child_wait();
    check(lseek(late, 0, SEEK_CUR) == 44, "offset of the child's file");
    finish_child(pid);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    root = getpid();
    file = must(open(test_filename, O_CREAT | O_RDWR, 0644));
    must(ftruncate(file, 1000));
    twin = must(dup(file));
    other = must(open(test_filename, O_RDWR));
    must(fcntl(twin, F_SETFD, FD_CLOEXEC));
    must(lseek(file, 10, SEEK_SET));
    must(lseek(other, 20, SEEK_SET));
    pid_t pid = spawn(child, NULL);
    test_daemon();
    test_waitsig();
    check(lseek(twin, 0, SEEK_CUR) == 10 && lseek(other, 0, SEEK_CUR) == 20, "offsets");
    check(same_description(root, file, root, twin), "dup is lost");
    check(!same_description(root, file, root, other), "two descriptions have become one");
    check(fcntl(file, F_GETFD) == 0 && fcntl(twin, F_GETFD) == FD_CLOEXEC, "close-on-exec");
    must(lseek(file, 111, SEEK_SET));
    must(fcntl(file, F_SETFL, O_APPEND));
    check(fcntl(twin, F_GETFL) & O_APPEND, "flags are not shared");
    finish_child(pid);
    check(lseek(twin, 0, SEEK_CUR) == 222, "the grandchild's offset is not seen");
    return pass();
}
