#include "criu/resource/mm/sysv_segment.hh"

#include "criu/kernel/namespaces.hh"

#include "base/ids.hh"
#include "base/unique_fd.hh"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/mman.h>
#include <set>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr uint32_t kModeBits = 0777;
constexpr uint32_t kHugeBits = 0x3fu << MAP_HUGE_SHIFT; // the logarithm of the page size
constexpr uint64_t kMostBytes = uint64_t{1} << 46;

std::string name_of(const img::ipc_shm_entry &entry) {
    return fmt::format("System V segment {} (key {:#x})", entry.desc().id(), entry.desc().key());
}

bool is_removed(const img::ipc_shm_entry &entry) {
    return entry.desc().mode() & SHM_DEST;
}

uint64_t page_size(const img::ipc_shm_entry &entry) {
    return entry.hugetlb_flag() ? uint64_t{1} << (entry.hugetlb_flag() >> MAP_HUGE_SHIFT) : base::kPageSize;
}

uint64_t whole_pages(uint64_t bytes, uint64_t page) {
    return (bytes + page - 1) / page * page;
}

/// Bytes of address space that an attached segment takes, its last page whole: it can be of any size of pages.
uint64_t attached_size(const void *at, uint64_t bytes) {
    struct statfs fs {};
    const auto start = reinterpret_cast<uint64_t>(at);
    for (uint64_t page : {base::kPageSize, base::kHugePageSize, uint64_t{1} << 30}) {
        const std::string name = fmt::format("/proc/self/map_files/{:x}-{:x}", start, start + whole_pages(bytes, page));
        if (statfs(name.c_str(), &fs) == 0)
            return whole_pages(bytes, static_cast<uint64_t>(fs.f_bsize));
    }
    return whole_pages(bytes, base::kPageSize);
}

/// The key that a segment was created with: a removed one has no other trace of it than its name, "/SYSV%08x".
uint32_t key_in_name(const parse::Vma &vma) {
    constexpr size_t kDigitsAt = 5;
    uint32_t key = 0;
    std::from_chars(vma.name.data() + std::min(kDigitsAt, vma.name.size()), vma.name.data() + vma.name.size(), key, 16);
    return key;
}

/// Who has the id now; nothing if it is free.
bool stat_segment(int id, shmid_ds &now) {
    return shmctl(id, IPC_STAT, &now) == 0;
}

bool is_same(const img::ipc_shm_entry &entry, const shmid_ds &now) {
    const bool removed = now.shm_perm.mode & SHM_DEST;
    return now.shm_segsz == entry.size() && removed == is_removed(entry) &&
           (removed || static_cast<uint32_t>(now.shm_perm.__key) == entry.desc().key());
}

Result<void> check(const img::ipc_shm_entry &entry) {
    const img::ipc_desc_entry &desc = entry.desc();
    if (!entry.size() || entry.size() > kMostBytes || desc.id() > INT32_MAX)
        return base::bad_image(name_of(entry) + " has an impossible size or id");
    if (entry.hugetlb_flag() && (page_size(entry) < base::kPageSize || page_size(entry) > kMostBytes))
        return base::bad_image(name_of(entry) + " has impossible huge pages");
    if (!entry.in_pagemaps())
        return base::unsupported(name_of(entry) + " has its contents beside its entry, which is not supported yet");
    shmid_ds now{};
    if (stat_segment(static_cast<int>(desc.id()), now))
        return is_same(entry, now) ? Result<void>{}
                                   : base::unsupported(name_of(entry) + ": another segment has its id now");
    const int holder = desc.key() && !is_removed(entry) ? shmget(static_cast<key_t>(desc.key()), 0, 0) : -1;
    if (holder >= 0)
        return base::unsupported(fmt::format("{}: segment {} has its key now", name_of(entry), holder));
    return {};
}

