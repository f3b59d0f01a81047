// Registers of a thread (x86-64). Read and written by ptrace while the thread is stopped.
//
// The extended state (XSAVE) is laid out differently by different CPUs: where a component lies is asked of CPUID on
// both sides, and the image keeps each component on its own. Only components in use (their bit in xstate_bv, and
// contents that are not the initial ones) must exist on the CPU of the restore.
//
// A system call that was interrupted is put back to its instruction, as the kernel would do on the way to user mode.
// The image also says with which error it was cut off, and a restore sets that up again: then it is the kernel that
// decides, when the thread goes on, whether the call is made again or a signal that came meanwhile ends it with EINTR.
// The restart block, which holds the end of an interrupted nanosleep or poll, is not part of the registers: see
// time_left.cc. Without it such a call starts anew, nanosleep with the time that the kernel wrote back to its second
// argument where the program gave one. So does CRIU's restore.
#include "criu/resource/task/registers.hh"

#include "criu/resource/task/call_view.hh"
#include "criu/resource/task/restart_errors.hh"
#include "criu/resource/task/time_left.hh"
#include "criu/resource/task/timed_polls.hh"

#include <algorithm>
#include <array>
#include <cpuid.h>
#include <cstring>
#include <fmt/format.h>
#include <sys/syscall.h>

