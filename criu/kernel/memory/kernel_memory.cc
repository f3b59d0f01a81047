// The programs are of the type that is run by a call (BPF_PROG_TYPE_SYSCALL, Linux 5.14). Their context is a buffer of
// ours, copied in and out; helpers may only write to their stack, so that a read goes in pieces of kPiece bytes.
#include "criu/kernel/memory/kernel_memory.hh"

#include "criu/kernel/io.hh"
#include "criu/kernel/memory/bpf_code.hh"

#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr size_t kPiece = 256;

struct Request {
    uint64_t address; ///< in: what to read; out: what was found
    int64_t result;   ///< 0 or a negative errno
    std::byte data[kPiece];
};
constexpr int16_t kResult = offsetof(Request, result), kData = offsetof(Request, data);

using namespace bpf;

/// request.result = bpf_probe_read_kernel(request.data, kPiece, request.address)
Code reader_code() {
    const auto size = static_cast<int>(kPiece);
    Code code{copy(kContext, BPF_REG_1),
              load(BPF_REG_3, kContext, 0),
              copy(BPF_REG_1, kStack),
              add(BPF_REG_1, -size),
              set(BPF_REG_2, size),
              call(BPF_FUNC_probe_read_kernel),
              store(kContext, kResult, BPF_REG_0)};
    for (int i = 0; i < size; i += 8) {
        code.push_back(load(BPF_REG_1, kStack, i - size));
        code.push_back(store(kContext, kData + i, BPF_REG_1));
    }
    append_exit(code);
    return code;
}

/// request.address = bpf_get_current_task()
Code current_code() {
    Code code{copy(kContext, BPF_REG_1), call(BPF_FUNC_get_current_task), store(kContext, 0, BPF_REG_0)};
    append_exit(code);
    return code;
}

Result<base::UniqueFd> load_reader(const Code &code) {
    bpf_attr attributes{};
    attributes.prog_type = BPF_PROG_TYPE_SYSCALL;
    attributes.prog_flags = BPF_F_SLEEPABLE;
    base::UniqueFd fd = bpf::load_program(code, attributes);
    if (!fd)
        return base::fail(
            base::Error(base::ErrorKind::Unsupported,
                        fmt::format("load a BPF program that reads the kernel's memory: {}", strerror(errno)))
                .hint("needs Linux 5.14, CAP_BPF and CAP_PERFMON, and a kernel that is not locked down"));
    return fd;
}

Result<void> run(int program, Request &request, const char *what) {
    bpf_attr attributes{};
    attributes.test.prog_fd = static_cast<uint32_t>(program);
    attributes.test.ctx_in = address(&request);
    attributes.test.ctx_size_in = sizeof request;
    if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof attributes) < 0)
        return base::fail_sys("run a BPF program");
    if (request.result < 0)
        return base::fail_sys(static_cast<int>(-request.result), what);
    return {};
}

} // namespace

Result<KernelMemory> KernelMemory::open() {
    KernelMemory memory;
    auto bytes = kernel::read_file(AT_FDCWD, "/sys/kernel/btf/vmlinux");
    if (!bytes)
        return base::fail(std::move(
            bytes.error().hint("the kernel has to be built with its type information (CONFIG_DEBUG_INFO_BTF)")));
    memory.bytes_ = std::make_unique<std::string>(std::move(*bytes));
    memory.btf_ = TRY(parse::Btf::parse(*memory.bytes_));
    memory.reader_ = TRY(load_reader(reader_code()));
    memory.current_ = TRY(load_reader(current_code()));
    return memory;
}

Result<void> KernelMemory::learn_module(const std::string &name) {
    const std::string path = "/sys/kernel/btf/" + name;
    if (module_ || access(path.c_str(), F_OK) < 0)
        return {};
    module_ = std::make_unique<std::string>(TRY(kernel::read_file(AT_FDCWD, path.c_str())));
    return btf_.add_module(*module_);
}

Result<void> KernelMemory::read(uint64_t from, std::span<std::byte> out) const {
    while (!out.empty()) {
        // A piece must not reach into a page that may not be there.
        const size_t to_edge = kPiece - from % kPiece, wanted = std::min(out.size(), to_edge);
        Request request{};
        request.address = from - from % kPiece;
        TRY(run(reader_.get(), request, "read the kernel's memory"));
        memcpy(out.data(), request.data + from % kPiece, wanted);
        out = out.subspan(wanted);
        from += wanted;
    }
    return {};
}

Result<uint64_t> KernelMemory::address_of(uint64_t at, std::string_view structure, std::string_view path) const {
    return at + TRY(btf_.member(structure, path)).offset;
}

Result<uint64_t> KernelMemory::member(uint64_t at, std::string_view structure, std::string_view path) const {
    const parse::BtfMember member = TRY(btf_.member(structure, path));
    uint64_t value = 0;
    if (member.size > sizeof value)
        return base::fail(base::ErrorKind::Bug, fmt::format("{}::{} is no number", structure, path));
    TRY(read(at + member.offset, std::span(reinterpret_cast<std::byte *>(&value), member.size)));
    return value;
}

Result<uint64_t> KernelMemory::current_task() const {
    Request request{};
    TRY(run(current_.get(), request, "ask for the current task"));
    return request.address;
}

Result<uint64_t> KernelMemory::file(int fd) const {
    const uint64_t files = TRY(member(TRY(current_task()), "task_struct", "files")),
                   table = TRY(member(files, "files_struct", "fdt")), slots = TRY(member(table, "fdtable", "fd"));
    uint64_t file = 0;
    TRY(read(slots + sizeof file * static_cast<uint64_t>(fd), std::as_writable_bytes(std::span(&file, 1))));
    return file;
}

} // namespace resource
