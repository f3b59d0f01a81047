// FIFOs: named pipes. The name is an ordinary file of the image (its reg_file_entry has the id of the FIFO's regf_id),
// which may itself be a ghost. Opening one blocks until the other side is there, so both sides are opened through a
// descriptor that has both.
#include "criu/resource/file/external.hh"
#include "criu/resource/file/kinds.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace resource::fifo {
namespace {

bool matches(const OpenFile &file) {
    return S_ISFIFO(file.stat.st_mode) && file.link.starts_with('/') && !(file.flags & O_PATH);
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    img::fifo_entry *fifo = entry.mutable_fifo();
    fifo->set_id(file.id.value);
    fifo->set_pipe_id(static_cast<uint32_t>(file.stat.st_ino));
    OpenFile named = file;
    named.id = context.new_id();
    fifo->set_regf_id(named.id.value);
    img::file_entry path;
    path.set_type(img::REG);
    path.set_id(named.id.value);
    TRY(regular::kKind.dump(context, named, path));
    TRY(context.images.add(image::ImageKind::Files, 0, path));
    img::ext_pipe ext;
    TRY(dump_pipe_data(context, file, image::ImageKind::FifoData, &ext));
    if (ext.has_packet_mode())
        *fifo->mutable_ext() = ext;
    return {};
}

Result<base::UniqueFd> open_fifo(FileOpenContext &context, const img::file_entry &entry) {
    auto named = context.files.find(entry.fifo().regf_id());
    if (named == context.files.end() || !named->second.has_reg())
        return base::bad_image(fmt::format("FIFO {} has no path", entry.id()));
    const img::reg_file_entry &reg = named->second.reg();
    auto it = context.pipes.find(entry.fifo().pipe_id());
    if (it == context.pipes.end()) {
        std::string path = TRY(path_to_open(context, named->first, reg.name()));
        base::UniqueFd both(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
        if (!both)
            return base::fail_sys(fmt::format("open the FIFO {}", path));
        struct stat st {};
        if (fstat(both.get(), &st) < 0 || !S_ISFIFO(st.st_mode))
            return base::unsupported(fmt::format("{} is no FIFO any more", path));
        TRY(restore_pipe_data(context, image::ImageKind::FifoData, entry.fifo().pipe_id(), both.get(),
                              entry.fifo().has_ext() ? &entry.fifo().ext() : nullptr));
        it = context.pipes.emplace(entry.fifo().pipe_id(), FreshPipe{}).first;
        it->second.ends[kReadEnd] = std::move(both);
    }
    return reopen_pipe(it->second, reg.flags());
}

Result<std::string> inherit_key(FileOpenContext &context, const img::file_entry &entry) {
    auto named = context.files.find(entry.fifo().regf_id());
    return named == context.files.end() ? std::string() : path_key(named->second.reg().name());
}

Result<void> settle(FileSettleContext &context, int fd, const img::file_entry &entry) {
    auto named = context.files.find(entry.fifo().regf_id());
    return named == context.files.end() ? Result<void>{}
                                        : restore_owner(fd, named->second.reg().fown(), named->second.reg().flags());
}

} // namespace

extern const FileKind kKind{
    .name = "FIFO",
    .type = img::FIFO,
    .about = {.saved = "path, flags, capacity, contents; removed FIFOs too", .restored = "opened by its path"},
    .matches = matches,
    .dump = dump,
    .open = open_fifo,
    .inherit_key = inherit_key,
    .settle = settle};

} // namespace resource::fifo
