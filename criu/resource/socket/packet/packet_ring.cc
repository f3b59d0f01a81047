#include "criu/resource/socket/packet/packet_ring.hh"

#include "base/unique_fd.hh"

#include <algorithm>
#include <arpa/inet.h>
#include <cstring>
#include <fmt/format.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <tuple>
#include <unistd.h>
#include <vector>

namespace resource::packet_socket {
namespace {

constexpr uint16_t kNobodysProtocol = 0x88b5;  // IEEE 802: for local experiments
constexpr size_t kMostKept = size_t{16} << 20; // bytes of packets that nobody has read

/// The beginning of a slot, whatever its version.
struct SlotHead {
    bool unread = false;
    uint64_t order = 0; ///< grows with each slot that is written; 0: never written
    size_t used = 0;    ///< bytes with meaning
    uint32_t packets = 0;
};

template <class Header> Header read_header(std::span<const std::byte> slot) {
    Header header{};
    memcpy(&header, slot.data(), std::min(sizeof header, slot.size()));
    return header;
}

template <class Header> SlotHead frame_head(std::span<const std::byte> slot, uint64_t fraction, uint32_t unit) {
    const auto header = read_header<Header>(slot);
    return {.unread = (header.tp_status & TP_STATUS_USER) != 0,
            .order = uint64_t{header.tp_sec} * unit + fraction,
            .used = size_t{std::max(header.tp_mac, header.tp_net)} + header.tp_snaplen,
            .packets = 1};
}

SlotHead head_of(const RingShape &shape, std::span<const std::byte> slot) {
    if (shape.version == TPACKET_V1)
        return frame_head<tpacket_hdr>(slot, read_header<tpacket_hdr>(slot).tp_usec, 1000000);
    if (shape.version == TPACKET_V2)
        return frame_head<tpacket2_hdr>(slot, read_header<tpacket2_hdr>(slot).tp_nsec, 1000000000);
    const tpacket_hdr_v1 block = read_header<tpacket_block_desc>(slot).hdr.bh1;
    return {.unread = (block.block_status & TP_STATUS_USER) != 0,
            .order = block.seq_num,
            .used = block.blk_len,
            .packets = block.num_pkts};
}

/// What a reader passes over: the packets were too many to be kept.
std::string without_packets(const RingShape &shape, std::span<const std::byte> slot) {
    auto text = [](const auto &header) { return std::string(reinterpret_cast<const char *>(&header), sizeof header); };
    if (shape.version == TPACKET_V3) {
        auto header = read_header<tpacket_block_desc>(slot);
        header.hdr.bh1.num_pkts = 0;
        return text(header);
    }
    if (shape.version == TPACKET_V2) {
        auto header = read_header<tpacket2_hdr>(slot);
        header.tp_len = header.tp_snaplen = 0;
        return text(header);
    }
    auto header = read_header<tpacket_hdr>(slot);
    header.tp_len = header.tp_snaplen = 0;
    return text(header);
}

/// The slot that was written last; none in a fresh ring. Several can have one time: the last of a row of them.
std::optional<uint32_t> last_written(const std::vector<SlotHead> &heads) {
    std::optional<uint32_t> last;
    const auto count = static_cast<uint32_t>(heads.size());
    for (uint32_t i = 0; i < count; i++)
        if (heads[i].order && (!last || heads[i].order > heads[*last].order))
            last = i;
    for (uint32_t steps = 0; last && steps < count && heads[(*last + 1) % count].order == heads[*last].order; steps++)
        last = (*last + 1) % count;
    return last;
}

/// A mapping of both rings: that for receiving lies first.
class RingMapping {
public:
    static Result<RingMapping> open(int fd, const img::packet_sock_entry &entry) {
        const size_t bytes =
            shape_of(entry.version(), entry.rx_ring()).bytes() + shape_of(entry.version(), entry.tx_ring()).bytes();
        void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED)
            return base::fail_sys("map the ring of a packet socket");
        return RingMapping(static_cast<std::byte *>(memory), bytes);
    }
    RingMapping(RingMapping &&other) noexcept : memory_(std::exchange(other.memory_, {})) {}
    RingMapping(const RingMapping &) = delete;
    ~RingMapping() {
        if (!memory_.empty())
            munmap(memory_.data(), memory_.size());
    }
    std::span<std::byte> memory() const { return memory_; }

private:
    RingMapping(std::byte *memory, size_t bytes) : memory_(memory, bytes) {}
    std::span<std::byte> memory_;
};

/// A ring on its way to its place.
class Mover {
public:
    Mover(int fd, const RingShape &shape, std::span<std::byte> memory) : fd_(fd), shape_(shape), memory_(memory) {}

