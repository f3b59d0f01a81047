#include "criu/parse/raw_flags.hh"

namespace parse {
namespace {

// include/linux/mm.h. Left out: 0x800 has had two meanings, VM_HUGETLB (0x400000), everything above 32 bits.
constexpr struct {
    uint64_t bit;
    VmFlag flag;
} kBits[] = {
    {0x1, VmFlag::Rd},        {0x2, VmFlag::Wr},        {0x4, VmFlag::Ex},        {0x8, VmFlag::Sh},
    {0x10, VmFlag::Mr},       {0x20, VmFlag::Mw},       {0x40, VmFlag::Me},       {0x80, VmFlag::Ms},
    {0x100, VmFlag::Gd},      {0x200, VmFlag::Um},      {0x400, VmFlag::Pf},      {0x1000, VmFlag::Uw},
    {0x2000, VmFlag::Lo},     {0x4000, VmFlag::Io},     {0x8000, VmFlag::Sr},     {0x10000, VmFlag::Rr},
    {0x20000, VmFlag::Dc},    {0x40000, VmFlag::De},    {0x80000, VmFlag::Lf},    {0x100000, VmFlag::Ac},
    {0x200000, VmFlag::Nr},   {0x800000, VmFlag::Sf},   {0x1000000, VmFlag::Ar},  {0x2000000, VmFlag::Wf},
    {0x4000000, VmFlag::Dd},  {0x8000000, VmFlag::Sd},  {0x10000000, VmFlag::Mm}, {0x20000000, VmFlag::Hg},
    {0x40000000, VmFlag::Nh}, {0x80000000, VmFlag::Mg},
};

} // namespace

std::optional<VmFlags> flags_of_raw(uint64_t raw) {
    VmFlags flags;
    for (const auto &known : kBits)
        if (raw & known.bit) {
            flags.set(known.flag);
            raw &= ~known.bit;
        }
    return raw ? std::nullopt : std::optional(flags);
}

} // namespace parse
