/* Checkpoints a process and brings it back. libcriu(3) goes through it.
 *
 * usage: dump_and_restore CRIU FOLDER PID */
#include <criu/criu.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static int told(char *action, criu_notify_arg_t na) {
    printf("%s %d\n", action, criu_notify_pid(na));
    return 0; /* go on; anything else would make the request fail */
}

static void must(const char *what, int result) {
    if (result >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, criu_get_errmsg());
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int folder = open(argv[2], O_DIRECTORY | O_RDONLY);
    if (folder < 0)
        return 2;
    must("options", criu_init_opts());
    criu_set_service_binary(argv[1]); /* without it: criu from PATH */
    must("version", criu_check_version(40000));
    must("kernel", criu_check());

    criu_set_images_dir_fd(folder);
    criu_set_log_level(CRIU_LOG_DEBUG);
    criu_set_log_file("dump.log");
    criu_set_notify_cb(told);
    criu_set_pid(atoi(argv[3]));
    must("dump", criu_dump());

    criu_set_log_file("restore.log");
    int pid = criu_restore_child(); /* its parent is this program */
    must("restore", pid);
    printf("restored %d\n", pid);
    int status = 0;
    waitpid(pid, &status, 0);
    printf("ended %d\n", status);
    criu_free_opts();
    return 0;
}
