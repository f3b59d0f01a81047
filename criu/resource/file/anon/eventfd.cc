// eventfd(2): a counter. Whether reads take one or all (EFD_SEMAPHORE) is told by fdinfo since Linux 6.4; CRIU's images
// have no place for it, ours have.
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/file.hh"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace resource::eventfd {
namespace {

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:[eventfd]";
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    if (!info.eventfd)
        return base::unsupported("its counter is not in fdinfo");
    img::eventfd_file_entry *event = entry.mutable_efd();
    event->set_id(file.id.value);
    event->set_flags(file.flags);
    TRY(dump_owner(context, file, event->mutable_fown()));
    event->set_counter(info.eventfd->count);
    if (info.eventfd->semaphore)
        event->set_semaphore(true);
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &, const img::file_entry &entry) {
    const img::eventfd_file_entry &event = entry.efd();
    base::UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (event.semaphore() ? EFD_SEMAPHORE : 0)));
    if (!fd)
        return base::fail_sys("eventfd");
    const uint64_t counter = event.counter();
    if (counter && write(fd.get(), &counter, sizeof counter) != sizeof counter)
        return base::fail_sys("set the counter of an eventfd");
    if (fcntl(fd.get(), F_SETFL, static_cast<int>(event.flags() & O_NONBLOCK)) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return fd;
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.efd().fown(), entry.efd().flags());
}

} // namespace

extern const FileKind kKind{
    .name = "eventfd",
    .type = img::EVENTFD,
    .about = {.saved = "counter, semaphore mode, flags", .limits = "images of CRIU do not tell the semaphore mode"},
    .matches = matches,
    .dump = dump,
    .open = open_file,
    .settle = settle};

} // namespace resource::eventfd
