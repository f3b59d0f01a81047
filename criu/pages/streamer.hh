// The protocol of criu-image-streamer: one unix socket; for each file its name, and a pipe that its bytes go through.
//
// Both directions: a message is its length (u32) and a protobuf message. We name a file; when files are wanted the
// other end says whether it has it; then we send it an end of a pipe of ours. The end of the connection means that no
// more files follow.
#pragma once

#include "criu/image/image_dir.hh"
#include "criu/pages/image_stream.hh"

namespace pages {

inline constexpr const char *kCaptureSocket = "streamer-capture.sock", *kServeSocket = "streamer-serve.sock";

/// Connects to a socket (one of the above) in `directory`. Errors: System, with a hint.
Result<base::UniqueFd> connect_streamer(int directory, const char *name);

/// Writes each file through a pipe of its own, front to back.
std::unique_ptr<ImageStream> streamer_sink(base::UniqueFd socket);

/// Brings files into `directory` (private_directory()) as they are asked for, each once, whichever process asks: all of
/// a restore share the connection. `directory` stays the caller's.
Result<std::shared_ptr<image::Supplier>> streamer_supplier(base::UniqueFd socket, int directory);

} // namespace pages
