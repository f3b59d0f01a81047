/* Linked with another library of the same name and the same functions.
 *
 * usage: linked_with_stub CRIU */
#include <criu/criu.h>

#include <stdio.h>

int main(int argc, char **argv) {
    (void)argc;
    CriuReq request = CRIU_REQ__INIT;
    if (criu_init_opts() < 0)
        return 3;
    criu_set_service_binary(argv[1]);
    request.type = CRIU_REQ_TYPE__VERSION;
    printf("%s %d %d %zu\n", criu_lib_version, criu_get_version(), criu_check(), criu_req__get_packed_size(&request));
    criu_free_opts();
    return 0;
}