    Result<void> open() {
        const int loopback = static_cast<int>(if_nametoindex("lo"));
        to_ = {
            .sll_family = AF_PACKET, .sll_protocol = htons(kNobodysProtocol), .sll_ifindex = loopback, .sll_halen = 6};
        if (bind(fd_, reinterpret_cast<const sockaddr *>(&to_), sizeof to_) < 0)
            return base::fail_sys("bind a packet socket to the loopback device");
        sender_.reset(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!sender_)
            return base::fail_sys("socket");
        // Large packets fill a block soon; a frame takes a small one as well.
        filling_.assign(shape_.version == TPACKET_V3 ? std::clamp(shape_.block_size / 4, 64u, 32768u) : 64u, 0);
        return {};
    }

    /// Until the slot belongs to the program.
    Result<void> fill(uint32_t slot) {
        for (int tries = 0; tries < 1000; tries++) {
            if (sendto(sender_.get(), filling_.data(), filling_.size(), 0, reinterpret_cast<const sockaddr *>(&to_),
                       sizeof to_) < 0)
                return base::fail_sys("send a packet over the loopback device");
            if (head_of(shape_, at(slot)).unread)
                return {};
            if (shape_.version != TPACKET_V3 || tries > 16)
                usleep(1000); // the kernel delivers at its leisure
            if (head_of(shape_, at(slot)).unread)
                return {};
        }
        return base::fail(base::ErrorKind::System, "packets over the loopback device do not reach the ring");
    }
    void give_back(uint32_t slot) {
        const uint64_t kernel = TP_STATUS_KERNEL;
        if (shape_.version == TPACKET_V3)
            memcpy(at(slot).data() + offsetof(tpacket_block_desc, hdr.bh1.block_status), &kernel, sizeof(uint32_t));
        else
            memcpy(at(slot).data(), &kernel, shape_.version == TPACKET_V1 ? sizeof kernel : sizeof(uint32_t));
    }
    /// The packet that has opened the block is forgotten: the first one lies behind it. False: the kernel has closed
    /// the block meanwhile.
    bool empty_block(uint32_t slot) {
        auto *block = reinterpret_cast<tpacket_block_desc *>(at(slot).data());
        volatile tpacket_hdr_v1 &head = block->hdr.bh1;
        if (head.num_pkts == 0)
            return true;
        head.offset_to_first_pkt = head.blk_len;
        head.num_pkts = 0;
        return !(head.block_status & TP_STATUS_USER);
    }
    std::span<std::byte> at(uint32_t slot) const { return memory_.subspan(shape_.offset(slot), shape_.slot_size()); }

private:
    int fd_;
    const RingShape &shape_;
    std::span<std::byte> memory_;
    base::UniqueFd sender_;
    sockaddr_ll to_{};
    std::vector<char> filling_;
};

/// `rounds` more than needed: a block that the kernel closes too early needs another one.
Result<void> move_to(Mover &mover, const RingShape &shape, uint32_t next) {
    uint32_t slot = 0;
    for (int rounds = 0; rounds < 10; rounds++) {
        for (; slot != next; slot = (slot + 1) % shape.slots()) {
            TRY(mover.fill(slot));
            mover.give_back(slot);
        }
        if (shape.version != TPACKET_V3 || mover.empty_block(next))
            return {};
        mover.give_back(next);
        slot = (next + 1) % shape.slots();
    }
    return base::fail(base::ErrorKind::System,
                      "the kernel closes the blocks of the ring faster than they can be filled");
}

Result<void> check_place(const RingShape &shape, const img::ext_packet_ring &place) {
    if (!shape.slots() || place.next() >= shape.slots())
        return base::bad_image("a packet ring whose place is outside of it");
    for (const img::ext_packet_slot &slot : place.unread())
        if (slot.number() >= shape.slots() || slot.data().size() > shape.slot_size())
            return base::bad_image("a packet ring with something unread outside of it");
    return {};
}

} // namespace

