// Socket options that CRIU has no field for, as tables. A dump writes down those that are not what a fresh socket says;
// a restore sets just these: a thousand sockets with default options cost no call.
#pragma once

#include "base/result.hh"
#include "images_pb.hh"

#include <cstdint>
#include <google/protobuf/repeated_field.h>
#include <span>

namespace resource {

using base::Result;
using OptionList = google::protobuf::RepeatedPtrField<img::ext_socket_option>;

struct SocketOption {
    int level;
    int name;
    const char *text;     ///< for messages
    int64_t initial;      ///< what a fresh socket says
    unsigned bytes = 4;   ///< 4 or 8: a number; larger: a structure or string of at most so many bytes
    bool lenient = false; ///< setting it may fail: a hint to the kernel, or something that another host may lack
    bool early = false;   ///< has to be set before bind(2) and connect(2)
};

enum class OptionPhase { Early, Late };

/// Appends the options of `table` that the socket has, and that differ from a fresh socket's.
/// Options that this kernel or kind of socket does not know are left out.
Result<void> dump_option_list(int fd, std::span<const SocketOption> table, OptionList *list);
/// Sets what the list says and belongs to the phase, in the order of `table`. Options that no row names are an error.
Result<void> restore_option_list(int fd, std::span<const SocketOption> table, const OptionList &list,
                                 OptionPhase phase = OptionPhase::Late);

/// Reads a number; -1 with errno set like getsockopt(2).
int get_int_option(int fd, int level, int name, int *value);
/// Reads a number that any socket of the kind has, or that is `otherwise` where the kernel does not know the option.
int int_option(int fd, int level, int name, int otherwise = 0);
Result<void> set_int_option(int fd, int level, int name, int value, const char *text);

} // namespace resource
