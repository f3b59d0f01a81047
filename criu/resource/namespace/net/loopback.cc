// The loopback device of a network that is the caller's business (--empty-ns net). Engines bring the other links in the
// hook setup-namespaces, and leave this one, which the kernel has made with the namespace, down: connections of the
// tree to itself would have nowhere to go. So it comes up if it was up: the image says so by an entry of this one link.
// CRIU's images do not; there a socket with an address of this machine's own does.
#include "criu/image/image_dir.hh"
#include "criu/resource/namespace/net/link.hh"
#include "criu/resource/namespace/net/net.hh"
#include "fdinfo.pb.h"

#include <algorithm>
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace resource::net {
namespace {

bool is_own(const img::inet_sk_entry &socket) {
    const auto is_loopback = [](const auto &words) {
        constexpr uint32_t kNet = 127, kMapped = 0xffff;
        if (words.size() == 1)
            return ntohl(words[0]) >> 24 == kNet;
        if (words.size() != 4 || words[0] || words[1])
            return false;
        const uint32_t third = ntohl(words[2]), last = ntohl(words[3]);
        return (third == kMapped && last >> 24 == kNet) || (!third && last == 1);
    };
    return is_loopback(socket.src_addr()) || is_loopback(socket.dst_addr());
}

/// Errors: System, BadImage.
Result<bool> was_up(const NamespaceFillContext &context) {
    for (const auto &device : TRY(context.images.read<img::net_device_entry>(image::ImageKind::Netdev, context.id)))
        if (device.type() == img::LOOPBACK)
            return (device.flags() & IFF_UP) != 0;
    const auto files = TRY(context.images.read<img::file_entry>(image::ImageKind::Files));
    return std::ranges::any_of(files, [](const auto &file) { return file.has_isk() && is_own(file.isk()); });
}

} // namespace

Result<void> dump_loopback(NamespaceDumpContext &context, uint32_t id) {
    for (const Link &link : TRY(list_links()))
        if (link.is_loopback())
            TRY(context.images.add(image::ImageKind::Netdev, id, describe(link)));
    return {};
}

Result<void> raise_loopback(NamespaceFillContext &context) {
    if (!TRY(was_up(context)))
        return {};
    const base::UniqueFd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq device{};
    std::ranges::copy(std::string_view("lo"), device.ifr_name);
    if (!any || ioctl(any.get(), SIOCGIFFLAGS, &device) < 0)
        return base::fail_sys("look at the loopback device");
    device.ifr_flags |= IFF_UP;
    if (ioctl(any.get(), SIOCSIFFLAGS, &device) < 0)
        return base::fail_sys("set the loopback device up");
    return {};
}

} // namespace resource::net
