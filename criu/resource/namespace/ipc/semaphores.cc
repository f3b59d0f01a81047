// System V semaphores: sets of values. Undo lists hang on tasks and are not told by the kernel.
#include "criu/resource/namespace/ipc/ipc.hh"

#include "ipc-sem.pb.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <sys/sem.h>

namespace resource::ipc {
namespace {

constexpr const char *kSemaphoreSet = "System V semaphores";
constexpr uint32_t kMostSemaphores = 32000; // SEMMSL at its highest

union Argument {
    int value;
    semid_ds *state;
    unsigned short *values;
    seminfo *info;
};

Result<void> dump_set(NamespaceDumpContext &context, uint32_t ns, int id, const semid_ds &state) {
    img::ipc_sem_entry entry;
    describe(state.sem_perm, id, entry.mutable_desc());
    entry.set_nsems(static_cast<uint32_t>(state.sem_nsems));
    std::vector<unsigned short> values(state.sem_nsems);
    if (semctl(id, 0, GETALL, Argument{.values = values.data()}) < 0)
        return base::fail_sys(name_of(kSemaphoreSet, entry.desc()));
    return context.images.add(image::ImageKind::IpcnsSem, ns, entry, std::as_bytes(std::span(values)));
}

Result<void> create_set(const img::ipc_sem_entry &entry, std::span<const std::byte> payload) {
    const img::ipc_desc_entry &desc = entry.desc();
    std::vector<unsigned short> values(entry.nsems());
    const auto wanted = std::as_writable_bytes(std::span(values));
    if (!entry.nsems() || entry.nsems() > kMostSemaphores || payload.size() < wanted.size() || desc.id() > INT32_MAX)
        return base::bad_image("an impossible number of semaphores or id");
    std::ranges::copy(payload.first(wanted.size()), wanted.begin());
    TRY(ask_for_id("sem_next_id", desc.id()));
    const int id = semget(static_cast<key_t>(desc.key()), static_cast<int>(entry.nsems()), creation_flags(desc));
    if (id < 0)
        return base::fail_sys("semget");
    if (id != static_cast<int>(desc.id()))
        return base::bad_image("another set has its slot");
    if (semctl(id, 0, SETALL, Argument{.values = values.data()}) < 0)
        return base::fail_sys("set the values");
    semid_ds owner{};
    owner.sem_perm.uid = desc.uid();
    owner.sem_perm.gid = desc.gid();
    owner.sem_perm.mode = static_cast<unsigned short>(desc.mode() & 0777);
    if (semctl(id, 0, IPC_SET, Argument{.state = &owner}) < 0)
        return base::fail_sys("set the owner");
    return {};
}

} // namespace

Result<void> dump_semaphores(NamespaceDumpContext &context, uint32_t ns) {
    seminfo info{};
    const int highest = semctl(0, 0, SEM_INFO, Argument{.info = &info});
    for (int index = 0; index <= highest; index++) {
        semid_ds state{};
        const int id = semctl(index, 0, SEM_STAT, Argument{.state = &state});
        if (id >= 0)
            TRY(dump_set(context, ns, id, state));
    }
    return {};
}

Result<void> fill_semaphores(NamespaceFillContext &context) {
    for (const auto &set :
         TRY(context.images.read_with_payload<img::ipc_sem_entry>(image::ImageKind::IpcnsSem, context.id)))
        TRY_CTX(create_set(set.message, set.payload), name_of(kSemaphoreSet, set.message.desc()));
    return {};
}

} // namespace resource::ipc