/// The kernel gives the next segment this id, or one behind it when its slot is in use.
Result<void> ask_for_id(uint32_t id) {
    base::UniqueFd file(open("/proc/sys/kernel/shm_next_id", O_WRONLY | O_CLOEXEC));
    const std::string text = std::to_string(id);
    if (!file || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return base::fail_sys("choose the id of a System V segment (kernel.shm_next_id)");
    return {};
}

Result<int> create(const img::ipc_shm_entry &entry) {
    const img::ipc_desc_entry &desc = entry.desc();
    const uint32_t huge = entry.hugetlb_flag() ? SHM_HUGETLB | (entry.hugetlb_flag() & kHugeBits) : 0;
    const int flags = IPC_CREAT | IPC_EXCL | static_cast<int>((desc.mode() & kModeBits) | huge);
    TRY(ask_for_id(desc.id()));
    int id = shmget(static_cast<key_t>(desc.key()), entry.size(), flags);
    if (id < 0 && errno == EEXIST && is_removed(entry)) { // the key went to a successor: nobody can look for it here
        TRY(ask_for_id(desc.id()));
        id = shmget(IPC_PRIVATE, entry.size(), flags);
    }
    if (id < 0)
        return base::fail_sys("create " + name_of(entry));
    if (id == static_cast<int>(desc.id()))
        return id;
    shmctl(id, IPC_RMID, nullptr);
    return base::unsupported(name_of(entry) + ": the slot of its id is taken by another segment");
}

Result<void> set_owner(int id, const img::ipc_shm_entry &entry) {
    shmid_ds wanted{};
    wanted.shm_perm.uid = entry.desc().uid();
    wanted.shm_perm.gid = entry.desc().gid();
    wanted.shm_perm.mode = static_cast<decltype(wanted.shm_perm.mode)>(entry.desc().mode() & kModeBits);
    if (shmctl(id, IPC_SET, &wanted) < 0)
        return base::fail_sys("set the owner of " + name_of(entry));
    return {};
}

} // namespace

Result<void> check_segment(const parse::Vma &vma, const tree::Namespace &home) {
    const base::UniqueFd ns = TRY(kernel::open_namespace(home.member, home.kind));
    return kernel::inside(std::array{ns.get()}, [&]() -> Result<void> {
        shmid_ds now{};
        if (vma.inode > INT32_MAX || !stat_segment(static_cast<int>(vma.inode), now))
            return base::unsupported(
                fmt::format("{}: the segment is not of the IPC namespace that the task lives in", vma.name));
        return {};
    });
}

Result<img::ipc_shm_entry> describe_segment(const parse::Vma &vma) {
    // The inode's number is the id; its device is that of all shared memory.
    const auto id = static_cast<int>(vma.inode);
    shmid_ds now{};
    if (vma.inode > INT32_MAX || !stat_segment(id, now))
        return base::unsupported(fmt::format("{}: the segment is not of this IPC namespace", vma.name));
    img::ipc_shm_entry entry;
    img::ipc_desc_entry *desc = entry.mutable_desc();
    const bool removed = now.shm_perm.mode & SHM_DEST;
    desc->set_key(removed ? key_in_name(vma) : static_cast<uint32_t>(now.shm_perm.__key));
    desc->set_uid(now.shm_perm.uid);
    desc->set_gid(now.shm_perm.gid);
    desc->set_cuid(now.shm_perm.cuid);
    desc->set_cgid(now.shm_perm.cgid);
    desc->set_mode(now.shm_perm.mode & (kModeBits | SHM_DEST));
    desc->set_id(static_cast<uint32_t>(id));
    entry.set_size(now.shm_segsz);
    entry.set_in_pagemaps(true);
    if (vma.flags.has(parse::VmFlag::Ht))
        entry.set_hugetlb_flag(SHM_HUGETLB | static_cast<uint32_t>(std::countr_zero(vma.kernel_page_size))
                                                 << MAP_HUGE_SHIFT);
    return entry;
}

SegmentSet::~SegmentSet() {
    for (void *at : attached_)
        shmdt(at);
}

void SegmentSet::take_back() {
    for (int id : created_)
        shmctl(id, IPC_RMID, nullptr);
}

