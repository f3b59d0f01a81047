/* Growing log files: what is appended between two checkpoints is there, and a mapping of the growing file too. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int log = must(open(test_filename, O_CREAT | O_WRONLY | O_APPEND, 0644));
    int tail = must(open(test_filename, O_RDONLY));
    unsigned written = 0, checked = 0;
    test_daemon();
    do {
        must(write(log, &written, sizeof(written)));
        written++;
        if (written % 1000 == 0)
            sleep_ms(1);
    } while (test_go() && written < 50000);
    test_waitsig();
    unsigned value;
    while (read(tail, &value, sizeof(value)) == sizeof(value)) {
        check(value == checked, "entry %u is %u", checked, value);
        checked++;
    }
    check(checked == written, "%u entries instead of %u", checked, written);
    return pass();
}
