#include "criu/resource/mm/mapping_kinds.hh"

#include "criu/resource/mm/vma_status.hh"

#include <cstddef>
#include <iterator>
#include <sys/mman.h>

namespace resource {
namespace {

constexpr MappingKind kMappingKinds[] = {
    {.is = MappingClass::PrivateAnonymous,
     .name = "private anonymous memory",
     .status = kVmaAnonPrivate,
     .flags = MAP_ANONYMOUS,
     .pages = OwnPages::Found,
     .anonymous = true,
     .plain = true,
     .lazy = true},
    {.is = MappingClass::PrivateFile,
     .name = "private mapping of a file",
     .status = kVmaFilePrivate,
     .pages = OwnPages::Found,
     .object = ObjectId::File,
     .plain = true,
     .has_access = true},
    {.is = MappingClass::SharedFile,
     .name = "shared mapping of a file",
     .status = kVmaFileShared,
     .object = ObjectId::File,
     .has_access = true},
    {.is = MappingClass::SharedAnonymous,
     .name = "shared anonymous memory",
     .status = kVmaAnonShared,
     .flags = MAP_SHARED | MAP_ANONYMOUS,
     .object = ObjectId::Inode},
    {.is = MappingClass::Memfd,
     .name = "memfd",
     .status = kVmaMemfd, // and of a private or shared file, as it is mapped
     .pages = OwnPages::Found,
     .object = ObjectId::File,
     .plain = true,
     .has_access = true},
    {.is = MappingClass::SysvSegment,
     .name = "System V segment",
     .status = kVmaAnonShared | kVmaSysvIpc,
     .flags = MAP_SHARED | MAP_ANONYMOUS,
     .object = ObjectId::Inode,
     .has_access = true},
    {.is = MappingClass::CopyOfShared,
     .name = "private mapping of shared anonymous memory",
     .status = kVmaAnonShared,
     .pages = OwnPages::Found,
     .object = ObjectId::Inode,
     .of_shared = true},
    {.is = MappingClass::CopyOfSegment,
     .name = "private mapping of a System V segment",
     .status = kVmaAnonShared | kVmaSysvIpc,
     .pages = OwnPages::Found,
     .object = ObjectId::Inode,
     .of_shared = true},
    {.is = MappingClass::SocketRing,
     .name = "ring of a packet socket",
     .status = kVmaSocket,
     .object = ObjectId::File,
     .has_access = true},
    {.is = MappingClass::Vdso,
     .name = "vdso",
     .status = kVmaVdso | kVmaAnonPrivate,
     .flags = MAP_ANONYMOUS,
     .pages = OwnPages::Whole},
    {.is = MappingClass::Vvar,
     .name = "data of the vdso",
     .status = kVmaVvar | kVmaAnonPrivate,
     .flags = MAP_ANONYMOUS},
    {.is = MappingClass::Vsyscall,
     .name = "vsyscall page",
     .status = kVmaVsyscall | kVmaAnonPrivate,
     .flags = MAP_ANONYMOUS,
     .regular = false},
    {.is = MappingClass::AioRing,
     .name = "AIO ring",
     .status = kVmaAioRing | kVmaAnonPrivate,
     .pages = OwnPages::Whole},
    {.is = MappingClass::IoUring, // a restored instance lies in memory of the program
     .name = "memory of an io_uring instance",
     .status = kVmaAnonPrivate,
     .flags = MAP_PRIVATE | MAP_ANONYMOUS,
     .pages = OwnPages::Whole,
     .lazy = true,
     .of_kernel = true},
    {.is = MappingClass::IoUringTwice,
     .name = "queues of an io_uring instance",
     .status = kVmaAnonShared,
     .flags = MAP_SHARED | MAP_ANONYMOUS,
     .object = ObjectId::Queues,
     .of_kernel = true},
};

constexpr bool in_order() {
    for (size_t i = 0; i < std::size(kMappingKinds); i++)
        if (kMappingKinds[i].is != static_cast<MappingClass>(i))
            return false;
    return true;
}
static_assert(in_order(), "a row for each, in the order of the enumeration");

} // namespace

const MappingKind &mapping_kind(MappingClass is) {
    return kMappingKinds[static_cast<size_t>(is)];
}

} // namespace resource
