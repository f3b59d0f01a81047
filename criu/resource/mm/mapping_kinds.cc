#include "criu/resource/mm/mapping_kinds.hh"

#include "criu/resource/mm/vma_status.hh"

#include <cstddef>
#include <iterator>
#include <sys/mman.h>

namespace resource {
namespace {

constexpr MappingKind kMappingKinds[] = {
    {.is = MappingClass::PrivateAnonymous,
     .status = kVmaAnonPrivate,
     .flags = MAP_ANONYMOUS,
     .pages = OwnPages::Found,
     .anonymous = true,
     .plain = true,
     .lazy = true},
    {.is = MappingClass::PrivateFile,
     .status = kVmaFilePrivate,
     .pages = OwnPages::Found,
     .object = ObjectId::File,
     .plain = true,
     .has_access = true},
    {.is = MappingClass::SharedFile, .status = kVmaFileShared, .object = ObjectId::File, .has_access = true},
    {.is = MappingClass::SharedAnonymous,
     .status = kVmaAnonShared,
     .flags = MAP_SHARED | MAP_ANONYMOUS,
     .object = ObjectId::Inode},
    {.is = MappingClass::Memfd,
     .status = kVmaMemfd, // and of a private or shared file, as it is mapped
     .pages = OwnPages::Found,
     .object = ObjectId::File,
     .plain = true,
     .has_access = true},
    {.is = MappingClass::SysvSegment,
     .status = kVmaAnonShared | kVmaSysvIpc,
     .flags = MAP_SHARED | MAP_ANONYMOUS,
     .object = ObjectId::Inode,
     .has_access = true},
    {.is = MappingClass::CopyOfShared,
     .status = kVmaAnonShared,
     .pages = OwnPages::Found,
     .object = ObjectId::Inode,
     .of_shared = true},
    {.is = MappingClass::CopyOfSegment,
     .status = kVmaAnonShared | kVmaSysvIpc,
     .pages = OwnPages::Found,
     .object = ObjectId::Inode,
     .of_shared = true},
    {.is = MappingClass::SocketRing, .status = kVmaSocket, .object = ObjectId::File, .has_access = true},
    {.is = MappingClass::Vdso, .status = kVmaVdso | kVmaAnonPrivate, .flags = MAP_ANONYMOUS, .pages = OwnPages::Whole},
    {.is = MappingClass::Vvar, .status = kVmaVvar | kVmaAnonPrivate, .flags = MAP_ANONYMOUS},
    {.is = MappingClass::Vsyscall, .status = kVmaVsyscall | kVmaAnonPrivate, .flags = MAP_ANONYMOUS, .regular = false},
    {.is = MappingClass::AioRing, .status = kVmaAioRing | kVmaAnonPrivate, .pages = OwnPages::Whole},
    {.is = MappingClass::IoUring, // a restored instance lies in memory of the program
     .status = kVmaAnonPrivate,
     .flags = MAP_PRIVATE | MAP_ANONYMOUS,
     .pages = OwnPages::Whole,
     .lazy = true,
     .of_kernel = true},
    {.is = MappingClass::IoUringTwice,
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
