// A descriptor of /dev/net/tun is a queue of a device, or of none yet. A device that is not persistent goes with its
// last queue, and all that hangs on it: the first queue of a restore makes it again. One that is there is used as it
// is.
//
// Devices come before all other files (restore/files.cc): sockets may be bound to their addresses.
#include "criu/resource/file/tun/tun.hh"

#include "criu/resource/file/hidden_state.hh"
#include "criu/resource/socket/inet/inet_socket.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

namespace resource::tun {
namespace {

constexpr unsigned kMajor = 10, kMinor = 200;
constexpr uint32_t kAttachFlags =
    IFF_TUN | IFF_TAP | IFF_NAPI | IFF_NAPI_FRAGS | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;

bool matches(const OpenFile &file) {
    return S_ISCHR(file.stat.st_mode) && file.stat.st_rdev == makedev(kMajor, kMinor) && !(file.flags & O_PATH);
}

// ---- dump ----------------------------------------------------------------------------------------------------------

struct DumpedDevices {
    std::set<std::pair<uint32_t, std::string>> names; ///< with the network namespace
};

Result<void> check_namespace(int queue) {
    const base::UniqueFd theirs(ioctl(queue, SIOCGSKNS));
    struct stat own {
    }, other{};
    if (!theirs || fstat(theirs.get(), &other) < 0 || stat("/proc/thread-self/ns/net", &own) < 0)
        return base::fail_sys("ask for the network namespace of a tun device");
    if (own.st_dev != other.st_dev || own.st_ino != other.st_ino)
        return base::unsupported("a tun device of another network namespace");
    return {};
}

/// Nothing if the descriptor has no device.
Result<std::optional<ifreq>> attached(int queue) {
    ifreq request{};
    if (ioctl(queue, TUNGETIFF, &request) == 0)
        return request;
    if (errno == EBADFD)
        return std::nullopt;
    return base::fail_sys("TUNGETIFF");
}

Result<void> check_device(const ifreq &device) {
    if (!(static_cast<uint16_t>(device.ifr_flags) & IFF_NOFILTER))
        return base::fail(
            base::Error(base::ErrorKind::Unsupported,
                        fmt::format("the tap device {} has a packet filter (TUNATTACHFILTER)", device.ifr_name))
                .hint("the kernel does not tell it: take it off around the checkpoint"));
    return {};
}

Result<void> examine(const OpenFile &file, const Examined &) {
    TRY(check_namespace(file.fd));
    const auto device = TRY(attached(file.fd));
    return device ? check_device(*device) : Result<void>{};
}

/// Programs that choose a queue (TUNSETSTEERINGEBPF) or drop packets (TUNSETFILTEREBPF). No call tells of them; where
/// the kernel's memory cannot be read, nothing does.
Result<void> refuse_programs(FileDumpContext &context, int queue) {
    auto memory = kernel_memory(context);
    if (!memory)
        return {};
    KernelMemory &kernel = **memory;
    TRY(kernel.learn_module("tun"));
    const uint64_t inner = TRY(kernel.member(TRY(kernel.file(queue)), "file", "private_data")),
                   device = TRY(kernel.member(inner, "tun_file", "tun"));
    for (const char *program : {"steering_prog", "filter_prog"})
        if (device && TRY(kernel.member(device, "tun_struct", program)))
            return base::fail(
                base::Error(base::ErrorKind::Unsupported, fmt::format("the tun device has a BPF program ({})", program))
                    .hint("take it off around the checkpoint"));
    return {};
}

void warn_of_packets(base::Log &log, const OpenFile &file, const char *name) {
    pollfd waiting{file.fd, POLLIN, 0};
    if (poll(&waiting, 1, 0) == 1 && (waiting.revents & POLLIN))
        log.warn(fmt::format("{}: packets that wait in the tun device {} are not kept", file.link, name));
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    const uint32_t net = TRY(context.networks.of(file.fd));
    TRY(context.networks.enter(net));
    TRY(check_namespace(file.fd));
    img::tunfile_entry *tun = entry.mutable_tunf();
    tun->set_id(file.id.value);
    tun->set_ns_id(net);
    tun->mutable_ext()->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    TRY(dump_owner(context, file, tun->mutable_ext()->mutable_fown()));
    const auto device = TRY(attached(file.fd));
    if (!device)
        return {};
    TRY(check_device(*device));
    const auto flags = static_cast<uint16_t>(device->ifr_flags);
    tun->set_netdev(device->ifr_name);
    if (flags & IFF_DETACH_QUEUE)
        tun->set_detached(true);
    tun->mutable_ext()->set_tunflags(flags);
    warn_of_packets(context.log, file, device->ifr_name);
    if (!context.states.of<DumpedDevices>().names.emplace(net, device->ifr_name).second)
        return {};
    TRY(refuse_programs(context, file.fd));
    const img::net_device_entry described = TRY(describe_tun_device(context.log, file.fd, device->ifr_name));
    return context.images.add(image::ImageKind::Netdev, net, described);
}

// ---- restore -------------------------------------------------------------------------------------------------------

struct Devices {
    bool loaded = false;
    std::map<std::string, img::net_device_entry> by_name;
    std::set<std::string> seen; ///< by an earlier queue
};
/// Of all network namespaces, by the image's number.
using AllDevices = std::map<uint32_t, Devices>;

Result<Devices *> load_devices(FileOpenContext &context, uint32_t net) {
    Devices &devices = context.states.of<AllDevices>()[net];
    if (std::exchange(devices.loaded, true))
        return &devices;
    for (auto &device : TRY(context.images.read<img::net_device_entry>(image::ImageKind::Netdev, net)))
        devices.by_name.emplace(device.name(), std::move(device));
    return &devices;
}

Result<void> attach(int queue, const std::string &name, uint32_t flags) {
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = static_cast<short>(flags & kAttachFlags);
    if (ioctl(queue, TUNSETIFF, &request) == 0)
        return {};
    auto error = base::Error::sys(fmt::format("attach to the tun device {}", name));
    if (errno == EBUSY)
        error.hint("another program uses it: end that one first");
    else if (errno == EINVAL)
        error.hint("a device of that name is there and of another kind: remove it, the restore makes it anew");
    return base::fail(std::move(error));
}

/// Under its old index where that is free.
Result<void> create(base::Log &log, int queue, const img::net_device_entry &device, uint32_t flags) {
    int index = static_cast<int>(device.ifindex());
    if (ioctl(queue, TUNSETIFINDEX, &index) < 0)
        return base::fail_sys("TUNSETIFINDEX");
    auto made = attach(queue, device.name(), flags);
    if (!made && made.error().code() == EBUSY) {
        index = 0;
        if (ioctl(queue, TUNSETIFINDEX, &index) < 0)
            return base::fail_sys("TUNSETIFINDEX");
        made = attach(queue, device.name(), flags);
    }
    TRY(std::move(made));
    return set_up_tun_device(log, queue, device);
}

Result<void> attach_or_create(FileOpenContext &context, int queue, const img::tunfile_entry &tun) {
    Devices &devices = *TRY(load_devices(context, tun.ns_id() ? tun.ns_id() : context.net_namespace));
    auto known = devices.by_name.find(tun.netdev());
    const uint32_t flags = tun.ext().has_tunflags()         ? tun.ext().tunflags()
                           : known != devices.by_name.end() ? known->second.tun().flags()
                                                            : 0;
    if (tun.netdev().size() >= IFNAMSIZ)
        return base::bad_image("files.img: a tun device whose name is too long");
    const bool first = devices.seen.insert(tun.netdev()).second;
    if (!first || device_index(tun.netdev()))
        return attach(queue, tun.netdev(), flags);
    if (known == devices.by_name.end())
        return base::fail(
            base::Error(base::ErrorKind::System,
                        fmt::format("the network device {} is gone, and the images do not describe it", tun.netdev()))
                .hint("make it first: ip tuntap add"));
    return create(context.log, queue, known->second, flags);
}

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &entry) {
    const img::tunfile_entry &tun = entry.tunf();
    base::UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    if (!fd)
        return base::fail_sys("open /dev/net/tun");
    if (tun.has_netdev())
        TRY(attach_or_create(context, fd.get(), tun));
    if (fcntl(fd.get(), F_SETFL, static_cast<int>(tun.ext().flags() & O_NONBLOCK)) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return fd;
}

/// When every queue was attached: a device whose queues are all detached would not be attached to once more.
Result<void> complete(FileOpenContext &, int fd, const img::file_entry &entry) {
    ifreq request{};
    request.ifr_flags = IFF_DETACH_QUEUE;
    if (entry.tunf().detached() && ioctl(fd, TUNSETQUEUE, &request) < 0)
        return base::fail_sys("detach a queue of a tun device");
    return {};
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.tunf().ext().fown(), entry.tunf().ext().flags());
}

/// Last, so that a restore that fails leaves no device behind.
Result<void> release(FileReleaseContext &, int fd, const img::file_entry &entry) {
    if ((entry.tunf().ext().tunflags() & IFF_PERSIST) && ioctl(fd, TUNSETPERSIST, 1UL) < 0)
        return base::fail_sys("make a tun device persistent");
    return {};
}

} // namespace

extern const FileKind kKind{
    .name = "tun or tap device",
    .type = img::TUNF,
    .about = {.saved =
                  "the device of each queue with flags, owner, group, header size and byte order, offloads, send "
                  "buffer, addresses, MTU, routes, permanent neighbours; queues that are detached or have no device",
              .restored = "a device that is gone is made again, under its old index if that is free; one that is there "
                          "(a persistent one) is used as it is",
              .limits = "packet filters (TUNATTACHFILTER), BPF programs (if the kernel has type information, BTF) and "
                        "devices of other network namespaces are refused; packets that wait and routes over several "
                        "devices are lost (the dump warns)"},
    .matches = matches,
    .dump = dump,
    .opening = Opening::First,
    .place = [](const img::file_entry &file) { return Place{.net = file.tunf().ns_id()}; },
    .open = open_file,
    .complete = complete,
    .settle = settle,
    .release = release,
    .examine = examine};

} // namespace resource::tun
