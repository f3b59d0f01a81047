// Files in memory: memfd_create(2), of ordinary and of huge pages. The inode is a message of its own (memfd.img), its
// contents are a pagemap-shmem of its number; each description is opened through /proc/self/fd.
//
// CRIU writes shared anonymous memory as a memfd called "/dev/zero", and that of huge pages as "/anon_hugepage", open
// in no descriptor and without flags: what is only mapped is opened for reading and writing whatever its flags say.
#include "criu/resource/file/anon/secret_memory.hh"
#include "criu/resource/file/external.hh"
#include "criu/resource/file/file.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace resource::memfd {
namespace {

constexpr std::string_view kPrefix = "/memfd:", kDeleted = " (deleted)";
constexpr std::string_view kAnonymousHuge = "/anon_hugepage"; // shared memory of mmap(MAP_ANONYMOUS | MAP_HUGETLB)
constexpr unsigned kHugeShift = 26;                           // of the page size's logarithm in memfd_create's flags
constexpr uint32_t kHugeIds = 0x8000'0000; // shmids of huge files: their inode numbers are counted apart
constexpr uint32_t kFutureWrite = 0x10;    // F_SEAL_FUTURE_WRITE
constexpr uint32_t kKnownSeals = 0x3f;

bool is_hugetlbfs(int fd) {
    struct statfs fs {};
    return fstatfs(fd, &fs) == 0 && static_cast<uint32_t>(fs.f_type) == HUGETLBFS_MAGIC;
}

// Who has mapped the file before may write on under this seal: it comes when all tasks have mapped it.
uint32_t early_seals(uint32_t seals) {
    return seals & kFutureWrite ? seals & ~(kFutureWrite | F_SEAL_SEAL) : seals;
}

/// A file on a mounted hugetlbfs may have the same name, but not without a device of its own.
bool is_anonymous_huge(const OpenFile &file) {
    return file.link.starts_with(kAnonymousHuge) && file.link.ends_with(kDeleted) && is_hugetlbfs(file.fd) &&
           file.stat.st_nlink == 0;
}

bool matches(const OpenFile &file) {
    return is_secret_memory(file) ||
           (S_ISREG(file.stat.st_mode) && (file.link.starts_with(kPrefix) || is_anonymous_huge(file)));
}

// ---- dump ----------------------------------------------------------------------------------------------------------

struct DumpedInodes {
    std::map<std::pair<uint64_t, uint64_t>, uint32_t> ids; ///< device and inode number -> inode_id
};

std::string name_of(const OpenFile &file) {
    if (is_secret_memory(file))
        return "secretmem";
    std::string_view name = file.link;
    if (name.starts_with(kPrefix))
        name.remove_prefix(kPrefix.size());
    if (name.ends_with(kDeleted))
        name.remove_suffix(kDeleted.size());
    return std::string(name);
}

Result<void> dump_inode(FileDumpContext &context, const OpenFile &file, uint32_t id) {
    struct statfs fs {};
    if (fstatfs(file.fd, &fs) < 0)
        return base::fail_sys("statfs of a memfd");
    const bool huge = static_cast<uint32_t>(fs.f_type) == HUGETLBFS_MAGIC;
    const bool secret = is_secret_memory(file);
    const int seals = secret ? 0 : fcntl(file.fd, F_GET_SEALS);
    if (seals < 0)
        return base::fail_sys("fcntl(F_GET_SEALS)");
    img::memfd_inode_entry inode;
    inode.set_name(name_of(file));
    inode.set_uid(file.stat.st_uid);
    inode.set_gid(file.stat.st_gid);
    inode.set_size(static_cast<uint64_t>(file.stat.st_size));
    inode.set_shmid(huge ? kHugeIds | id : static_cast<uint32_t>(file.stat.st_ino));
    inode.set_seals(static_cast<uint32_t>(seals));
    inode.set_inode_id(id);
    inode.set_mode(file.stat.st_mode);
    if (huge)
        inode.set_hugetlb_flag(MFD_HUGETLB | static_cast<uint32_t>(__builtin_ctzll(static_cast<uint64_t>(fs.f_bsize)))
                                                 << kHugeShift);
    if (secret)
        inode.set_secret(true);
    TRY(context.images.add(image::ImageKind::MemfdInode, 0, inode));
    if (secret)
        return context.dump_contents(inode.shmid(), TRY(copy_secret_memory(file.fd, inode.size())).get());
    // The position of a description that is shared with the task is no place to search for data from.
    base::UniqueFd reader(open(fmt::format("/proc/self/fd/{}", file.fd).c_str(), O_RDONLY | O_CLOEXEC));
    if (!reader)
        return base::fail_sys("open a memfd for reading");
    return context.dump_contents(inode.shmid(), reader.get());
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    auto &ids = context.states.of<DumpedInodes>().ids;
    auto [inode, is_new] = ids.try_emplace({file.stat.st_dev, file.stat.st_ino}, static_cast<uint32_t>(ids.size()) + 1);
    if (is_new)
        TRY(dump_inode(context, file, inode->second));
    img::memfd_file_entry *memfd = entry.mutable_memfd();
    memfd->set_id(file.id.value);
    memfd->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    memfd->set_pos(static_cast<uint64_t>(std::max<off_t>(0, lseek(file.fd, 0, SEEK_CUR))));
    memfd->set_inode_id(inode->second);
    return dump_owner(context, file, memfd->mutable_fown());
}

// ---- restore -------------------------------------------------------------------------------------------------------

struct Inode {
    img::memfd_inode_entry entry;
    base::UniqueFd fd;      ///< as memfd_create() has returned it
    bool passed_on = false; ///< a file of the image is this description
};

/// The description that memfd_create() has returned counts as no writer: a program in it can be run, unlike behind one
/// that was opened again for writing.
Result<base::UniqueFd> original(const Inode &inode, uint32_t flags, uint64_t position) {
    base::UniqueFd fd(fcntl(inode.fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!fd || fcntl(fd.get(), F_SETFL, flags) < 0)
        return base::fail_sys(fmt::format("keep memfd {}", inode.entry.name()));
    if (position && lseek(fd.get(), static_cast<off_t>(position), SEEK_SET) < 0)
        return base::fail_sys("seek in a memfd");
    return fd;
}

struct Inodes {
    bool loaded = false;
    std::map<uint64_t, Inode> by_id;
};

Result<Inode *> find_inode(const image::ImageDir &images, KindStates &states, uint64_t id) {
    auto &inodes = states.of<Inodes>();
    if (!inodes.loaded)
        for (auto &entry : TRY(images.read<img::memfd_inode_entry>(image::ImageKind::MemfdInode)))
            inodes.by_id[entry.inode_id()].entry = entry;
    inodes.loaded = true;
    auto inode = inodes.by_id.find(id);
    if (inode == inodes.by_id.end())
        return base::bad_image(fmt::format("memfd.img: inode {} is missing", id));
    return &inode->second;
}

Result<void> fill(FileOpenContext &context, int fd, const img::memfd_inode_entry &inode) {
    // Page by page past the end of an unaligned file: the mapping covers its last page whole.
    const uint64_t page = inode.hugetlb_flag() ? uint64_t{1} << (inode.hugetlb_flag() >> kHugeShift) : 4096;
    if (inode.size() > static_cast<uint64_t>(INT64_MAX) - page)
        return base::bad_image(fmt::format("memfd.img: inode {} has an impossible size", inode.inode_id()));
    if (ftruncate(fd, static_cast<off_t>(inode.size())) < 0)
        return base::fail_sys(fmt::format("set the size of memfd {}", inode.name()));
    const uint64_t size = (inode.size() + page - 1) / page * page;
    if (!size)
        return {};
    void *at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED)
        return base::fail_sys(fmt::format("map memfd {}", inode.name()));
    auto filled = context.fill_contents(inode.shmid(), static_cast<std::byte *>(at), size);
    munmap(at, size);
    return filled;
}

/// Huge pages that no memfd holds: mapped as the program had mapped them, and opened through that mapping.
Result<base::UniqueFd> create_anonymous_huge(const kernel::Outside &outside, const img::memfd_inode_entry &entry,
                                             uint32_t huge) {
    const int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | static_cast<int>(huge & (0x3fu << kHugeShift));
    const uint64_t page = uint64_t{1} << (huge >> kHugeShift);
    void *at = mmap(nullptr, entry.size(), PROT_READ | PROT_WRITE, flags, -1, 0);
    if (at == MAP_FAILED)
        return base::fail(
            base::Error::sys(fmt::format("map {} bytes of shared huge pages", entry.size()))
                .hint(fmt::format("there have to be free huge pages of {} KiB (vm.nr_hugepages)", page >> 10)));
    const auto start = reinterpret_cast<uint64_t>(at);
    const uint64_t end = start + (entry.size() + page - 1) / page * page;
    base::UniqueFd fd = outside.open_mapping(start, end);
    const int code = errno;
    munmap(at, end - start);
    if (!fd)
        return base::fail_sys(code, "open shared huge pages (needs CAP_CHECKPOINT_RESTORE)");
    return fd;
}

Result<void> create(FileOpenContext &context, Inode &inode) {
    const img::memfd_inode_entry &entry = inode.entry;
    const uint32_t huge = entry.has_hugetlb_flag() ? MFD_HUGETLB | (entry.hugetlb_flag() & (0x3fu << kHugeShift)) : 0;
    if (huge && ((huge >> kHugeShift & 0x3f) < 12 || (huge >> kHugeShift & 0x3f) > 40))
        return base::bad_image(fmt::format("memfd.img: inode {} has impossible huge pages", entry.inode_id()));
    if (entry.seals() & ~kKnownSeals)
        return base::bad_image(fmt::format("memfd.img: inode {} has unknown seals", entry.inode_id()));
    if (entry.secret())
        inode.fd = TRY(create_secret_memory());
    else if (huge && entry.name() == kAnonymousHuge)
        inode.fd = TRY(create_anonymous_huge(context.outside, entry, huge));
    else
        inode.fd.reset(static_cast<int>(memfd_create(entry.name().c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | huge)));
    if (!inode.fd)
        return base::fail_sys(fmt::format("memfd_create {}", entry.name()));
    const int fd = inode.fd.get();
    if (fchown(fd, entry.uid(), entry.gid()) < 0 || (entry.has_mode() && fchmod(fd, entry.mode() & 07777) < 0))
        return base::fail_sys(fmt::format("set owner and mode of memfd {}", entry.name()));
    TRY(fill(context, fd, entry));
    const bool sealed = fcntl(fd, F_GET_SEALS) == static_cast<int>(early_seals(entry.seals()));
    if (!entry.secret() && !sealed && fcntl(fd, F_ADD_SEALS, early_seals(entry.seals())) < 0)
        return base::fail_sys("fcntl(F_ADD_SEALS)");
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &entry) {
    const img::memfd_file_entry &memfd = entry.memfd();
    Inode &inode = *TRY(find_inode(context.images, context.states, memfd.inode_id()));
    if (!inode.fd)
        TRY(create(context, inode));
    if (inode.entry.secret()) { // there is one description of it: it cannot be opened again
        base::UniqueFd same(fcntl(inode.fd.get(), F_DUPFD_CLOEXEC, 0));
        if (!same)
            return base::fail_sys("keep secret memory");
        return same;
    }
    const uint32_t flags = memfd.flags() & ~static_cast<uint32_t>(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY);
    const bool held = context.is_held(entry.id());
    if (!held || ((flags & (O_ACCMODE | O_PATH)) == O_RDWR && !std::exchange(inode.passed_on, true)))
        return original(inode, held ? flags : O_RDWR, memfd.pos());
    base::UniqueFd fd(
        open(fmt::format("/proc/self/fd/{}", inode.fd.get()).c_str(), static_cast<int>(flags | O_CLOEXEC)));
    if (!fd)
        return base::fail_sys(fmt::format("open memfd {}", inode.entry.name()));
    if (memfd.pos() && lseek(fd.get(), static_cast<off_t>(memfd.pos()), SEEK_SET) < 0)
        return base::fail_sys("seek in a memfd");
    return fd;
}

std::string key_of(const img::memfd_inode_entry &inode) {
    return path_key(std::string(kPrefix) + inode.name());
}

Result<std::string> inherit_key(FileOpenContext &context, const img::file_entry &entry) {
    Inode &inode = *TRY(find_inode(context.images, context.states, entry.memfd().inode_id()));
    return key_of(inode.entry);
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.memfd().fown(), entry.memfd().flags());
}

