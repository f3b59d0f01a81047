// The kinds of memory mappings, a row each: what images call them, and what a dump does with their pages.
//
// Which kind a mapping is, classify() says (mapping.hh). What a restore makes of the images' kinds is
// plan::Region::Kind.
#pragma once

#include <cstdint>

namespace resource {

enum class MappingClass : uint8_t {
    PrivateAnonymous,
    PrivateFile,
    SharedFile,
    SharedAnonymous, ///< MAP_SHARED | MAP_ANONYMOUS, /dev/zero
    Memfd,
    SysvSegment,
    CopyOfShared,  ///< a private mapping of shared anonymous memory, by way of /proc/PID/map_files
    CopyOfSegment, ///< ... of a System V segment
    SocketRing,    ///< of a packet socket
    Vdso,
    Vvar,
    Vsyscall,
    AioRing,
    IoUring,      ///< queues or requests of an io_uring instance
    IoUringTwice, ///< its queues, where submissions and completions are mapped apart: the same memory at two places
};

/// Whose the pages of a mapping are, that is which of them pagemap-PID holds.
enum class OwnPages : uint8_t {
    None,  ///< those of a file, or of nobody
    Found, ///< those that page tables say are the task's own
    Whole, ///< all: what program and kernel share, where no page table tells what matters
};

/// What a mapping's `shmid` in the images is.
enum class ObjectId : uint8_t {
    None,
    File,   ///< the file's id in files.img, which has to be there
    Inode,  ///< the kernel's number of the shared memory
    Queues, ///< shared_id_of_queues()
};

struct MappingKind {
    MappingClass is{};
    uint32_t status = 0; ///< of vma_entry, without kVmaRegular
    /// MAP_* beside those that its flags tell. Without MAP_SHARED and MAP_PRIVATE: as it is mapped.
    uint32_t flags = 0;
    OwnPages pages = OwnPages::None;
    ObjectId object = ObjectId::None;
    bool anonymous = false;  ///< its pages are of no file: for the scan of page tables
    bool plain = false;      ///< nothing but pages: fork copies them, a pre-dump saves them ahead
    bool lazy = false;       ///< in an image it is memory that userfaultfd can bring
    bool of_kernel = false;  ///< an object's (io_uring), which has to be open
    bool of_shared = false;  ///< a private mapping of shared memory
    bool regular = true;     ///< kVmaRegular
    bool has_access = false; ///< vma_entry.fdflags says how the object was opened
};

const MappingKind &mapping_kind(MappingClass is);

} // namespace resource
