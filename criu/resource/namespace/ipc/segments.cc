// System V shared memory of a namespace of the tree's own: every segment, attached or not. Those of the host's
// namespace are saved with the tasks that are attached to them (mm/sysv_segment.cc).
#include "criu/resource/namespace/ipc/ipc.hh"

#include "criu/kernel/io.hh"
#include "criu/resource/mm/sysv_segment.hh"

#include "ipc-shm.pb.h"

#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/shm.h>

namespace resource::ipc {
namespace {

/// A segment while it is attached to us, read-only.
class Attached {
public:
    static Result<Attached> attach(int id) {
        void *at = shmat(id, nullptr, SHM_RDONLY);
        if (at == reinterpret_cast<void *>(-1))
            return base::fail_sys("attach");
        return Attached(at);
    }
    Attached(Attached &&other) noexcept : at_(std::exchange(other.at_, nullptr)) {}
    Attached &operator=(Attached &&) = delete;
    ~Attached() {
        if (at_)
            shmdt(at_);
    }
    /// Its memory as a file.
    std::string path(uint64_t bytes) const {
        const auto start = reinterpret_cast<uint64_t>(at_);
        return fmt::format("/proc/self/map_files/{:x}-{:x}", start, start + base::page_up(bytes));
    }

private:
    explicit Attached(void *at) : at_(at) {}
    void *at_;
};

/// pagemap-shmem-N has the contents. Ids of the root task's namespace are the numbers as they are, as in CRIU's images;
/// those of others below it would be the same ones.
uint64_t contents_of(uint32_t below, uint64_t id) {
    return static_cast<uint64_t>(below) << 32 | id;
}

/// The key that a segment was created with. One marked for removal has lost it, but for its name, "/SYSV%08x".
Result<uint32_t> key_of(const std::string &file, const shmid_ds &state) {
    constexpr std::string_view kPrefix = "/SYSV";
    if (!(state.shm_perm.mode & SHM_DEST))
        return static_cast<uint32_t>(state.shm_perm.__key);
    const std::string name = TRY(kernel::read_link(AT_FDCWD, file.c_str()));
    uint32_t key = 0;
    if (name.starts_with(kPrefix))
        std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), key, 16);
    return key;
}

Result<void> dump_segment(NamespaceDumpContext &context, uint32_t ns, int id, const shmid_ds &state) {
    img::ipc_shm_entry entry;
    describe(state.shm_perm, id, entry.mutable_desc());
    entry.set_size(state.shm_segsz);
    entry.set_in_pagemaps(true);
    constexpr unsigned kHuge = SHM_HUGETLB;
    if (state.shm_perm.mode & kHuge)
        return base::unsupported("a segment of huge pages in a namespace of its own");
    const Attached attached = TRY(Attached::attach(id));
    const std::string file = attached.path(state.shm_segsz);
    entry.mutable_desc()->set_key(TRY(key_of(file, state)));
    TRY(context.images.add(image::ImageKind::IpcnsShm, ns, entry));
    const base::UniqueFd memory = TRY(kernel::open_at(AT_FDCWD, file.c_str(), O_RDONLY));
    const bool below = ns != context.namespaces.root_id(tree::NamespaceKind::Ipc);
    return context.dump_contents(contents_of(below ? ns : 0, static_cast<uint64_t>(id)), memory.get());
}

} // namespace

Result<void> dump_segments(NamespaceDumpContext &context, uint32_t ns) {
    shm_info info{};
    const int highest = shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds *>(&info));
    for (int index = 0; index <= highest; index++) {
        shmid_ds state{};
        const int id = shmctl(index, SHM_STAT, &state);
        if (id >= 0)
            TRY_CTX(dump_segment(context, ns, id, state), fmt::format("System V segment {}", id));
    }
    return {};
}

// They stay attached to the root task until its own memory goes: those marked for removal live only as long as somebody
// is, and all tasks have attached theirs by then.
Result<void> fill_segments(NamespaceFillContext &context) {
    const auto entries = TRY(context.images.read<img::ipc_shm_entry>(image::ImageKind::IpcnsShm, context.id));
    std::vector<uint32_t> live;
    const uint32_t below = context.is_below ? context.id : 0;
    return context.segments.restore(
        entries,
        [&](uint64_t id, std::byte *memory, uint64_t size) {
            return context.fill_contents(contents_of(below, id), memory, size);
        },
        live);
}

} // namespace resource::ipc