Result<void> SegmentSet::restore(const std::vector<img::ipc_shm_entry> &entries, const Fill &fill,
                                 std::vector<uint32_t> &live) {
    std::set<uint32_t> ids;
    for (const img::ipc_shm_entry &entry : entries) {
        if (!ids.insert(entry.desc().id()).second)
            return base::bad_image(name_of(entry) + " is there twice");
        TRY(check(entry));
    }
    for (const img::ipc_shm_entry &entry : entries)
        TRY_CTX(restore_one(entry, fill, live), name_of(entry));
    return {};
}

Result<void> SegmentSet::restore_one(const img::ipc_shm_entry &entry, const Fill &fill, std::vector<uint32_t> &live) {
    auto id = static_cast<int>(entry.desc().id());
    shmid_ds now{};
    const bool exists = stat_segment(id, now);
    if (exists && now.shm_nattch) { // others work with it: what they have written since is the truth
        live.push_back(entry.desc().id());
        return {};
    }
    if (!exists)
        created_.push_back(id = TRY(create(entry)));
    void *at = shmat(id, nullptr, 0);
    if (at == reinterpret_cast<void *>(-1))
        return base::fail_sys("attach");
    attached_.push_back(at);
    const uint64_t size = whole_pages(entry.size(), page_size(entry));
    // Pages of zeroes are not in the image.
    if (exists && madvise(at, size, MADV_REMOVE) < 0)
        return base::fail_sys("empty the segment that is there");
    TRY(fill(entry.desc().id(), static_cast<std::byte *>(at), size));
    TRY(set_owner(id, entry));
    if (is_removed(entry) && shmctl(id, IPC_RMID, nullptr) < 0) // lives on while somebody is attached
        return base::fail_sys("mark for removal");
    return {};
}

Result<void> attach_segment(int id, uint64_t offset, uint64_t size, uint64_t at, int prot, bool may_write) {
    shmid_ds now{};
    if (!stat_segment(id, now))
        return base::fail_sys(fmt::format("find System V segment {}", id));
    // Always attached as a whole; the part that the task has kept is moved, the rest goes.
    void *all = shmat(id, nullptr, (may_write ? 0 : SHM_RDONLY) | (prot & PROT_EXEC ? SHM_EXEC : 0));
    if (all == reinterpret_cast<void *>(-1))
        return base::fail_sys(fmt::format("attach System V segment {}", id));
    auto *start = static_cast<std::byte *>(all);
    const uint64_t whole = attached_size(all, now.shm_segsz);
    if (offset > whole || size > whole - offset)
        return base::bad_image(fmt::format("System V segment {} is smaller than its mapping", id));
    if (mremap(start + offset, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, reinterpret_cast<void *>(at)) == MAP_FAILED)
        return base::fail_sys(fmt::format("move System V segment {}", id));
    if (offset)
        munmap(start, offset);
    if (const uint64_t behind = whole - offset - size)
        munmap(start + offset + size, behind);
    if (mprotect(reinterpret_cast<void *>(at), size, prot) < 0)
        return base::fail_sys(fmt::format("protect System V segment {}", id));
    return {};
}

Result<base::UniqueFd> open_segment(int id, const std::function<base::UniqueFd(uint64_t, uint64_t)> &open_mapping) {
    shmid_ds now{};
    void *at = stat_segment(id, now) ? shmat(id, nullptr, 0) : reinterpret_cast<void *>(-1);
    if (at == reinterpret_cast<void *>(-1))
        return base::fail_sys(fmt::format("attach System V segment {}", id));
    const auto start = reinterpret_cast<uint64_t>(at);
    base::UniqueFd file = open_mapping(start, start + attached_size(at, now.shm_segsz));
    const int code = errno;
    shmdt(at);
    if (!file)
        return base::fail_sys(code, fmt::format("open System V segment {} (needs CAP_CHECKPOINT_RESTORE)", id));
    return file;
}

} // namespace resource
