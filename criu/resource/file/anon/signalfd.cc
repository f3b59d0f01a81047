// signalfd(2): a set of signals. What is pending belongs to the tasks, not to the descriptor.
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/file.hh"

#include <fcntl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource::signalfd {
namespace {

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:[signalfd]";
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    if (!info.sigmask)
        return base::unsupported("its mask is not in fdinfo");
    img::signalfd_entry *signals = entry.mutable_sgfd();
    signals->set_id(file.id.value);
    signals->set_flags(file.flags);
    TRY(dump_owner(context, file, signals->mutable_fown()));
    signals->set_sigmask(*info.sigmask);
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &, const img::file_entry &entry) {
    const uint64_t mask = entry.sgfd().sigmask();
    const int flags = SFD_CLOEXEC | (entry.sgfd().flags() & O_NONBLOCK ? SFD_NONBLOCK : 0);
    base::UniqueFd fd(static_cast<int>(syscall(SYS_signalfd4, -1, &mask, sizeof mask, flags)));
    if (!fd)
        return base::fail_sys("signalfd");
    return fd;
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.sgfd().fown(), entry.sgfd().flags());
}

} // namespace

extern const FileKind kKind{
    .name = "signalfd",
    .type = img::SIGNALFD,
    .about = {.saved = "mask, flags", .limits = "what is pending belongs to the tasks, and comes back with them"},
    .matches = matches,
    .dump = dump,
    .open = open_file,
    .settle = settle};

} // namespace resource::signalfd
