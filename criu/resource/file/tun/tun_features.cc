// No call tells what TUNSETOFFLOAD has set, but it decides which features of the device are active.
#include "criu/resource/file/tun/tun.hh"

#include <cstring>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace resource {
namespace {

constexpr uint32_t kUso4 = 0x20, kUso6 = 0x40; // Linux 6.2

struct Offload {
    const char *feature;
    uint32_t flags;
};
constexpr Offload kOffloads[] = {{"tx-checksum-ip-generic", TUN_F_CSUM},
                                 {"tx-tcp-segmentation", TUN_F_TSO4},
                                 {"tx-tcp6-segmentation", TUN_F_TSO6},
                                 {"tx-tcp-ecn-segmentation", TUN_F_TSO_ECN},
                                 {"tx-udp-segmentation", kUso4 | kUso6}};

Result<void> ask(const std::string &device, void *question) {
    const base::UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    device.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = static_cast<char *>(question);
    if (!fd || ioctl(fd.get(), SIOCETHTOOL, &request) < 0)
        return base::fail_sys("ask for the features of " + device);
    return {};
}

/// Room for a structure with an array at its end.
template <class Head> Head *as(std::vector<uint64_t> &room, size_t tail) {
    room.assign((sizeof(Head) + tail) / sizeof(uint64_t) + 1, 0);
    return reinterpret_cast<Head *>(room.data());
}

Result<uint32_t> count_features(const std::string &device) {
    std::vector<uint64_t> room;
    auto *info = as<ethtool_sset_info>(room, sizeof(uint32_t));
    info->cmd = ETHTOOL_GSSET_INFO;
    info->sset_mask = uint64_t{1} << ETH_SS_FEATURES;
    TRY(ask(device, info));
    return info->data[0];
}

} // namespace

Result<uint32_t> tun_offloads(const std::string &name) {
    const uint32_t count = TRY(count_features(name)), blocks = (count + 31) / 32;
    std::vector<uint64_t> names_room, features_room;
    auto *names = as<ethtool_gstrings>(names_room, size_t{count} * ETH_GSTRING_LEN);
    names->cmd = ETHTOOL_GSTRINGS;
    names->string_set = ETH_SS_FEATURES;
    names->len = count;
    TRY(ask(name, names));
    auto *features = as<ethtool_gfeatures>(features_room, blocks * sizeof(ethtool_get_features_block));
    features->cmd = ETHTOOL_GFEATURES;
    features->size = blocks;
    TRY(ask(name, features));
    uint32_t flags = 0;
    for (uint32_t i = 0; i < count; i++)
        for (const Offload &offload : kOffloads)
            if (!strncmp(reinterpret_cast<const char *>(names->data) + size_t{i} * ETH_GSTRING_LEN, offload.feature,
                         ETH_GSTRING_LEN) &&
                (features->features[i / 32].active >> (i % 32) & 1))
                flags |= offload.flags;
    return flags;
}

} // namespace resource
