/* Rings of packet sockets, of all three versions: the kernel has gone round once and is somewhere in the middle, some
 * packets wait. The program goes on reading at the next place, and misses none. */
#include "sockets.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>

#define BLOCK 4096
#define FRAME 512
#define BLOCKS 8
#define FRAMES (BLOCK / FRAME * BLOCKS)

struct ring {
    int version, fd, sender, protocol;
    uint8_t *memory;
    uint32_t next;     /* slot that is read next */
    uint32_t sent, read; /* packets; each holds its number */
    bool overflows;      /* some are lost */
};

static void send_one(struct ring *ring) {
    struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ring->protocol), .sll_ifindex = if_nametoindex("lo"), .sll_halen = 6};
    uint32_t packet[20] = {ring->sent++};
    must(sendto(ring->sender, packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)));
}

static void take_packet(struct ring *ring, const void *data) {
    uint32_t number;
    memcpy(&number, data, sizeof(number));
    if (ring->overflows && number > ring->read)
        ring->read = number;
    check(number == ring->read, "version %d: packet %u instead of %u", ring->version + 1, number, ring->read);
    ring->read++;
}

/* Reads one slot if there is something in it. */
static bool read_slot(struct ring *ring) {
    if (ring->version == TPACKET_V3) {
        struct tpacket_block_desc *block = (void *)(ring->memory + ring->next * BLOCK);
        volatile uint32_t *status = &block->hdr.bh1.block_status;
        if (!(*status & TP_STATUS_USER))
            return false;
        uint8_t *at = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
        for (uint32_t i = 0; i < block->hdr.bh1.num_pkts; i++) {
            struct tpacket3_hdr *packet = (void *)at;
            take_packet(ring, at + packet->tp_net);
            at += packet->tp_next_offset;
        }
        *status = TP_STATUS_KERNEL;
        ring->next = (ring->next + 1) % BLOCKS;
        return true;
    }
    uint8_t *frame = ring->memory + ring->next * FRAME;
    if (ring->version == TPACKET_V2) {
        volatile struct tpacket2_hdr *header = (void *)frame;
        if (!(header->tp_status & TP_STATUS_USER))
            return false;
        take_packet(ring, frame + header->tp_net);
        header->tp_status = TP_STATUS_KERNEL;
    } else {
        volatile struct tpacket_hdr *header = (void *)frame;
        if (!(header->tp_status & TP_STATUS_USER))
            return false;
        take_packet(ring, frame + header->tp_net);
        header->tp_status = TP_STATUS_KERNEL;
    }
    ring->next = (ring->next + 1) % FRAMES;
    return true;
}

/* Sends packets and reads them soon after. */
static void run(struct ring *ring, int packets) {
    for (int i = 0; i < packets; i++) {
        send_one(ring);
        read_slot(ring);
    }
}

static void read_all(struct ring *ring) {
    for (int tries = 0; tries < 2000 && ring->read < ring->sent; tries++)
        if (!read_slot(ring))
            sleep_ms(1);
    check(ring->read == ring->sent, "version %d: %u of %u packets", ring->version + 1, ring->read, ring->sent);
}

static void set_up(struct ring *ring, int version, int number) {
    *ring = (struct ring){.version = version, .protocol = 0x6100 + number};
    ring->sender = must(socket(AF_PACKET, SOCK_DGRAM, 0));
    ring->fd = must(socket(AF_PACKET, SOCK_RAW, 0));
    must(setsockopt(ring->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)));
    struct tpacket_req3 request = {.tp_block_size = BLOCK,
                                   .tp_block_nr = BLOCKS,
                                   .tp_frame_size = FRAME,
                                   .tp_frame_nr = FRAMES,
                                   .tp_retire_blk_tov = 20};
    must(setsockopt(ring->fd, SOL_PACKET, PACKET_RX_RING, &request,
                    version == TPACKET_V3 ? sizeof(request) : sizeof(struct tpacket_req)));
    ring->memory =
        (void *)must(mmap(NULL, BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0));
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ring->protocol), .sll_ifindex = if_nametoindex("lo")};
    must(bind(ring->fd, (struct sockaddr *)&address, sizeof(address)));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct ring rings[9];
    for (int i = 0; i < 9; i++) {
        set_up(&rings[i], i % 3, i);
        run(&rings[i], 2 * FRAMES + 45);
        read_all(&rings[i]);
    }
    /* One of each version with packets that wait, one that is full. */
    for (int i = 0; i < 3; i++)
        for (int n = 0; n < 19; n++)
            send_one(&rings[i]);
    for (int i = 3; i < 6; i++) {
        rings[i].overflows = true;
        for (int n = 0; n < 4 * FRAMES; n++)
            send_one(&rings[i]);
    }
    sleep_ms(100); /* the kernel closes the last block */
    test_daemon();
    test_waitsig();
    for (int i = 0; i < 9; i++) {
        while (rings[i].overflows && read_slot(&rings[i]))
            continue;
        if (rings[i].overflows)
            run(&rings[i], 1);
        read_all(&rings[i]);
        rings[i].overflows = false;
        run(&rings[i], 2 * FRAMES);
        read_all(&rings[i]);
    }
    return pass();
}
