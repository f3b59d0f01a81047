// The agent inside one stopped process.
//
// enter() maps the agent into the process, starts it on one stopped thread and connects to it; run() has it execute a
// batch of system calls in one round trip; leave() takes it out again. After leave() registers, signal mask, memory map
// and descriptors are what they were, and the kernel's restart block of an interrupted system call is untouched.
//
// If the tool dies in between, the process recovers on its own: from the first changed register on, the thread's path
// leads through the boot code (arch/x86_64/entry.S), which unmaps the agent and restores every register.
#pragma once

#include "agent/contract.hh"
#include "base/unique_fd.hh"
#include "compel/ptrace.hh"
#include "compel/remote_memory.hh"

#include <array>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

namespace compel {

/// Where the agent goes. Chosen by the caller from the process's memory map.
struct InjectionSite {
    uint64_t agent_base; ///< page-aligned start of a hole of site_size() bytes
    uint64_t boot_code;  ///< executable, mapped, unused: the zero bytes behind the vdso's ELF image
};

/// System calls for one round trip. Buffers and operations live in the agent's memory; addresses are valid at once.
class Batch {
public:
    /// `base`: where in the process the batch lies; `size`: bytes that it may use.
    Batch(uint64_t base, size_t size) : base_(base), limit_(size) {}

    /// Adds a call that may fail; its result is known after the run.
    size_t call(long nr, std::initializer_list<uint64_t> args);
    /// As call(), by the table of 32-bit programs; all that the arguments point to has to lie below 4 GiB.
    size_t call32(long nr, std::initializer_list<uint64_t> args);
    /// As call(), with argument `position` replaced by the result of call `earlier`.
    size_t call_with_result(long nr, std::initializer_list<uint64_t> args, unsigned position, size_t earlier);
    /// As call(), with argument `position` replaced by the 64-bit word at `address` in the process.
    size_t call_with_word(long nr, std::initializer_list<uint64_t> args, unsigned position, uint64_t address);
    /// Adds the making of a twin, which keeps the descriptor whose number is the word at `address` (agent.cc).
    size_t twin(uint64_t address);
    /// Puts what call `earlier` returned, as a 32-bit number, to `address`, for what later calls point to.
    void store_result(uint64_t address, size_t earlier);
    /// Copies `bytes` into the process; returns their address there.
    uint64_t in(std::span<const std::byte> bytes);
    /// Room for `size` bytes of results; returns its address there.
    uint64_t out(size_t size);
    template <class T> uint64_t in_value(const T &value) { return in(std::as_bytes(std::span(&value, 1))); }

    /// What call `index` returned; negative errno on failure.
    int64_t result(size_t index) const { return ops_[index].result; }
    /// Bytes at an address that in() or out() gave.
    std::span<const std::byte> bytes(uint64_t address, size_t size) const;
    template <class T> T value(uint64_t address) const {
        T v;
        std::memcpy(&v, bytes(address, sizeof v).data(), sizeof v);
        return v;
    }
    size_t calls() const { return ops_.size(); }
    bool fits() const { return data_.size() + ops_.size() * sizeof(agent::Op) <= limit_; }

private:
    friend class Injection;
    uint64_t ops_address() const { return base_ + data_.size(); }
    std::vector<std::byte> image() const;
    void read_back(std::span<const std::byte> image);

    uint64_t base_;
    size_t limit_;
    std::vector<std::byte> data_;
    std::vector<agent::Op> ops_;
    std::vector<size_t> stores_; ///< operations whose source is the result of another one: its index
};

class Injection {
public:
    static constexpr size_t kScratch = 128u << 10; ///< bytes for a batch
    static constexpr size_t kThreadScratch = 3072; ///< bytes for a batch of another thread

    /// Bytes of address space that the agent needs in a process with `threads` threads.
    static size_t site_size(size_t threads);
    /// Where its agent::Control lies in an agent at `base`.
    static uint64_t control_at(uint64_t base);

