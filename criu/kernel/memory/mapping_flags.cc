#include "criu/kernel/memory/mapping_flags.hh"

#include "criu/kernel/io.hh"
#include "criu/kernel/memory/bpf_code.hh"
#include "criu/parse/btf.hh"

#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace kernel {
namespace {

using base::Result;
using namespace bpf;

// struct bpf_iter__task_vma and struct bpf_iter_meta (kernel/bpf/task_iter.c): pointers of 8 bytes each.
constexpr int kMeta = 0, kVma = 16, kSequence = 0;

/// Where the kernel's types say that a member lies.
Result<int> offset_of(const parse::Btf &types, const char *member) {
    const parse::BtfMember found = TRY(types.member("vm_area_struct", member));
    if (found.size != sizeof(uint64_t))
        return base::unsupported(fmt::format("vm_area_struct::{} is of {} bytes", member, found.size));
    return static_cast<int>(found.offset);
}

/// if (context->vma) bpf_seq_write(context->meta->seq, {vma->vm_start, vma->vm_end, vma->vm_flags})
Result<Code> code_for(const parse::Btf &types) {
    constexpr int kSize = sizeof(FlaggedRange);
    Code code{copy(kContext, BPF_REG_1), load(BPF_REG_7, kContext, kVma)};
    Code body;
    const int members[] = {TRY(offset_of(types, "vm_start")), TRY(offset_of(types, "vm_end")),
                           TRY(offset_of(types, "vm_flags"))};
    int place = -kSize;
    for (int member : members) {
        body.push_back(load(BPF_REG_3, BPF_REG_7, member));
        body.push_back(store(kStack, place, BPF_REG_3));
        place += static_cast<int>(sizeof(uint64_t));
    }
    for (const bpf_insn &insn :
         {load(BPF_REG_1, kContext, kMeta), load(BPF_REG_1, BPF_REG_1, kSequence), copy(BPF_REG_2, kStack),
          add(BPF_REG_2, -kSize), set(BPF_REG_3, kSize), call(BPF_FUNC_seq_write)})
        body.push_back(insn);
    code.push_back(skip_if_zero(BPF_REG_7, static_cast<int>(body.size())));
    code.insert(code.end(), body.begin(), body.end());
    append_exit(code);
    return code;
}

Result<base::UniqueFd> load_iterator(const Code &code, uint32_t hook) {
    bpf_attr attributes{};
    attributes.prog_type = BPF_PROG_TYPE_TRACING;
    attributes.expected_attach_type = BPF_TRACE_ITER;
    attributes.attach_btf_id = hook;
    base::UniqueFd fd = bpf::load_program(code, attributes);
    if (!fd)
        return base::unsupported(fmt::format("load a BPF program that lists mappings: {}", strerror(errno)));
    return fd;
}

/// Reads until the end. Of a list that takes several reads, Linux 6.18 gives the last piece again and again: what does
/// not ascend is the end, too.
Result<std::vector<FlaggedRange>> read_ascending(int list) {
    constexpr size_t kPiece = 2048;
    std::vector<FlaggedRange> found, piece(kPiece);
    size_t used = 0; // bytes of the piece
    for (;;) {
        auto *const bytes = reinterpret_cast<std::byte *>(piece.data());
        const ssize_t n = ::read(list, bytes + used, kPiece * sizeof(FlaggedRange) - used);
        if (n < 0 && errno == EAGAIN)
            continue;
        if (n < 0)
            return base::fail_sys("read the list of mappings");
        if (n == 0)
            return found;
        used += static_cast<size_t>(n);
        const size_t whole = used / sizeof(FlaggedRange);
        for (size_t i = 0; i < whole; i++) {
            if (!found.empty() && piece[i].start < found.back().end)
                return found;
            found.push_back(piece[i]);
        }
        used -= whole * sizeof(FlaggedRange);
        memmove(bytes, bytes + whole * sizeof(FlaggedRange), used);
    }
}

} // namespace

Result<MappingFlags> MappingFlags::open() {
    const std::string bytes = TRY(read_file(AT_FDCWD, "/sys/kernel/btf/vmlinux"));
    const parse::Btf types = TRY(parse::Btf::parse(bytes));
    return MappingFlags(TRY(load_iterator(TRY(code_for(types)), TRY(types.function("bpf_iter_task_vma")))));
}

Result<std::vector<FlaggedRange>> MappingFlags::read(base::Pid thread) const {
    struct { // union bpf_iter_link_info, newer than the headers that we are built with
        uint32_t tid, pid, pid_fd;
    } which{static_cast<uint32_t>(thread.value), 0, 0};
    bpf_attr attributes{};
    attributes.link_create.prog_fd = static_cast<uint32_t>(program_.get());
    attributes.link_create.attach_type = BPF_TRACE_ITER;
    attributes.link_create.iter_info = address(&which);
    attributes.link_create.iter_info_len = sizeof which;
    const base::UniqueFd link(static_cast<int>(syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof attributes)));
    if (!link)
        return base::fail_sys("list mappings of one task");
    attributes = {};
    attributes.iter_create.link_fd = static_cast<uint32_t>(link.get());
    const base::UniqueFd list(static_cast<int>(syscall(SYS_bpf, BPF_ITER_CREATE, &attributes, sizeof attributes)));
    if (!list)
        return base::fail_sys("list mappings");
    return read_ascending(list.get());
}

} // namespace kernel
