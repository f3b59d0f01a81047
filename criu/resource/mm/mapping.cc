#include "criu/resource/mm/mapping.hh"

#include "criu/resource/mm/vma_status.hh"

#include "base/ids.hh"

#include <algorithm>
#include <bit>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/mman.h>
#include <sys/mman.h>

namespace resource {
namespace {

using parse::Vma;
using parse::VmFlag;

#ifndef MADV_WIPEONFORK
constexpr int MADV_WIPEONFORK = 18;
#endif
constexpr uint32_t kMapDroppable = 0x08;

Result<MappingClass> refuse(const Vma &vma, std::string why) {
    return base::unsupported(fmt::format("mapping {:#x}-{:#x} {}: {}", vma.start, vma.end, vma.name, why));
}

Result<MappingClass> classify_special(const Vma &vma) {
    if (vma.name == "[vdso]")
        return MappingClass::Vdso;
    if (vma.name == "[vvar]" || vma.name == "[vvar_vclock]")
        return MappingClass::Vvar;
    if (vma.name == "[vsyscall]")
        return MappingClass::Vsyscall;
    if (is_of_probes(vma))
        return base::fail(
            base::Error(base::ErrorKind::Unsupported,
                        fmt::format("mapping {:#x}-{:#x} [uprobes]: somebody probes this task", vma.start, vma.end))
                .hint("remove the probe first, or dump and restore with --allow-uprobes: where the probe is "
                      "not set any more, the task ends by SIGTRAP"));
    if (vma.flags.has(VmFlag::Ss))
        return refuse(vma, "a shadow stack");
    return MappingClass::PrivateAnonymous; // [heap], [stack], [anon:...]
}

Result<MappingClass> classify_file(const Vma &vma) {
    if (vma.name.starts_with("/[aio]"))
        return MappingClass::AioRing;
    if (vma.name.starts_with("/SYSV"))
        return vma.shared ? MappingClass::SysvSegment : MappingClass::CopyOfSegment;
    if (vma.name == "anon_inode:[io_uring]")
        return MappingClass::IoUring;
    if (vma.name.starts_with("anon_inode:") || vma.name.starts_with("/anon_inode:"))
        return refuse(vma, "memory of a kernel object that cannot be saved");
    if (vma.name.starts_with("/secretmem"))
        return MappingClass::Memfd;
    if (vma.name.starts_with("socket:"))
        return MappingClass::SocketRing;
    if (vma.name.starts_with("/memfd:"))
        return MappingClass::Memfd;
    if (vma.name.starts_with("/anon_hugepage")) // shared: in images a memfd of that name, as CRIU writes it
        return vma.shared ? MappingClass::Memfd : MappingClass::PrivateAnonymous;
    if (vma.name.starts_with("/dev/zero") && vma.deleted)
        return vma.shared ? MappingClass::SharedAnonymous : MappingClass::CopyOfShared;
    if (vma.flags.has(VmFlag::Io) || vma.flags.has(VmFlag::Pf))
        return refuse(vma, "a device's memory");
    return vma.shared ? MappingClass::SharedFile : MappingClass::PrivateFile;
}

uint32_t map_flags(const Vma &vma, const MappingKind &kind) {
    uint32_t flags = kind.flags;
    if (!(flags & (MAP_SHARED | MAP_PRIVATE)))
        flags |= vma.shared ? MAP_SHARED : MAP_PRIVATE;
    if (vma.flags.has(VmFlag::Gd))
        flags |= MAP_GROWSDOWN;
    // Secret memory is locked by itself; mlock(2) of it fails.
    if (vma.flags.has(VmFlag::Lo) && !vma.name.starts_with("/secretmem"))
        flags |= MAP_LOCKED;
    if (vma.flags.has(VmFlag::Nr))
        flags |= MAP_NORESERVE;
    if (vma.flags.has(VmFlag::Ht)) {
        const uint64_t page = std::max<uint64_t>(vma.kernel_page_size, base::kPageSize);
        flags |= MAP_HUGETLB | static_cast<uint32_t>(std::countr_zero(page)) << MAP_HUGE_SHIFT;
    }
    if (vma.flags.has(VmFlag::Dp))
        flags = (flags & ~static_cast<uint32_t>(MAP_PRIVATE)) | kMapDroppable;
    return flags;
}

uint64_t advice(const Vma &vma) {
    uint64_t bits = 0;
    auto add = [&](VmFlag flag, int advice_number) { bits |= uint64_t{vma.flags.has(flag)} << advice_number; };
    add(VmFlag::Sr, MADV_SEQUENTIAL);
    add(VmFlag::Rr, MADV_RANDOM);
    add(VmFlag::Dc, MADV_DONTFORK);
    add(VmFlag::Dd, MADV_DONTDUMP);
    add(VmFlag::Mg, MADV_MERGEABLE);
    add(VmFlag::Hg, MADV_HUGEPAGE);
    add(VmFlag::Nh, MADV_NOHUGEPAGE);
    add(VmFlag::Wf, MADV_WIPEONFORK);
    return bits;
}

uint32_t status_of(const Vma &vma, const MappingKind &kind) {
    uint32_t status = kind.status | (kind.regular ? kVmaRegular : 0);
    if (kind.is == MappingClass::Memfd)
        status |= vma.shared ? kVmaFileShared : kVmaFilePrivate;
    if (kind.is == MappingClass::PrivateAnonymous && vma.name == "[heap]")
        status |= kVmaHeap;
    return status;
}

uint64_t object_id(const Vma &vma, const MappingKind &kind) {
    return kind.object == ObjectId::Inode ? vma.inode : kind.object == ObjectId::Queues ? shared_id_of_queues(vma) : 0;
}

void describe_extension(const Vma &vma, img::vma_entry &entry) {
    constexpr std::string_view kName = "[anon:";
    if (vma.protection_key)
        entry.mutable_ext()->set_pkey(vma.protection_key);
    if (vma.name.starts_with(kName) && vma.name.ends_with(']'))
        entry.mutable_ext()->set_anon_name(vma.name.substr(kName.size(), vma.name.size() - kName.size() - 1));
    if (vma.flags.has(VmFlag::Lf))
        entry.mutable_ext()->set_lock_onfault(true);
    if (vma.flags.has(VmFlag::Sl))
        entry.mutable_ext()->set_sealed(true);
}

} // namespace

bool is_of_probes(const Vma &vma) {
    return vma.name == "[uprobes]";
}

Result<MappingClass> classify(const Vma &vma) {
    if (vma.flags.has(VmFlag::Um) || vma.flags.has(VmFlag::Uw) || vma.flags.has(VmFlag::Ui))
        return refuse(vma, "its page faults are handled by the program (userfaultfd)");
    if (vma.name.empty() || vma.name[0] == '[')
        return classify_special(vma);
    return classify_file(vma);
}

img::vma_entry describe(const Vma &vma, MappingClass is) {
    const MappingKind &kind = mapping_kind(is);
    img::vma_entry entry;
    entry.set_start(vma.start);
    entry.set_end(vma.end);
    entry.set_pgoff(kind.object == ObjectId::File || kind.object == ObjectId::Inode ? vma.pgoff : 0);
    entry.set_shmid(object_id(vma, kind));
    entry.set_prot(vma.prot);
    entry.set_flags(map_flags(vma, kind));
    entry.set_status(status_of(vma, kind));
    entry.set_fd(-1);
    if (uint64_t bits = advice(vma))
        entry.set_madv(bits);
    if (kind.has_access)
        entry.set_fdflags(vma.shared && vma.flags.has(VmFlag::Mw) ? O_RDWR : O_RDONLY);
    describe_extension(vma, entry);
    if (kind.of_shared)
        entry.mutable_ext()->set_of_shared(true);
    return entry;
}

uint64_t shared_id_of_queues(const Vma &vma) {
    constexpr uint64_t kApart = 1u << 31;
    return vma.inode | kApart;
}

} // namespace resource
