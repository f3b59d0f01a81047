// Reading the kernel's own memory, for state that it keeps but has no call to tell: a BPF program reads, the kernel's
// type information says where. Nothing is changed, and nothing that is not there any more can do harm: a bad address is
// an error.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/parse/btf.hh"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace resource {

using base::Result;

class KernelMemory {
public:
    /// Errors: Unsupported with a hint where the kernel does not let us, or has no type information.
    static Result<KernelMemory> open();

    /// Learns the structures of a part of the kernel that may be a module (one such part at most). Where it is built
    /// in, or not there at all, that is nothing new.
    Result<void> learn_module(const std::string &name);

    Result<void> read(uint64_t address, std::span<std::byte> out) const;
    /// A number of at most 8 bytes: the member of a structure at an address.
    Result<uint64_t> member(uint64_t address, std::string_view structure, std::string_view path) const;
    /// Where a member of a structure at an address lies.
    Result<uint64_t> address_of(uint64_t address, std::string_view structure, std::string_view path) const;
    Result<uint32_t> size_of(std::string_view structure) const { return btf_.size_of(structure); }
    /// The task_struct of the calling thread.
    Result<uint64_t> current_task() const;
    /// The struct file behind a descriptor of ours.
    Result<uint64_t> file(int fd) const;

private:
    /// Of the type information: kept apart, so that they stay where they are when we are moved.
    std::unique_ptr<std::string> bytes_, module_;
    parse::Btf btf_;
    base::UniqueFd reader_, current_;
};

} // namespace resource
