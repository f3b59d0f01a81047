// Options of the level SOL_SOCKET, for all families.
#pragma once

#include "base/result.hh"
#include "criu/kernel/outside.hh"
#include "images_pb.hh"

namespace resource {

using base::Result;

/// Reads all options. Changes nothing, and works on sockets of tasks that are stopped.
/// Errors: Unsupported for a filter that cannot be read (extended BPF).
Result<void> dump_socket_options(int fd, img::sk_opts_entry *opts);

/// Those that decide about bind(2) and connect(2): reuse, device, mark, priority. Doing it is up to the family;
/// restore_socket_options() sets them again.
Result<void> restore_early_socket_options(int fd, const img::sk_opts_entry &opts);

/// Sets all options, on a socket that had none set but by restore_early_socket_options(). For when the socket is bound,
/// connected and its queues are filled: filters and the peek offset would spoil the filling. Buffer sizes are set as
/// well: queues that need more room than default have to make it before, see make_room().
Result<void> restore_socket_options(const kernel::Outside &outside, int fd, const img::sk_opts_entry &opts);

/// Makes the buffers at least as large as the recorded ones; they get their exact size by restore_socket_options().
Result<void> make_room(const kernel::Outside &outside, int fd, const img::sk_opts_entry &opts);

} // namespace resource
