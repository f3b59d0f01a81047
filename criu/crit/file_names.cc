#include "criu/crit/file_names.hh"

#include "criu/crit/text_codecs.hh"

#include <fmt/format.h>

namespace crit {

base::Result<FileNames> FileNames::load(const image::ImageDir &dir) {
    FileNames names;
    for (auto &file : TRY(dir.read<img::file_entry>(image::ImageKind::Files)))
        names.files_.emplace(file.id(), std::move(file));
    return names;
}

std::string FileNames::path(uint32_t id) const {
    auto found = files_.find(id);
    return found != files_.end() && found->second.has_reg() ? found->second.reg().name() : "unknown path";
}

std::string FileNames::describe(img::fd_types type, uint32_t id) const {
    auto found = files_.find(id);
    if (type == img::REG)
        return path(id);
    if (type == img::PIPE && found != files_.end() && found->second.has_pipe())
        return fmt::format("pipe[{}]", found->second.pipe().pipe_id());
    if (type == img::UNIXSK && found != files_.end() && found->second.has_usk()) {
        const auto &sk = found->second.usk();
        std::string name = sk.name().empty() ? "" : ' ' + quoted_printable_encode(sk.name());
        return fmt::format("unix[{} ({}){}]", sk.ino(), sk.peer(), name);
    }
    return fmt::format("{}.{}", img::fd_types_Name(type), id);
}

} // namespace crit