namespace resource {
namespace {

constexpr size_t kLegacySize = 512, kHeaderAt = 512, kHeaderEnd = 576;
constexpr size_t kXcr0At = 464; // software-reserved bytes of the frame: the kernel stores XCR0 there

enum Component : unsigned { kX87, kSse, kYmm, kBndregs, kBndcsr, kOpmask, kZmmHi256, kHi16Zmm, kPt, kPkru };

struct Place {
    size_t at = 0, size = 0;
};

/// What CPUID says about the extended state. Asked once: on a virtual machine each CPUID is a trip to the host, 20 us
/// and more, and there may be thousands of threads.
struct Layout {
    std::array<Place, kPkru + 1> places{};
    size_t size = kHeaderEnd; ///< of the standard format with all components that this CPU and kernel have switched on
    uint64_t supported = 0;   ///< components
};

Layout ask_cpu() {
    Layout layout;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(0xd, 0, &a, &b, &c, &d))
        return layout;
    layout.supported = a | uint64_t{d} << 32;
    layout.size = std::max<size_t>(b, kHeaderEnd);
    for (unsigned component = kYmm; component < layout.places.size(); component++)
        if ((layout.supported >> component & 1) && __get_cpuid_count(0xd, component, &a, &b, &c, &d))
            layout.places[component] = {b, a};
    return layout;
}

const Layout &layout() {
    static const Layout known = ask_cpu();
    return known;
}

/// Where a component lies; size 0: this CPU has none.
Place place_of(unsigned component) {
    return layout().places[component];
}

template <class T> T load(const std::vector<std::byte> &bytes, size_t at) {
    T v{};
    if (at + sizeof v <= bytes.size())
        std::memcpy(&v, bytes.data() + at, sizeof v);
    return v;
}

template <class Word, class Field> void copy_out(const std::vector<std::byte> &state, Place from, Field *into) {
    for (size_t i = 0; i + sizeof(Word) <= from.size && from.at + i + sizeof(Word) <= state.size(); i += sizeof(Word))
        into->Add(load<Word>(state, from.at + i));
}

void write_extended(const std::vector<std::byte> &state, uint64_t xcr0, img::user_x86_xsave_entry *entry) {
    entry->set_xstate_bv(load<uint64_t>(state, kHeaderAt));
    auto has = [&](unsigned component) { return xcr0 >> component & 1; };
    if (has(kYmm))
        copy_out<uint32_t>(state, place_of(kYmm), entry->mutable_ymmh_space());
    if (has(kBndregs))
        copy_out<uint64_t>(state, {place_of(kBndregs).at, 64}, entry->mutable_bndreg_state());
    if (has(kBndcsr))
        copy_out<uint64_t>(state, place_of(kBndcsr),
                           entry->mutable_bndcsr_state()); // CRIU checks the size: all of the part
    if (has(kOpmask))
        copy_out<uint64_t>(state, place_of(kOpmask), entry->mutable_opmask_reg());
    if (has(kZmmHi256))
        copy_out<uint64_t>(state, place_of(kZmmHi256), entry->mutable_zmm_upper());
    if (has(kHi16Zmm))
        copy_out<uint64_t>(state, place_of(kHi16Zmm), entry->mutable_hi16_zmm());
    if (has(kPkru))
        copy_out<uint32_t>(state, {place_of(kPkru).at, 8}, entry->mutable_pkru());
}

Result<void> write_fpu(const std::vector<std::byte> &state, img::user_x86_fpregs_entry *fpu) {
    fpu->set_cwd(load<uint16_t>(state, 0));
    fpu->set_swd(load<uint16_t>(state, 2));
    fpu->set_twd(load<uint16_t>(state, 4));
    fpu->set_fop(load<uint16_t>(state, 6));
    fpu->set_rip(load<uint64_t>(state, 8));
    fpu->set_rdp(load<uint64_t>(state, 16));
    fpu->set_mxcsr(load<uint32_t>(state, 24));
    fpu->set_mxcsr_mask(load<uint32_t>(state, 28));
    copy_out<uint32_t>(state, {32, 128}, fpu->mutable_st_space());
    copy_out<uint32_t>(state, {160, 256}, fpu->mutable_xmm_space());
    if (state.size() < kHeaderEnd)
        return {};
    constexpr uint64_t kKnown = ((1u << (kHi16Zmm + 1)) - 1) | (1u << kPkru);
    if (uint64_t unknown = load<uint64_t>(state, kHeaderAt) & ~kKnown)
        return base::unsupported(
            fmt::format("extended CPU state {:#x} is in use (AMX tiles are bits 17 and 18), which the "
                        "image format cannot hold",
                        unknown));
    write_extended(state, load<uint64_t>(state, kXcr0At), fpu->mutable_xsave());
    return {};
}

constexpr unsigned kSyscallInstruction = 2; // bytes

bool is_restart(uint64_t error) {
    return error == kRestartSys || error == kRestartNoIntr || error == kRestartNoHand || error == kRestartBlock;
}

/// A cut-off system call goes back to its instruction. Returns the error that cut it off; 0 for none.
uint32_t rewind_syscall(compel::Registers &regs) {
    const uint64_t error = -regs.rax;
    if (static_cast<int64_t>(regs.orig_rax) < 0 || !is_restart(error))
        return 0;
    if (error == kRestartBlock) {
        // The kernel has written the time left to `rem`.
        const CallView call = view_of(regs, regs.orig_rax);
        if (call.number == SYS_nanosleep && *call.arguments[1])
            *call.arguments[0] = *call.arguments[1];
        if (call.number == SYS_clock_nanosleep && *call.arguments[3])
            *call.arguments[2] = *call.arguments[3];
    }
    regs.rax = regs.orig_rax;
    regs.rip -= kSyscallInstruction;
    return static_cast<uint32_t>(error);
}

/// The other way round. There is no restart block: what had one is made again as it was.
void cut_off_syscall(compel::Registers &regs, uint32_t error) {
    regs.orig_rax = regs.rax;
    regs.rax = cut_off_by(error == kRestartBlock ? kRestartNoHand : error);
    regs.rip += kSyscallInstruction;
}

void write_thread_areas(const tree::ThreadFacts &facts, img::thread_info_x86 *info) {
    for (const user_desc &area : facts.thread_areas) {
        img::user_desc_t *e = info->add_tls();
        e->set_entry_number(area.entry_number), e->set_base_addr(area.base_addr), e->set_limit(area.limit);
        e->set_seg_32bit(area.seg_32bit), e->set_limit_in_pages(area.limit_in_pages);
        e->set_contents_h(area.contents & 2), e->set_contents_l(area.contents & 1);
        e->set_read_exec_only(area.read_exec_only), e->set_seg_not_present(area.seg_not_present);
        e->set_usable(area.useable);
    }
}

template <class Word, class Field> void copy_in(const Field &from, std::vector<std::byte> &state, Place to) {
    for (int i = 0; i < from.size() && static_cast<size_t>(i + 1) * sizeof(Word) <= to.size; i++) {
        auto v = static_cast<Word>(from[i]);
        std::memcpy(state.data() + to.at + static_cast<size_t>(i) * sizeof(Word), &v, sizeof v);
    }
}

template <class T> void store(std::vector<std::byte> &state, size_t at, T v) {
    std::memcpy(state.data() + at, &v, sizeof v);
}

} // namespace

