// Stands in until the branch `inet` brings the real one.
#pragma once
#include "base/result.hh"
#include "images_pb.hh"
namespace resource {
base::Result<void> dump_socket_options(int fd, img::sk_opts_entry *opts);
base::Result<void> restore_socket_options(int fd, const img::sk_opts_entry &opts);
} // namespace resource
