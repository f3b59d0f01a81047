/* BPF maps, hash and array, frozen or not. */
#include "zdtm.h"

#include <linux/bpf.h>

static int bpf(int command, union bpf_attr *attributes) {
    return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static int make(int type) {
    union bpf_attr a = {.map_type = type, .key_size = 4, .value_size = 8, .max_entries = 16};
    return must(bpf(BPF_MAP_CREATE, &a));
}

static int access_map(int command, int fd, uint32_t key, uint64_t *value) {
    union bpf_attr a = {.map_fd = fd, .key = (uintptr_t)&key, .value = (uintptr_t)value};
    return bpf(command, &a);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int maps[] = {make(BPF_MAP_TYPE_HASH), make(BPF_MAP_TYPE_ARRAY)};
    for (int i = 0; i < 2; i++)
        for (uint32_t key = 0; key < 10; key += 3) {
            uint64_t value = key * 1000003 + i;
            must(access_map(BPF_MAP_UPDATE_ELEM, maps[i], key, &value));
        }
    union bpf_attr freeze = {.map_fd = maps[1]};
    must(bpf(BPF_MAP_FREEZE, &freeze));
    test_daemon();
    test_waitsig();
    uint64_t value = 0;
    for (int i = 0; i < 2; i++)
        for (uint32_t key = 0; key < 10; key += 3)
            check(!access_map(BPF_MAP_LOOKUP_ELEM, maps[i], key, &value) && value == key * 1000003 + i,
                  "map %d: key %u is %lu", i, key, value);
    check(access_map(BPF_MAP_LOOKUP_ELEM, maps[0], 1, &value) == -1 && errno == ENOENT, "a key has appeared");
    check(access_map(BPF_MAP_UPDATE_ELEM, maps[1], 0, &value) == -1 && errno == EPERM, "the frozen map can be written");
    return pass();
}
