// The limits of an IPC namespace: sysctls that each reader sees as those of his own.
#include "criu/resource/namespace/ipc/ipc.hh"

#include "criu/kernel/io.hh"
#include "criu/parse/scan.hh"

#include "ipc-var.pb.h"

#include <fcntl.h>
#include <fmt/format.h>

namespace resource::ipc {
namespace {

using Entry = img::ipc_var_entry;

/// One number of the image and the file that holds it.
template <class T> struct Variable {
    const char *file;
    T (Entry::*get)() const;
    void (Entry::*set)(T);
    bool optional = false; ///< kernels may lack the file
};

constexpr Variable<uint32_t> kNumbers[] = {
    {"kernel/msgmax", &Entry::msg_ctlmax, &Entry::set_msg_ctlmax},
    {"kernel/msgmnb", &Entry::msg_ctlmnb, &Entry::set_msg_ctlmnb},
    {"kernel/msgmni", &Entry::msg_ctlmni, &Entry::set_msg_ctlmni},
    {"kernel/auto_msgmni", &Entry::auto_msgmni, &Entry::set_auto_msgmni, true},
    {"kernel/shmmni", &Entry::shm_ctlmni, &Entry::set_shm_ctlmni},
    {"kernel/shm_rmid_forced", &Entry::shm_rmid_forced, &Entry::set_shm_rmid_forced},
    {"fs/mqueue/queues_max", &Entry::mq_queues_max, &Entry::set_mq_queues_max, true},
    {"fs/mqueue/msg_max", &Entry::mq_msg_max, &Entry::set_mq_msg_max, true},
    {"fs/mqueue/msgsize_max", &Entry::mq_msgsize_max, &Entry::set_mq_msgsize_max, true},
    {"fs/mqueue/msg_default", &Entry::mq_msg_default, &Entry::set_mq_msg_default, true},
    {"fs/mqueue/msgsize_default", &Entry::mq_msgsize_default, &Entry::set_mq_msgsize_default, true},
};
constexpr Variable<uint64_t> kLargeNumbers[] = {
    {"kernel/shmmax", &Entry::shm_ctlmax, &Entry::set_shm_ctlmax},
    {"kernel/shmall", &Entry::shm_ctlall, &Entry::set_shm_ctlall},
};

std::string path_of(const char *file) {
    return fmt::format("/proc/sys/{}", file);
}

Result<std::vector<uint64_t>> read_numbers(const char *file) {
    const std::string text = TRY(kernel::read_file(AT_FDCWD, path_of(file).c_str()));
    std::vector<uint64_t> numbers;
    parse::Scan scan(text);
    for (uint64_t number = 0; (scan.blanks(), scan.dec(number));)
        numbers.push_back(number);
    if (numbers.empty())
        return base::fail(base::ErrorKind::System, fmt::format("{}: no number", path_of(file)));
    return numbers;
}

template <class T> Result<void> read(const Variable<T> &variable, Entry &entry) {
    auto numbers = read_numbers(variable.file);
    if (!numbers && !variable.optional)
        return base::fail(numbers.error());
    (entry.*variable.set)(numbers ? static_cast<T>(numbers->front()) : T{});
    return {};
}

/// Left alone where it is what it must be: not everything may be written by everybody.
Result<void> write(const char *file, const std::string &text, bool optional) {
    auto now = kernel::read_file(AT_FDCWD, path_of(file).c_str());
    if (!now && optional)
        return {};
    while (now && !now->empty() && now->back() == '\n')
        now->pop_back();
    if (now && *now == text)
        return {};
    return kernel::write_file(AT_FDCWD, path_of(file).c_str(), text);
}

} // namespace

Result<void> dump_variables(NamespaceDumpContext &context, uint32_t id) {
    Entry entry;
    for (uint64_t number : TRY(read_numbers("kernel/sem")))
        entry.add_sem_ctls(static_cast<uint32_t>(number));
    for (const auto &variable : kNumbers)
        TRY(read(variable, entry));
    for (const auto &variable : kLargeNumbers)
        TRY(read(variable, entry));
    return context.images.add(image::ImageKind::IpcVar, id, entry);
}

Result<void> fill_variables(NamespaceFillContext &context) {
    const auto entry = TRY(context.images.read_one<Entry>(image::ImageKind::IpcVar, context.id));
    if (!entry)
        return {};
    TRY(write("kernel/sem", fmt::format("{}", fmt::join(entry->sem_ctls(), "\t")), entry->sem_ctls().empty()));
    for (const auto &variable : kLargeNumbers)
        TRY(write(variable.file, std::to_string(((*entry).*variable.get)()), variable.optional));
    for (const auto &variable : kNumbers)
        // 0 is what a kernel without the file was written down as, and no value of any that may be missing.
        if (const uint32_t number = ((*entry).*variable.get)(); number || !variable.optional)
            TRY(write(variable.file, std::to_string(number), variable.optional));
    return {};
}

} // namespace resource::ipc
