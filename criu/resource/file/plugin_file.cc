#include "criu/resource/file/plugin_file.hh"

#include <fmt/format.h>

namespace resource {

Result<bool> dump_with_plugin(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    if (!TRY(context.plugins.dump_file(file.fd, file.id.value)))
        return false;
    entry.set_type(img::EXT);
    entry.set_id(file.id.value);
    entry.mutable_ext()->set_id(file.id.value);
    TRY(dump_owner(context, file, entry.mutable_ext()->mutable_fown()));
    return true;
}

Result<base::UniqueFd> open_file_of_plugin(FileOpenContext &context, const img::file_entry &entry) {
    auto restored = TRY(context.plugins.restore_file(entry.ext().id()));
    context.try_again = restored.try_again;
    if (restored.fd || restored.try_again)
        return std::move(restored.fd);
    return base::fail(base::Error(base::ErrorKind::Unsupported,
                                  fmt::format("file {} was saved by a plugin, and none restores it", entry.id()))
                          .hint("say with -L where the plugin is that took part in the dump"));
}

Result<void> settle_file_of_plugin(FileSettleContext &, int fd, const img::file_entry &entry) {
    if (entry.ext().has_io_uring())
        return {};
    // A signal for ready files (O_ASYNC) is the plugin's to set.
    return restore_owner(fd, entry.ext().fown(), 0);
}

} // namespace resource
