#include "criu/image/registry.hh"

#include "apparmor.pb.h"
#include "autofs.pb.h"
#include "binfmt-misc.pb.h"
#include "bpfmap-data.pb.h"
#include "bpfmap-file.pb.h"
#include "cgroup.pb.h"
#include "core.pb.h"
#include "cpuinfo.pb.h"
#include "creds.pb.h"
#include "eventfd.pb.h"
#include "eventpoll.pb.h"
#include "ext-file.pb.h"
#include "fdinfo.pb.h"
#include "fh.pb.h"
#include "fifo.pb.h"
#include "file-lock.pb.h"
#include "fs.pb.h"
#include "fsnotify.pb.h"
#include "ghost-file.pb.h"
#include "inventory.pb.h"
#include "ipc-msg.pb.h"
#include "ipc-sem.pb.h"
#include "ipc-shm.pb.h"
#include "ipc-var.pb.h"
#include "memfd.pb.h"
#include "mm.pb.h"
#include "mnt.pb.h"
#include "netdev.pb.h"
#include "ns.pb.h"
#include "packet-sock.pb.h"
#include "pagemap.pb.h"
#include "pidfd.pb.h"
#include "pidns.pb.h"
#include "pipe-data.pb.h"
#include "pipe.pb.h"
#include "pstree.pb.h"
#include "regfile.pb.h"
#include "remap-file-path.pb.h"
#include "rlimit.pb.h"
#include "sa.pb.h"
#include "seccomp.pb.h"
#include "siginfo.pb.h"
#include "signalfd.pb.h"
#include "sk-inet.pb.h"
#include "sk-netlink.pb.h"
#include "sk-packet.pb.h"
#include "sk-unix.pb.h"
#include "stats.pb.h"
#include "tcp-stream.pb.h"
#include "timens.pb.h"
#include "timer.pb.h"
#include "timerfd.pb.h"
#include "tty.pb.h"
#include "tun.pb.h"
#include "userns.pb.h"
#include "utsns.pb.h"
#include "vma.pb.h"

#include <charconv>
#include <fmt/format.h>