Result<void> write_registers(const tree::ThreadFacts &facts, img::core_entry &core) {
    compel::Registers r = facts.registers;
    if (r.cs != compel::kCode64 && !compel::is_32bit(r))
        return base::unsupported(fmt::format("it runs code of a segment of its own ({:#x}, modify_ldt)", r.cs));
    r.orig_rax = facts.original_syscall;
    if (const uint32_t error = rewind_syscall(r)) {
        core.mutable_thread_core()->mutable_ext()->set_syscall_restart(error);
        write_time_left(facts, core.mutable_thread_core()->mutable_ext());
    }
    core.set_mtype(img::core_entry::X86_64);
    img::thread_info_x86 *info = core.mutable_thread_info();
    info->set_clear_tid_addr(0);
    img::user_x86_regs_entry *e = info->mutable_gpregs();
    e->set_r15(r.r15), e->set_r14(r.r14), e->set_r13(r.r13), e->set_r12(r.r12);
    e->set_bp(r.rbp), e->set_bx(r.rbx), e->set_r11(r.r11), e->set_r10(r.r10), e->set_r9(r.r9), e->set_r8(r.r8);
    e->set_ax(r.rax), e->set_cx(r.rcx), e->set_dx(r.rdx), e->set_si(r.rsi), e->set_di(r.rdi);
    e->set_orig_ax(r.orig_rax), e->set_ip(r.rip), e->set_cs(r.cs), e->set_flags(r.eflags), e->set_sp(r.rsp);
    e->set_ss(r.ss), e->set_fs_base(r.fs_base), e->set_gs_base(r.gs_base);
    e->set_ds(r.ds), e->set_es(r.es), e->set_fs(r.fs), e->set_gs(r.gs);
    e->set_mode(compel::is_32bit(r) ? img::COMPAT : img::NATIVE);
    write_thread_areas(facts, info);
    return write_fpu(facts.xstate, info->mutable_fpregs());
}

Result<compel::Registers> read_registers(const img::core_entry &core) {
    if (core.mtype() != img::core_entry::X86_64 || !core.has_thread_info())
        return base::unsupported("the image is of another processor architecture");
    const img::user_x86_regs_entry &e = core.thread_info().gpregs();
    compel::Registers r{};
    r.r15 = e.r15(), r.r14 = e.r14(), r.r13 = e.r13(), r.r12 = e.r12();
    r.rbp = e.bp(), r.rbx = e.bx(), r.r11 = e.r11(), r.r10 = e.r10(), r.r9 = e.r9(), r.r8 = e.r8();
    r.rax = e.ax(), r.rcx = e.cx(), r.rdx = e.dx(), r.rsi = e.si(), r.rdi = e.di();
    // Not in a system call: the kernel must not think of restarting anything.
    r.orig_rax = ~0ull;
    r.rip = e.ip(), r.eflags = e.flags(), r.rsp = e.sp(), r.ss = compel::kData;
    r.cs = e.mode() == img::COMPAT ? compel::kCode32 : compel::kCode64;
    r.fs_base = e.fs_base(), r.gs_base = e.gs_base();
    r.ds = e.ds(), r.es = e.es(), r.fs = e.fs(), r.gs = e.gs();
    if (const img::ext_thread_core &ext = core.thread_core().ext(); ext.has_syscall_restart()) {
        if (!is_restart(ext.syscall_restart()))
            return base::bad_image(fmt::format("core: a system call cut off by {}", ext.syscall_restart()));
        cut_off_syscall(r, ext.syscall_restart());
        limit_poll(r, ext);
    }
    return r;
}

std::vector<user_desc> read_thread_areas(const img::core_entry &core) {
    std::vector<user_desc> areas;
    for (const img::user_desc_t &e : core.thread_info().tls()) {
        user_desc area{};
        area.entry_number = e.entry_number(), area.base_addr = e.base_addr(), area.limit = e.limit();
        area.seg_32bit = e.seg_32bit(), area.limit_in_pages = e.limit_in_pages();
        area.contents = (e.contents_h() ? 2u : 0u) | (e.contents_l() ? 1u : 0u);
        area.read_exec_only = e.read_exec_only(), area.seg_not_present = e.seg_not_present();
        area.useable = e.usable();
        const bool empty = !area.base_addr && !area.limit && area.seg_not_present; // as every thread begins
        if (!empty)
            areas.push_back(area);
    }
    return areas;
}

