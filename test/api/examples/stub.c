/* Stands for CRIU 4.2's library: the names that linked_with_stub.c uses, and nothing behind them. */
#include <criu/criu.h>

const char *criu_lib_version = "stub";
int criu_init_opts(void) { return -1; }
void criu_free_opts(void) {}
int criu_set_service_binary(const char *path) { return -1; }
int criu_get_version(void) { return -1; }
int criu_check(void) { return -1; }