namespace image {
namespace {

using K = ImageKind;
using P = Payload;

template <class M> const google::protobuf::Message &proto() {
    return M::default_instance();
}

// The two *_OLD kinds are page contents behind a head, as CRIU wrote them before 2012: nothing but the name is known.
// Statistics files have no .img at the end, whatever the pattern of the others.
// clang-format off
constexpr std::array<ImageInfo, kImageKinds> kImages{{
    {K::Inventory, "INVENTORY", "inventory.img", 0x58313116, Head::Own, nullptr, proto<img::inventory_entry>, P::None},
    {K::Fdinfo, "FDINFO", "fdinfo-%u.img", 0x56213732, Head::Common, nullptr, proto<img::fdinfo_entry>, P::None},
    {K::Pagemap, "PAGEMAP", "pagemap-%lu.img", 0x56084025, Head::Common, proto<img::pagemap_head>, proto<img::pagemap_entry>, P::None},
    {K::ShmemPagemap, "SHMEM_PAGEMAP", "pagemap-shmem-%lu.img", 0x56084025, Head::Common, proto<img::pagemap_head>, proto<img::pagemap_entry>, P::None},
    {K::RegFiles, "REG_FILES", "reg-files.img", 0x50363636, Head::Common, nullptr, proto<img::reg_file_entry>, P::None},
    {K::ExtFiles, "EXT_FILES", "ext-files.img", 0x59255641, Head::Common, nullptr, proto<img::ext_file_entry>, P::None},
    {K::NsFiles, "NS_FILES", "ns-files.img", 0x61394011, Head::Common, nullptr, proto<img::ns_file_entry>, P::None},
    {K::EventfdFile, "EVENTFD_FILE", "eventfd.img", 0x44523722, Head::Common, nullptr, proto<img::eventfd_file_entry>, P::None},
    {K::EventpollFile, "EVENTPOLL_FILE", "eventpoll.img", 0x45023858, Head::Common, nullptr, proto<img::eventpoll_file_entry>, P::None},
    {K::EventpollTfd, "EVENTPOLL_TFD", "eventpoll-tfd.img", 0x44433746, Head::Common, nullptr, proto<img::eventpoll_tfd_entry>, P::None},
    {K::Signalfd, "SIGNALFD", "signalfd.img", 0x57323820, Head::Common, nullptr, proto<img::signalfd_entry>, P::None},
    {K::InotifyFile, "INOTIFY_FILE", "inotify.img", 0x48424431, Head::Common, nullptr, proto<img::inotify_file_entry>, P::None},
    {K::InotifyWd, "INOTIFY_WD", "inotify-wd.img", 0x54562009, Head::Common, nullptr, proto<img::inotify_wd_entry>, P::None},
    {K::FanotifyFile, "FANOTIFY_FILE", "fanotify.img", 0x55096122, Head::Common, nullptr, proto<img::fanotify_file_entry>, P::None},
    {K::FanotifyMark, "FANOTIFY_MARK", "fanotify-mark.img", 0x56506035, Head::Common, nullptr, proto<img::fanotify_mark_entry>, P::None},
    {K::Core, "CORE", "core-%u.img", 0x55053847, Head::Common, nullptr, proto<img::core_entry>, P::None},
    {K::Ids, "IDS", "ids-%u.img", 0x54432030, Head::Common, nullptr, proto<img::task_kobj_ids_entry>, P::None},
    {K::Mm, "MM", "mm-%u.img", 0x57492820, Head::Common, nullptr, proto<img::mm_entry>, P::None},
    {K::Vmas, "VMAS", "vmas-%u.img", 0x54123737, Head::Common, nullptr, proto<img::vma_entry>, P::None},
    {K::Pipes, "PIPES", "pipes.img", 0x56513555, Head::Common, nullptr, proto<img::pipe_entry>, P::None},
    {K::PipesData, "PIPES_DATA", "pipes-data.img", 0x56453709, Head::Common, nullptr, proto<img::pipe_data_entry>, P::PipesData},
    {K::Fifo, "FIFO", "fifo.img", 0x58364939, Head::Common, nullptr, proto<img::fifo_entry>, P::None},
    {K::FifoData, "FIFO_DATA", "fifo-data.img", 0x59333054, Head::Common, nullptr, proto<img::pipe_data_entry>, P::PipesData},
    {K::Pstree, "PSTREE", "pstree.img", 0x50273030, Head::Common, nullptr, proto<img::pstree_entry>, P::None},
    {K::Sigact, "SIGACT", "sigacts-%u.img", 0x55344201, Head::Common, nullptr, proto<img::sa_entry>, P::None},
    {K::Unixsk, "UNIXSK", "unixsk.img", 0x54373943, Head::Common, nullptr, proto<img::unix_sk_entry>, P::None},
    {K::Inetsk, "INETSK", "inetsk.img", 0x56443851, Head::Common, nullptr, proto<img::inet_sk_entry>, P::None},
    {K::Packetsk, "PACKETSK", "packetsk.img", 0x60454618, Head::Common, nullptr, proto<img::packet_sock_entry>, P::None},
    {K::NetlinkSk, "NETLINK_SK", "netlinksk.img", 0x58005614, Head::Common, nullptr, proto<img::netlink_sk_entry>, P::None},
    {K::SkQueues, "SK_QUEUES", "sk-queues.img", 0x56264026, Head::Common, nullptr, proto<img::sk_packet_entry>, P::SkQueue},
    {K::Itimers, "ITIMERS", "itimers-%u.img", 0x57464056, Head::Common, nullptr, proto<img::itimer_entry>, P::None},
    {K::PosixTimers, "POSIX_TIMERS", "posix-timers-%u.img", 0x52603957, Head::Common, nullptr, proto<img::posix_timer_entry>, P::None},
    {K::Creds, "CREDS", "creds-%u.img", 0x54023547, Head::Common, nullptr, proto<img::creds_entry>, P::None},
    {K::Utsns, "UTSNS", "utsns-%u.img", 0x54473203, Head::Common, nullptr, proto<img::utsns_entry>, P::None},
    {K::IpcVar, "IPC_VAR", "ipcns-var-%u.img", 0x53115007, Head::Common, nullptr, proto<img::ipc_var_entry>, P::None},
    {K::IpcnsShm, "IPCNS_SHM", "ipcns-shm-%u.img", 0x46283044, Head::Common, nullptr, proto<img::ipc_shm_entry>, P::IpcShm},
    {K::IpcnsMsg, "IPCNS_MSG", "ipcns-msg-%u.img", 0x55453737, Head::Common, nullptr, proto<img::ipc_msg_entry>, P::IpcMsg},
    {K::IpcnsSem, "IPCNS_SEM", "ipcns-sem-%u.img", 0x59573019, Head::Common, nullptr, proto<img::ipc_sem_entry>, P::IpcSem},
    {K::Fs, "FS", "fs-%u.img", 0x51403912, Head::Common, nullptr, proto<img::fs_entry>, P::None},
    {K::RemapFpath, "REMAP_FPATH", "remap-fpath.img", 0x59133954, Head::Common, nullptr, proto<img::remap_file_path_entry>, P::None},
    {K::GhostFile, "GHOST_FILE", "ghost-file-%x.img", 0x52583605, Head::Common, nullptr, proto<img::ghost_file_entry>, P::Ghost},
    {K::MemfdInode, "MEMFD_INODE", "memfd.img", 0x48453499, Head::Common, nullptr, proto<img::memfd_inode_entry>, P::None},
    {K::TcpStream, "TCP_STREAM", "tcp-stream-%x.img", 0x51465506, Head::Common, nullptr, proto<img::tcp_stream_entry>, P::TcpStream},
    {K::Mnts, "MNTS", "mountpoints-%u.img", 0x55563928, Head::Common, nullptr, proto<img::mnt_entry>, P::None},
    {K::Netdev, "NETDEV", "netdev-%u.img", 0x57373951, Head::Common, nullptr, proto<img::net_device_entry>, P::None},
    {K::Netns, "NETNS", "netns-%u.img", 0x55933752, Head::Common, nullptr, proto<img::netns_entry>, P::None},
    {K::Ifaddr, "IFADDR", "ifaddr-%u.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::Route, "ROUTE", "route-%u.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::Route6, "ROUTE6", "route6-%u.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::Rule, "RULE", "rule-%u.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::Iptables, "IPTABLES", "iptables-%u.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::Ip6tables, "IP6TABLES", "ip6tables-%u.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::Nftables, "NFTABLES", "nftables-%u.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::TmpfsImg, "TMPFS_IMG", "tmpfs-%u.tar.gz.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::TmpfsDev, "TMPFS_DEV", "tmpfs-dev-%u.tar.gz.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::Autofs, "AUTOFS", "autofs-%u.img", 0x49353943, Head::Common, nullptr, proto<img::autofs_entry>, P::None},
    {K::BinfmtMiscOld, "BINFMT_MISC_OLD", "binfmt-misc-%u.img", 0x67343323, Head::Common, nullptr, proto<img::binfmt_misc_entry>, P::None},
    {K::BinfmtMisc, "BINFMT_MISC", "binfmt-misc.img", 0x67343323, Head::Common, nullptr, proto<img::binfmt_misc_entry>, P::None},
    {K::TtyFiles, "TTY_FILES", "tty.img", 0x59433025, Head::Common, nullptr, proto<img::tty_file_entry>, P::None},
    {K::TtyInfo, "TTY_INFO", "tty-info.img", 0x59453036, Head::Common, nullptr, proto<img::tty_info_entry>, P::None},
    {K::TtyData, "TTY_DATA", "tty-data.img", 0x59413026, Head::Common, nullptr, proto<img::tty_data_entry>, P::None},
    {K::FileLocks, "FILE_LOCKS", "filelocks.img", 0x54323616, Head::Common, nullptr, proto<img::file_lock_entry>, P::None},
    {K::Rlimit, "RLIMIT", "rlimit-%u.img", 0x57113925, Head::Common, nullptr, proto<img::rlimit_entry>, P::None},
    {K::Pages, "PAGES", "pages-%u.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::PagesOld, "PAGES_OLD", "pages-%d.img", 0x56084025, Head::Raw, nullptr, nullptr, P::None},
    {K::ShmPagesOld, "SHM_PAGES_OLD", "pages-shmem-%ld.img", 0x56084025, Head::Raw, nullptr, nullptr, P::None},
    {K::Signal, "SIGNAL", "signal-s-%u.img", 0x59255647, Head::Common, nullptr, proto<img::siginfo_entry>, P::None},
    {K::Psignal, "PSIGNAL", "signal-p-%u.img", 0x59255647, Head::Common, nullptr, proto<img::siginfo_entry>, P::None},
    {K::Tunfile, "TUNFILE", "tunfile.img", 0x57143751, Head::Common, nullptr, proto<img::tunfile_entry>, P::None},
    {K::Cgroup, "CGROUP", "cgroup.img", 0x59383330, Head::Common, nullptr, proto<img::cgroup_entry>, P::None},
    {K::Timerfd, "TIMERFD", "timerfd.img", 0x50493712, Head::Common, nullptr, proto<img::timerfd_entry>, P::None},
    {K::Cpuinfo, "CPUINFO", "cpuinfo.img", 0x61404013, Head::Common, nullptr, proto<img::cpuinfo_entry>, P::None},
    {K::Seccomp, "SECCOMP", "seccomp.img", 0x64413049, Head::Common, nullptr, proto<img::seccomp_entry>, P::None},
    {K::Userns, "USERNS", "userns-%u.img", 0x55474906, Head::Common, nullptr, proto<img::userns_entry>, P::None},
    {K::NetnfCt, "NETNF_CT", "netns-ct-%u.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::NetnfExp, "NETNF_EXP", "netns-exp-%u.img", 0x0, Head::Raw, nullptr, nullptr, P::None},
    {K::Files, "FILES", "files.img", 0x56303138, Head::Common, nullptr, proto<img::file_entry>, P::None},
    {K::Timens, "TIMENS", "timens-%u.img", 0x43114433, Head::Common, nullptr, proto<img::timens_entry>, P::None},
    {K::Pidns, "PIDNS", "pidns-%u.img", 0x61157326, Head::Common, nullptr, proto<img::pidns_entry>, P::None},
    {K::BpfmapFile, "BPFMAP_FILE", "bpfmap-file.img", 0x57506142, Head::Common, nullptr, proto<img::bpfmap_file_entry>, P::None},
    {K::BpfmapData, "BPFMAP_DATA", "bpfmap-data.img", 0x64324033, Head::Common, nullptr, proto<img::bpfmap_data_entry>, P::BpfmapData},
    {K::Apparmor, "APPARMOR", "apparmor.img", 0x59423047, Head::Common, nullptr, proto<img::apparmor_entry>, P::None},
    {K::Pidfd, "PIDFD", "pidfd.img", 0x54435556, Head::Common, nullptr, proto<img::pidfd_entry>, P::None},
    {K::Stats, "STATS", "stats-%s", 0x57093306, Head::Service, nullptr, proto<img::stats_entry>, P::None},
    {K::IrmapCache, "IRMAP_CACHE", "irmap-cache.img", 0x57004059, Head::Service, nullptr, proto<img::irmap_cache_entry>, P::None},
}};
// clang-format on

constexpr bool in_order() {
    for (size_t i = 0; i < kImages.size(); i++)
        if (kImages[i].kind != static_cast<ImageKind>(i))
            return false;
    return true;
}
static_assert(in_order(), "kImages is indexed by ImageKind");

struct SplitPattern {
    std::string_view before, conversion, after;
};

constexpr SplitPattern split_pattern(std::string_view pattern) {
    size_t at = pattern.find('%');
    if (at == std::string_view::npos)
        return {pattern, {}, {}};
    size_t end = pattern.find_first_of("dusx", at) + 1;
    return {pattern.substr(0, at), pattern.substr(at + 1, end - at - 1), pattern.substr(end)};
}

std::string id_text(std::string_view conversion, uint64_t id) {
    if (conversion == "s")
        return id == kStatsDump ? "dump" : "restore";
    return conversion == "x" ? fmt::format("{:x}", id) : fmt::format("{}", id);
}

std::optional<uint64_t> parse_id(std::string_view conversion, std::string_view text) {
    if (conversion == "s")
        return text == "dump"      ? std::optional(kStatsDump)
               : text == "restore" ? std::optional(kStatsRestore)
                                   : std::nullopt;
    uint64_t id = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, conversion == "x" ? 16 : 10);
    if (error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return id;
}

std::optional<uint64_t> match(std::string_view pattern, std::string_view name) {
    auto [before, conversion, after] = split_pattern(pattern);
    if (conversion.empty())
        return name == pattern ? std::optional<uint64_t>(0) : std::nullopt;
    if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after))
        return std::nullopt;
    return parse_id(conversion, name.substr(before.size(), name.size() - before.size() - after.size()));
}

} // namespace

std::span<const ImageInfo, kImageKinds> all_images() {
    return kImages;
}

const ImageInfo &image_info(ImageKind kind) {
    return kImages[static_cast<size_t>(kind)];
}

std::string image_file_name(ImageKind kind, uint64_t id) {
    auto [before, conversion, after] = split_pattern(image_info(kind).pattern);
    std::string name(before);
    if (!conversion.empty())
        name += id_text(conversion, id);
    name += after;
    return name;
}

std::optional<ImageName> match_image_name(std::string_view name) {
    for (const ImageInfo &info : kImages)
        if (auto id = match(info.pattern, name))
            return ImageName{info.kind, *id};
    return std::nullopt;
}

const ImageInfo *find_image_by_magic(uint32_t magic) {
    for (const ImageInfo &info : kImages)
        if (info.head != Head::Raw && info.magic == magic)
            return &info;
    return nullptr;
}

const ImageInfo *find_image_by_name(std::string_view name) {
    for (const ImageInfo &info : kImages)
        if (info.name == name)
            return &info;
    return nullptr;
}

} // namespace image
