// Keys in a keyring, as the kernel has them (struct key, struct assoc_array).
#pragma once

#include "criu/kernel/memory/kernel_memory.hh"

#include <string>
#include <vector>

namespace resource {

/// Names of the keys in the keyring at an address of the kernel, less keyrings that every user has ("_uid.0") and the
/// key that systemd gives to each service.
Result<std::vector<std::string>> keys_in(const KernelMemory &memory, uint64_t keyring);

/// Whether it is the keyring that the kernel gives everybody of a user.
Result<bool> is_users_keyring(const KernelMemory &memory, uint64_t keyring);

} // namespace resource