uint32_t RingShape::slots() const {
    if (!block_size || !frame_size || frame_size > block_size || block_size % 4096 || bytes() > UINT32_MAX)
        return 0;
    return version == TPACKET_V3 ? block_count : block_count * (block_size / frame_size);
}

uint32_t RingShape::slot_size() const {
    return version == TPACKET_V3 ? block_size : frame_size;
}

size_t RingShape::offset(uint32_t slot) const {
    if (version == TPACKET_V3)
        return static_cast<size_t>(slot) * block_size;
    const uint32_t in_block = block_size / frame_size;
    return static_cast<size_t>(slot / in_block) * block_size + static_cast<size_t>(slot % in_block) * frame_size;
}

RingShape shape_of(uint32_t version, const img::packet_ring &ring) {
    return {version, ring.block_size(), ring.block_nr(), ring.frame_size()};
}

img::ext_packet_ring find_place(const RingShape &shape, std::span<const std::byte> memory, uint32_t &lost) {
    img::ext_packet_ring place;
    std::vector<SlotHead> heads;
    for (uint32_t i = 0; i < shape.slots(); i++)
        heads.push_back(head_of(shape, memory.subspan(shape.offset(i), shape.slot_size())));
    const auto last = last_written(heads);
    if (!last)
        return place;
    const auto count = static_cast<uint32_t>(heads.size());
    // In version 3 the last block is the one that is being written, until it is full and the next is not free.
    const bool open = shape.version == TPACKET_V3 && !heads[*last].unread;
    place.set_next(open ? *last : (*last + 1) % count);
    place.set_full(!open && heads[place.next()].unread);
    lost = open ? heads[*last].packets : 0;
    size_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!heads[i].unread)
            continue;
        const auto slot = memory.subspan(shape.offset(i), shape.slot_size());
        const size_t used = std::min(heads[i].used, slot.size());
        img::ext_packet_slot *unread = place.add_unread();
        unread->set_number(i);
        if (kept += used; kept <= kMostKept) {
            unread->set_data(slot.data(), used);
        } else {
            unread->set_data(without_packets(shape, slot));
            lost += heads[i].packets;
        }
    }
    return place;
}

Result<void> dump_ring(int fd, base::Log &log, img::packet_sock_entry *entry) {
    const RingShape shape = shape_of(entry->version(), entry->rx_ring());
    if (!entry->has_rx_ring() || !shape.slots())
        return {};
    const RingMapping mapping = TRY(RingMapping::open(fd, *entry));
    uint32_t lost = 0;
    img::ext_packet_ring place = find_place(shape, mapping.memory(), lost);
    if (lost)
        log.warn(fmt::format("{} packets in the ring of a packet socket are not kept", lost));
    if (place.next() || place.unread_size())
        *entry->mutable_ext()->mutable_receive_ring() = std::move(place);
    return {};
}

Result<void> restore_ring_place(int fd, base::Log &log, const img::packet_sock_entry &entry) {
    if (!entry.has_rx_ring() || !entry.ext().has_receive_ring())
        return {};
    const RingShape shape = shape_of(entry.version(), entry.rx_ring());
    const img::ext_packet_ring &place = entry.ext().receive_ring();
    TRY(check_place(shape, place));
    const RingMapping mapping = TRY(RingMapping::open(fd, entry));
    Mover mover(fd, shape, mapping.memory());
    TRY(mover.open());
    TRY(move_to(mover, shape, place.next()));
    if (place.full())
        for (uint32_t i = 0; i < shape.slots(); i++)
            TRY(mover.fill((place.next() + i) % shape.slots()));
    for (const img::ext_packet_slot &slot : place.unread())
        memcpy(mover.at(slot.number()).data(), slot.data().data(), slot.data().size());
    tpacket_stats_v3 forgotten{};
    socklen_t length = sizeof forgotten;
    (void)getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &forgotten, &length); // reading them clears them
    log.debug(fmt::format("the ring of a packet socket goes on at slot {}", place.next()));
    return {};
}

} // namespace resource::packet_socket
