// The verbs of unix sockets, for the table row in unix_socket.cc.
#pragma once

#include "criu/resource/file/file.hh"

namespace resource::unix_socket {

bool matches(const OpenFile &file);
Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry);
Result<void> finish(FileDumpContext &context);
Result<bool> destructive_step(FileDumpContext &context);
Result<void> examine(const OpenFile &file, const Examined &known);
Place place(const img::file_entry &entry);
Result<base::UniqueFd> open(FileOpenContext &context, const img::file_entry &entry);
Result<std::string> inherit_key(FileOpenContext &context, const img::file_entry &entry);
Result<std::vector<FileId>> carries(const FileImages &images, const img::file_entry &entry);
Result<void> complete(FileOpenContext &context, int fd, const img::file_entry &entry);
Result<void> settle(FileSettleContext &context, int fd, const img::file_entry &entry);

} // namespace resource::unix_socket
