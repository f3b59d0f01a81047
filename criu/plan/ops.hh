// A restore's operations while they are planned: filed under stages, with names, not yet at an address.
//
// Every resource's plan() adds operations here; compile() in criu/plan/program.hh turns them into the agent's lists.
// All of it is pure: a plan can be built, printed and compared without a kernel or a privilege.
#pragma once

#include "agent/contract.hh"
#include "base/result.hh"

#include <array>
#include <initializer_list>
#include <span>
#include <vector>

namespace plan {

/// When an operation runs. A task's operations are executed in this order; within a stage in the order of filing.
enum class Stage : uint8_t {
    Unmap,      ///< our own program goes; the vdso is parked. The point of no return
    Memory,     ///< move, protect and advise mappings, mm fields
    Actions,    ///< signal actions, limits, timers created
    Threads,    ///< spawn the other threads
    Context,    ///< what each thread sets for itself: TLS, robust list, rseq, scheduling, name
    Reap,       ///< signals queued, helpers collected
    Threaded,   ///< barrier, only where files are opened late: all threads exist
    LateOpen,   ///< late files are opened by their first holders
    LateOpened, ///< barrier
    LateFetch,  ///< the other holders get them; what refers to them
    Restored,   ///< barrier: everything is rebuilt; scripts run and the network is unlocked behind it
    Filters,    ///< no_new_privs and seccomp filters, which without it take privileges that the task may not have
    Creds,      ///< credentials, strict seccomp, dumpable, death signal
    Arm,        ///< timers start
    Final,      ///< barrier: registers are set by the coordinator behind it
};
const char *stage_name(Stage stage);

/// One argument: a constant, the result of an earlier operation, or the value of a 64-bit word in the task.
struct Arg {
    enum class Kind : uint8_t { Constant, Result, Memory } kind = Kind::Constant;
    uint64_t value = 0;
    Arg(uint64_t v) : value(v) {} // NOLINT(google-explicit-constructor): constants are what most arguments are
    Arg(Kind k, uint64_t v) : kind(k), value(v) {}
};

/// Names an operation of the same list, as an argument of later ones.
struct OpRef {
    size_t index;
    Arg result() const { return Arg(Arg::Kind::Result, index); }
};
inline Arg word_at(uint64_t address) {
    return Arg(Arg::Kind::Memory, address);
}

struct PlannedOp {
    Stage stage;
    agent::OpKind kind = agent::OpKind::Syscall;
    uint16_t flags = 0;
    uint16_t nr = 0;
    std::array<Arg, 6> args{Arg(0), Arg(0), Arg(0), Arg(0), Arg(0), Arg(0)};
    int64_t expect = 0;
    const char *what = ""; ///< for people: "rt_sigaction", "move mapping"; a literal
};

/// Bytes that the operations point to. Lies at a known address in the task: addresses are final at once.
class Data {
public:
    explicit Data(uint64_t base) : base_(base) {}
    uint64_t add(std::span<const std::byte> bytes) {
        uint64_t address = base_ + bytes_.size();
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        bytes_.resize((bytes_.size() + 15) & ~size_t{15});
        return address;
    }
    template <class T> uint64_t add_value(const T &value) { return add(std::as_bytes(std::span(&value, 1))); }
    uint64_t reserve(size_t size) {
        uint64_t address = base_ + bytes_.size();
        bytes_.resize((bytes_.size() + size + 15) & ~size_t{15});
        return address;
    }
    uint64_t base() const { return base_; }
    const std::vector<std::byte> &bytes() const { return bytes_; }
    std::span<std::byte> at(uint64_t address, size_t size) { return std::span(bytes_).subspan(address - base_, size); }

private:
    uint64_t base_;
    std::vector<std::byte> bytes_;
};

/// The operations of one thread.
class ThreadPlan {
public:
    explicit ThreadPlan(Data &data) : data_(&data) {}
    Data &data() { return *data_; }

    /// A system call that must succeed.
    OpRef call(Stage stage, const char *what, long nr, std::initializer_list<Arg> args);
    /// A system call whose failure is no matter.
    OpRef try_call(Stage stage, const char *what, long nr, std::initializer_list<Arg> args);
    /// A system call that must return `expect`.
    OpRef expect_call(Stage stage, const char *what, int64_t expect, long nr, std::initializer_list<Arg> args);
    /// A system call as 32-bit programs make it, by their table, that must succeed. What it points to lies below 4 GiB.
    OpRef call32(Stage stage, const char *what, long nr, std::initializer_list<Arg> args);
    OpRef op(Stage stage, const char *what, agent::OpKind kind, std::initializer_list<Arg> args);

    const std::vector<PlannedOp> &ops() const { return ops_; }

private:
    OpRef add(PlannedOp op, std::initializer_list<Arg> args);
    Data *data_;
    std::vector<PlannedOp> ops_;
};

} // namespace plan
