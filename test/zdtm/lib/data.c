/*
 * Random contents and their checksums: a generator that needs no seed file, and CRC-32 (IEEE, reflected).
 */
#include "zdtm.h"

static uint64_t generator_state;

static uint64_t next_random(void) {
    if (!generator_state)
        generator_state = (uint64_t)now_ns(CLOCK_MONOTONIC) * 2654435769u + getpid();
    /* xorshift64* */
    generator_state ^= generator_state >> 12;
    generator_state ^= generator_state << 25;
    generator_state ^= generator_state >> 27;
    return generator_state * 0x2545F4914F6CDD1DULL;
}

static uint32_t table[256];

/* Before there are threads: one that found it half made would count wrong. */
__attribute__((constructor)) static void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xEDB88320u : value >> 1;
        table[i] = value;
    }
}

uint32_t crc32_of(uint32_t crc, const void *data, size_t length) {
    const uint8_t *byte = data;
    while (length--)
        crc = crc >> 8 ^ table[(crc ^ *byte++) & 0xff];
    return crc;
}

void datagen(void *buffer, size_t length, uint32_t *crc) {
    uint8_t *out = buffer;
    for (size_t i = 0; i < length; i += 8) {
        uint64_t value = next_random();
        memcpy(out + i, &value, length - i < 8 ? length - i : 8);
    }
    if (crc)
        *crc = crc32_of(*crc, buffer, length);
}

bool datachk(const void *buffer, size_t length, uint32_t *crc) {
    return crc32_of(~0u, buffer, length) == *crc;
}

bool all_bytes_are(const void *buffer, int byte, size_t length) {
    const uint8_t *bytes = buffer;
    if (!length)
        return true;
    return bytes[0] == (uint8_t)byte && memcmp(bytes, bytes + 1, length - 1) == 0;
}
