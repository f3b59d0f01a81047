/*
 * The out file. One write per line: several tasks of a test append to it.
 */
#include "zdtm.h"

#include <stdarg.h>

static void put(const char *prefix, const char *format, va_list arguments, const char *suffix) {
    char text[2048];
    int length = snprintf(text, sizeof(text), "%d: %s", getpid(), prefix);
    length += vsnprintf(text + length, sizeof(text) - length, format, arguments);
    if (length > (int)sizeof(text) - 1)
        length = sizeof(text) - 1;
    length += snprintf(text + length, sizeof(text) - length, "%s", suffix);
    if (length > (int)sizeof(text) - 1)
        length = sizeof(text) - 1;
    ssize_t written = write(1, text, length);
    (void)written;
}

void test_msg(const char *format, ...) {
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    put("", format, arguments, "");
    va_end(arguments);
    errno = saved;
}

int fail_at(const char *file, int line, int error, const char *format, ...) {
    char prefix[256], suffix[128];
    const char *name = strrchr(file, '/');
    snprintf(prefix, sizeof(prefix), "FAIL: %s:%d: ", name ? name + 1 : file, line);
    snprintf(suffix, sizeof(suffix), " (errno = %d %s)\n", error, strerror(error));
    va_list arguments;
    va_start(arguments, format);
    put(prefix, format, arguments, suffix);
    va_end(arguments);
    return 1;
}

int pass(void) {
    static const char text[] = "PASS\n";
    ssize_t written = write(1, text, sizeof(text) - 1);
    (void)written;
    return 0;
}

long must_value(const char *file, int line, const char *text, long value) {
    if (value != -1)
        return value;
    fail_at(file, line, errno, "set-up: %s", text);
    _exit(1);
}
