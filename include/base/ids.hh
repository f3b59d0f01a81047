// Types for numbers that must not be mixed up.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <sys/types.h>

namespace base {

/// A number with a meaning: explicit to make, explicit to take out, ordered and hashable.
template <class Tag, class Rep> struct StrongId {
    Rep value{};
    constexpr StrongId() = default;
    constexpr explicit StrongId(Rep v) : value(v) {}
    constexpr auto operator<=>(const StrongId &) const = default;
};

using Pid = StrongId<struct PidTag, pid_t>;   ///< process or thread id as the tool sees it
using VPid = StrongId<struct VPidTag, pid_t>; ///< process or thread id inside its own pid namespace; images hold these
using FileId = StrongId<struct FileIdTag, uint32_t>; ///< id of an open file description in files.img
using Nanoseconds = StrongId<struct NanosecondsTag, int64_t>;

/// An address in another process. Cannot be dereferenced; arithmetic is in units of T as for a real pointer.
template <class T> class RemotePtr {
public:
    constexpr RemotePtr() = default;
    constexpr explicit RemotePtr(uint64_t address) : address_(address) {}
    constexpr uint64_t address() const { return address_; }
    constexpr explicit operator bool() const { return address_ != 0; }
    constexpr RemotePtr operator+(uint64_t n) const { return RemotePtr(address_ + n * sizeof(T)); }
    template <class U> constexpr RemotePtr<U> cast() const { return RemotePtr<U>(address_); }
    constexpr auto operator<=>(const RemotePtr &) const = default;

private:
    uint64_t address_ = 0;
};

inline constexpr uint64_t kPageSize = 4096;
/// Where the addresses of processes end (x86-64, four levels of page tables).
inline constexpr uint64_t kUserEnd = 0x7ffffffff000;
inline constexpr uint64_t kHugePageSize = 2u << 20;

constexpr uint64_t page_down(uint64_t x) {
    return x & ~(kPageSize - 1);
}
constexpr uint64_t page_up(uint64_t x) {
    return page_down(x + kPageSize - 1);
}

} // namespace base

template <class Tag, class Rep> struct std::hash<base::StrongId<Tag, Rep>> {
    size_t operator()(base::StrongId<Tag, Rep> id) const { return std::hash<Rep>{}(id.value); }
};