namespace {

bool all_zero(const auto &words) {
    return std::ranges::all_of(words, [](auto word) { return word == 0; });
}

/// Components that hold what every task has from its start, whatever xstate_bv says: programs that go through all
/// registers once (a memset with AVX-512, ld.so's XSAVE) leave them marked. Migration to a processor without them is no
/// loss then.
uint64_t initial_components(const img::user_x86_xsave_entry &x) {
    constexpr uint32_t kDefaultPkru = 0x55555554; // of the kernel's init_pkru: all keys but 0 are closed
    uint64_t initial = 0;
    auto note = [&](bool holds, unsigned component) { initial |= uint64_t{holds} << component; };
    note(all_zero(x.ymmh_space()), kYmm);
    note(all_zero(x.bndreg_state()), kBndregs);
    note(all_zero(x.bndcsr_state()), kBndcsr);
    note(all_zero(x.opmask_reg()), kOpmask);
    note(all_zero(x.zmm_upper()), kZmmHi256);
    note(all_zero(x.hi16_zmm()), kHi16Zmm);
    note(std::ranges::all_of(x.pkru(), [](uint32_t word) { return word == 0 || word == kDefaultPkru; }), kPkru);
    return initial;
}

/// The names of components, as the flags of /proc/cpuinfo call them.
std::string component_names(uint64_t components) {
    struct Name {
        uint64_t bits;
        std::string_view name;
    };
    constexpr Name kNames[] = {{1u << kYmm, "AVX"},
                               {1u << kBndregs | 1u << kBndcsr, "MPX"},
                               {1u << kOpmask | 1u << kZmmHi256 | 1u << kHi16Zmm, "AVX-512"},
                               {1u << kPkru, "PKU"}};
    std::string names;
    for (const Name &known : kNames)
        if (components & known.bits)
            names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
    return names.empty() ? "other" : names;
}

} // namespace

Result<uint64_t> used_components(const img::user_x86_fpregs_entry &fpu, uint64_t supported) {
    const uint64_t marked = fpu.has_xsave() ? fpu.xsave().xstate_bv() : (1u << kX87 | 1u << kSse);
    const uint64_t used = marked & (supported | ~initial_components(fpu.xsave()));
    if (uint64_t missing = used & ~supported)
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      fmt::format("the task uses CPU state {:#x} ({}) that this CPU does not have",
                                                  missing, component_names(missing)))
                              .hint("restore on a machine whose CPU has the same extensions"));
    return used;
}

Result<std::vector<std::byte>> read_xstate(const img::core_entry &core) {
    const img::user_x86_fpregs_entry &fpu = core.thread_info().fpregs();
    std::vector<std::byte> state(layout().size);
    store(state, 0, static_cast<uint16_t>(fpu.cwd()));
    store(state, 2, static_cast<uint16_t>(fpu.swd()));
    store(state, 4, static_cast<uint16_t>(fpu.twd()));
    store(state, 6, static_cast<uint16_t>(fpu.fop()));
    store(state, 8, fpu.rip());
    store(state, 16, fpu.rdp());
    constexpr uint32_t kMxcsrBits = 0xffff; // reserved bits make the kernel refuse the state
    store(state, 24, fpu.mxcsr() & kMxcsrBits);
    store(state, 28, fpu.mxcsr_mask());
    copy_in<uint32_t>(fpu.st_space(), state, {32, 128});
    copy_in<uint32_t>(fpu.xmm_space(), state, {160, 256});
    const img::user_x86_xsave_entry &x = fpu.xsave();
    store(state, kHeaderAt, TRY(used_components(fpu, layout().supported)));
    copy_in<uint32_t>(x.ymmh_space(), state, place_of(kYmm));
    copy_in<uint64_t>(x.bndreg_state(), state, place_of(kBndregs));
    copy_in<uint64_t>(x.bndcsr_state(), state, place_of(kBndcsr));
    copy_in<uint64_t>(x.opmask_reg(), state, place_of(kOpmask));
    copy_in<uint64_t>(x.zmm_upper(), state, place_of(kZmmHi256));
    copy_in<uint64_t>(x.hi16_zmm(), state, place_of(kHi16Zmm));
    copy_in<uint32_t>(x.pkru(), state, place_of(kPkru));
    return state;
}

} // namespace resource
