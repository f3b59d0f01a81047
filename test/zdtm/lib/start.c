/*
 * Start and end of a test program.
 *
 * The starter forks the daemon and waits for a word in a page that both share. The daemon's children do not inherit
 * the page and the daemon unmaps it in test_daemon(), so nothing of it is left at checkpoint time; a signal would not
 * do, because a program may have become another user by then. Only then the pid file is written, so its existence means
 * that the program may be checkpointed.
 */
#include "zdtm.h"

#include <linux/futex.h>

const char *test_filename = "test.file";
const char *test_dirname = "test.dir";

static const char *pidfile;
static const char *outfile;
static struct test_option *options;
static uint32_t *ready_word;
static volatile uint32_t terminated;

void register_option(struct test_option *option) {
    option->next = options;
    options = option;
}

static void usage(const char *program) {
    fprintf(stderr, "usage: %s --pidfile FILE --outfile FILE [--filename FILE] [--dirname DIR]", program);
    for (struct test_option *o = options; o; o = o->next)
        fprintf(stderr, o->required ? " --%s VALUE" : " [--%s VALUE]", o->name);
    fprintf(stderr, "\n");
    for (struct test_option *o = options; o; o = o->next)
        fprintf(stderr, "  --%-12s %s\n", o->name, o->help);
    exit(2);
}

static bool set_registered(const char *name, const char *value) {
    for (struct test_option *o = options; o; o = o->next) {
        if (strcmp(o->name, name))
            continue;
        o->required = false;
        if (o->kind == OPTION_STRING)
            *(const char **)o->value = value;
        else if (o->kind == OPTION_LONG)
            *(long *)o->value = strtol(value, NULL, 0);
        else
            *(bool *)o->value = strtol(value, NULL, 0) != 0;
        return true;
    }
    return false;
}

/* Every option has a value, given as "--name value" or "--name=value". */
static void parse_options(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        char *name = argv[i];
        if (strncmp(name, "--", 2))
            usage(argv[0]);
        name += 2;
        char *value = strchr(name, '=');
        if (value)
            name = strndup(name, value++ - name);
        else if (++i < argc)
            value = argv[i];
        else
            usage(argv[0]);
        bool known = set_registered(name, value);
        if (!strcmp(name, "pidfile"))
            pidfile = value;
        else if (!strcmp(name, "outfile"))
            outfile = value;
        else if (!strcmp(name, "filename"))
            test_filename = value;
        else if (!strcmp(name, "dirname"))
            test_dirname = value;
        else if (!known)
            usage(argv[0]);
    }
    if (!pidfile || !outfile)
        usage(argv[0]);
    for (struct test_option *o = options; o; o = o->next)
        if (o->required)
            usage(argv[0]);
}

static void on_terminate(int signal) {
    (void)signal;
    int saved = errno;
    terminated = 1;
    syscall(SYS_futex, &terminated, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    errno = saved;
}

static void write_pidfile(pid_t pid) {
    char text[32], temporary[4096];
    int length = snprintf(text, sizeof(text), "%d\n", pid);
    snprintf(temporary, sizeof(temporary), "%s.tmp", pidfile);
    write_file(temporary, text, length);
    must(rename(temporary, pidfile));
}

/* True while the daemon still maps the page. */
static bool still_maps(pid_t daemon) {
    char path[64], key[64];
    snprintf(path, sizeof(path), "/proc/%d/maps", daemon);
    snprintf(key, sizeof(key), "%lx-", (unsigned long)ready_word);
    char *line = proc_value(path, key);
    free(line);
    return line != NULL;
}

/* Exits: 0 once the daemon is ready, 1 if it died before that. */
static void wait_for_daemon(pid_t daemon) {
    static const struct timespec kPoll = {0, 10000000};
    for (;;) {
        syscall(SYS_futex, ready_word, FUTEX_WAIT, 0, &kPoll, NULL, 0);
        if (__atomic_load_n(ready_word, __ATOMIC_SEQ_CST)) {
            while (still_maps(daemon))
                sleep_ms(1);
            write_pidfile(daemon);
            _exit(0);
        }
        int status;
        if (waitpid(daemon, &status, WNOHANG) == daemon) {
            fprintf(stderr, "program ended before it was ready, wait status %#x\n", status);
            _exit(1);
        }
    }
}

static void redirect_standard_files(void) {
    int null = must(open("/dev/null", O_RDONLY));
    int out = must(open(outfile, O_CREAT | O_WRONLY | O_APPEND, 0666));
    must(dup2(null, 0));
    must(dup2(out, 1));
    must(dup2(out, 2));
    if (null > 2)
        close(null);
    if (out > 2)
        close(out);
}

static void start(int argc, char **argv, bool own_session) {
    parse_options(argc, argv);
    ready_word = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t daemon = must(fork());
    if (daemon)
        wait_for_daemon(daemon);
    must(madvise(ready_word, PAGE, MADV_DONTFORK));

    if (own_session)
        must(setsid());
    redirect_standard_files();
    struct sigaction action = {.sa_handler = on_terminate};
    must(sigaction(SIGTERM, &action, NULL));
}

void test_init(int argc, char **argv) {
    start(argc, argv, true);
}

void test_init_no_session(int argc, char **argv) {
    start(argc, argv, false);
}

void test_daemon(void) {
    __atomic_store_n(ready_word, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, ready_word, FUTEX_WAKE, 1, NULL, NULL, 0);
    munmap(ready_word, PAGE);
}

bool test_go(void) {
    return !terminated;
}

void test_waitsig(void) {
    while (!terminated)
        syscall(SYS_futex, &terminated, FUTEX_WAIT, 0, NULL, NULL, 0);
}