    /// Enters the process of `leader`. `registers` are its registers as of the stop.
    static Result<Injection> enter(StoppedThread leader, const Registers &registers, const RemoteMemory &memory,
                                   InjectionSite site, size_t threads);
    Injection(Injection &&other) noexcept;
    Injection &operator=(Injection &&) = delete;
    ~Injection();

    Batch batch() const { return Batch(scratch_, kScratch); }
    /// Batch for the `index`th of the other threads (0-based).
    Batch thread_batch(size_t index) const;

    /// Executes the batch; results are in it afterwards. With `fd` the process has a copy of that descriptor of ours
    /// meanwhile, whose number is the word at passed_fd(); the agent closes it, also if the tool dies.
    Result<void> run(Batch &batch, int fd = -1);
    /// run() in two parts: in between the process works. No other call meanwhile but leave().
    Result<void> submit(const Batch &batch, int fd = -1);
    Result<void> collect(Batch &batch);
    uint64_t passed_fd() const { return control_ + offsetof(agent::Control, passed_fd); }

    /// One thread and what it is to execute.
    struct ThreadRun {
        StoppedThread thread;
        Registers registers; ///< as of the stop
        uint64_t mask;       ///< its signal mask
        Batch batch;         ///< from thread_batch()
        // Kept by run_threads().
        enum class State { Stopped, Aimed, Inside, Running } state = State::Stopped;
    };
    /// Executes all batches, each in its own thread, at once. The threads are stopped again afterwards, as they were.
    Result<void> run_threads(std::span<ThreadRun> runs);

    /// Takes the agent out; the thread is stopped as enter() found it. On failure the process recovers when detached.
    Result<void> leave();

    /// Processes that vanish or hang are noticed after this time.
    static constexpr int kTimeoutMs = 30'000;

private:
    Injection(StoppedThread leader, const Registers &registers, const RemoteMemory &memory, InjectionSite site,
              size_t threads);
    Result<void> map_agent();
    Result<int64_t> map_somehow(uint64_t protection);
    Result<bool> raise_limit(uint32_t kind);
    Result<void> lower_limit();
    Result<void> await_socket();
    Result<void> connect();
    Result<void> close_descriptors();
    Result<void> start();
    Result<void> run_to_syscall();
    Result<int64_t> remote_syscall(long nr, std::initializer_list<uint64_t> args);
    Result<void> send(agent::Command command, int fd);
    Result<int64_t> command(agent::Command command, int fd);
    Result<int64_t> read_reply(std::span<const ThreadRun> working = {});
    Result<bool> resume_stopped(std::span<const ThreadRun> working);
    void set_way_out(Registers &regs) const;
    Registers way_back(const Registers &registers) const;
    Result<void> write_inside();
    Result<void> aim(ThreadRun &run);
    Result<void> execute(std::span<ThreadRun> runs);
    Result<void> retrieve(ThreadRun &run);
    agent::BootFrame frame_of(const Registers &, uint64_t mask) const;

    StoppedThread leader_;
    Registers saved_;
    const RemoteMemory *memory_;
    InjectionSite site_;
    size_t size_;
    uint64_t code_ = 0, control_ = 0, slots_ = 0, scratch_ = 0;
    uint64_t frame_ = 0;
    uint64_t limit_ = 0;             ///< below the frame: room for an old limit and a new one
    std::optional<uint32_t> raised_; ///< a limit whose old value lies there
    uint64_t sigmask_ = 0;
    uint32_t threads_inside_ = 0;
    uint32_t threads_away_ = 0; ///< those among them, and others, whose registers are not their own yet
    base::UniqueFd socket_;
    bool replies_ = false; ///< a batch was submitted, its reply has not come yet
    bool inside_ = false;  ///< registers of the leader are changed
    bool mapped_ = false;
    bool running_ = false; ///< the leader is not stopped
    bool started_ = false; ///< Control says which descriptors the agent has
};

} // namespace compel
