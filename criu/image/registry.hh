// The kinds of image files that a checkpoint consists of: one table, from which reader, writer and crit take
// everything they know about a file: its name, the words at its head, the message of its entries, and the raw bytes
// that follow an entry.
#pragma once

#include <array>
#include <cstdint>
#include <google/protobuf/message.h>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace image {

enum class ImageKind : uint8_t {
    Inventory,
    Fdinfo,
    Pagemap,
    ShmemPagemap,
    RegFiles,
    ExtFiles,
    NsFiles,
    EventfdFile,
    EventpollFile,
    EventpollTfd,
    Signalfd,
    InotifyFile,
    InotifyWd,
    FanotifyFile,
    FanotifyMark,
    Core,
    Ids,
    Mm,
    Vmas,
    Pipes,
    PipesData,
    Fifo,
    FifoData,
    Pstree,
    Sigact,
    Unixsk,
    Inetsk,
    Packetsk,
    NetlinkSk,
    SkQueues,
    Itimers,
    PosixTimers,
    Creds,
    Utsns,
    IpcVar,
    IpcnsShm,
    IpcnsMsg,
    IpcnsSem,
    Fs,
    RemapFpath,
    GhostFile,
    MemfdInode,
    TcpStream,
    Mnts,
    Netdev,
    Netns,
    Ifaddr,
    Route,
    Route6,
    Rule,
    Iptables,
    Ip6tables,
    Nftables,
    TmpfsImg,
    TmpfsDev,
    Autofs,
    BinfmtMiscOld,
    BinfmtMisc,
    TtyFiles,
    TtyInfo,
    TtyData,
    FileLocks,
    Rlimit,
    Pages,
    PagesOld,
    ShmPagesOld,
    Signal,
    Psignal,
    Tunfile,
    Cgroup,
    Timerfd,
    Cpuinfo,
    Seccomp,
    Userns,
    NetnfCt,
    NetnfExp,
    Files,
    Timens,
    Pidns,
    BpfmapFile,
    BpfmapData,
    Apparmor,
    Pidfd,
    Stats,
    IrmapCache,
};
inline constexpr size_t kImageKinds = static_cast<size_t>(ImageKind::IrmapCache) + 1;

/// What the first bytes of a file look like.
enum class Head : uint8_t {
    Common,  ///< kCommonWord, then the magic of the kind
    Service, ///< kServiceWord, then the magic of the kind
    Own,     ///< only the magic of the kind
    Raw,     ///< no head and no entries: bytes of another format
};
inline constexpr uint32_t kCommonWord = 0x54564319;
inline constexpr uint32_t kServiceWord = 0x55105940;

/// What follows the message of an entry.
enum class Payload : uint8_t { None, PipesData, SkQueue, TcpStream, BpfmapData, IpcShm, IpcMsg, IpcSem, Ghost };

/// The default instance of the message of an entry.
using Prototype = const google::protobuf::Message &(*)();

struct ImageInfo {
    ImageKind kind;
    std::string_view name;    ///< as crit prints it
    std::string_view pattern; ///< file name with at most one printf conversion
    uint32_t magic;           ///< 0 for raw images that have none
    Head head;
    Prototype first_entry; ///< of the first entry where it differs from the others, else null
    Prototype entry;       ///< null for raw images
    Payload payload;
};

/// All kinds, in the order of ImageKind.
std::span<const ImageInfo, kImageKinds> all_images();
const ImageInfo &image_info(ImageKind kind);

/// Numbers that stand for the names of the two statistics files.
inline constexpr uint64_t kStatsDump = 0;
inline constexpr uint64_t kStatsRestore = 1;

/// The name of the file. `id` is ignored by kinds that exist once.
std::string image_file_name(ImageKind kind, uint64_t id);

struct ImageName {
    ImageKind kind;
    uint64_t id;
};
/// The reverse: what a file called `name` (without its folder) should hold. Nothing for names of other files.
std::optional<ImageName> match_image_name(std::string_view name);

/// The first kind with this magic: kinds that share one (PAGEMAP and SHMEM_PAGEMAP) have the same entries.
const ImageInfo *find_image_by_magic(uint32_t magic);
/// The kind that crit calls `name`.
const ImageInfo *find_image_by_name(std::string_view name);

} // namespace image