/// The seals that had to wait. What is only mapped has had no descriptor to be sealed through since; nor has it one
/// now.
Result<void> release(FileReleaseContext &context, int fd, const img::file_entry &entry) {
    const int now = fcntl(fd, F_GET_SEALS);
    if (now < 0 || (now & F_SEAL_SEAL))
        return {};
    const Inode &inode = *TRY(find_inode(context.images, context.states, entry.memfd().inode_id()));
    if (given_for(context.options, key_of(inode.entry)) >= 0)
        return {};
    if (inode.entry.seals() == static_cast<uint32_t>(now))
        return {};
    base::UniqueFd writer(open(fmt::format("/proc/self/fd/{}", fd).c_str(), O_RDWR | O_CLOEXEC));
    if (fcntl(writer.get(), F_ADD_SEALS, inode.entry.seals()) < 0)
        return base::fail_sys("fcntl(F_ADD_SEALS)");
    return {};
}

} // namespace

extern const FileKind kKind{
    .name = "memfd",
    .type = img::MEMFD,
    .about = {.saved = "name, owner, mode, seals, contents, huge pages; open, mapped, or both; secret memory "
                       "(memfd_secret)",
              .limits = "data of a memfd of huge pages needs as many free ones on restore; secret memory "
                        "whose descriptor was closed is refused"},
    .matches = matches,
    .dump = dump,
    .open = open_file,
    .inherit_key = inherit_key,
    .settle = settle,
    .release = release};

} // namespace resource::memfd
