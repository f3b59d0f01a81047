// /proc/PID/maps and /proc/PID/smaps: the mappings of an address space.
#pragma once

#include "criu/parse/result.hh"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parse {

/// The two-letter codes of the line VmFlags in smaps, under their own names (fs/proc/task_mmu.c).
enum class VmFlag : uint8_t {
    Rd, ///< VM_READ
    Wr, ///< VM_WRITE
    Ex, ///< VM_EXEC
    Sh, ///< VM_SHARED
    Mr, ///< VM_MAYREAD
    Mw, ///< VM_MAYWRITE
    Me, ///< VM_MAYEXEC
    Ms, ///< VM_MAYSHARE
    Gd, ///< VM_GROWSDOWN
    Pf, ///< VM_PFNMAP
    Dw, ///< VM_DENYWRITE (before 5.16)
    Lo, ///< VM_LOCKED
    Io, ///< VM_IO
    Sr, ///< VM_SEQ_READ
    Rr, ///< VM_RAND_READ
    Dc, ///< VM_DONTCOPY
    De, ///< VM_DONTEXPAND
    Lf, ///< VM_LOCKONFAULT
    Ac, ///< VM_ACCOUNT
    Nr, ///< VM_NORESERVE
    Ht, ///< VM_HUGETLB
    Sf, ///< VM_SYNC
    Nl, ///< VM_NONLINEAR (before 4.0)
    Ar, ///< architecture specific
    Wf, ///< VM_WIPEONFORK
    Dd, ///< VM_DONTDUMP
    Sd, ///< VM_SOFTDIRTY
    Mm, ///< VM_MIXEDMAP
    Hg, ///< VM_HUGEPAGE
    Nh, ///< VM_NOHUGEPAGE
    Mg, ///< VM_MERGEABLE
    Bt, ///< arm64 BTI
    Mt, ///< arm64 MTE
    Um, ///< VM_UFFD_MISSING
    Uw, ///< VM_UFFD_WP
    Ui, ///< VM_UFFD_MINOR
    Ss, ///< VM_SHADOW_STACK
    Sl, ///< VM_SEALED
    Dp, ///< VM_DROPPABLE
    Gu, ///< VM_MAYBE_GUARD
};

class VmFlags {
public:
    constexpr VmFlags() = default;
    constexpr bool has(VmFlag flag) const { return (bits_ >> static_cast<unsigned>(flag)) & 1; }
    constexpr void set(VmFlag flag) { bits_ |= uint64_t{1} << static_cast<unsigned>(flag); }
    constexpr void clear(VmFlag flag) { bits_ &= ~(uint64_t{1} << static_cast<unsigned>(flag)); }
    constexpr uint64_t bits() const { return bits_; }
    constexpr bool operator==(const VmFlags &) const = default;

private:
    uint64_t bits_ = 0;
};

struct Vma {
    uint64_t start = 0, end = 0;
    uint32_t prot = 0; ///< PROT_READ | PROT_WRITE | PROT_EXEC
    bool shared = false;
    bool deleted = false;   ///< name ends in " (deleted)"
    bool has_smaps = false; ///< the fields below `name` were given
    uint64_t pgoff = 0;     ///< offset in the file, bytes
    uint32_t dev_major = 0, dev_minor = 0;
    uint64_t inode = 0;
    std::string name; ///< as printed, newlines unescaped, " (deleted)" kept: "/usr/bin/cat", "[heap]", ""

    VmFlags flags;
    std::string unknown_flags; ///< codes this program does not know, separated by blanks
    uint32_t protection_key = 0;
    uint64_t rss_bytes = 0, anon_bytes = 0, swap_bytes = 0, locked_bytes = 0;
    uint64_t anon_huge_bytes = 0;
    uint64_t kernel_page_size = 0;

    uint64_t size() const { return end - start; }
    bool operator==(const Vma &) const = default;
};

/// Every line of /proc/PID/maps, in address order. Ranges are checked: start < end, ascending, page aligned.
Result<std::vector<Vma>> parse_maps(std::string_view text);

/// As parse_maps, with what /proc/PID/smaps adds.
Result<std::vector<Vma>> parse_smaps(std::string_view text);

} // namespace parse
