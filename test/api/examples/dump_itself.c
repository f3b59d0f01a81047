/* A program that checkpoints itself, and knows afterwards whether it is the one that was restored.
 *
 * usage: dump_itself CRIU FOLDER */
#include <criu/criu.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    criu_opts *opts;
    if (criu_local_init_opts(&opts) < 0)
        return 2;
    int folder = open(argv[2], O_DIRECTORY | O_RDONLY);
    criu_local_set_service_binary(opts, argv[1]);
    criu_local_set_images_dir_fd(opts, folder);
    criu_local_set_leave_running(opts, true);
    /* No pid: the caller. */
    int result = criu_local_dump(opts);
    const char *said = result == 1 ? "restored" : result == 0 ? "dumped" : criu_local_get_errmsg(opts);
    criu_local_free_opts(opts);
    int out = openat(folder, "said", O_WRONLY | O_CREAT | O_APPEND, 0600);
    dprintf(out, "%s\n", said);
    close(out);
    return result < 0;
}
