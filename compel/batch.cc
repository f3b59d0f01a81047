#include "compel/injection.hh"

#include <algorithm>

namespace compel {

size_t Batch::call(long nr, std::initializer_list<uint64_t> args) {
    agent::Op op{};
    op.kind = agent::OpKind::Syscall;
    op.flags = agent::kOpMayFail;
    op.nr = static_cast<uint16_t>(nr);
    std::copy(args.begin(), args.end(), op.arg);
    ops_.push_back(op);
    return ops_.size() - 1;
}

size_t Batch::call32(long nr, std::initializer_list<uint64_t> args) {
    const size_t index = call(nr, args);
    ops_[index].kind = agent::OpKind::Call32;
    return index;
}

size_t Batch::call_with_result(long nr, std::initializer_list<uint64_t> args, unsigned position, size_t earlier) {
    size_t index = call(nr, args);
    ops_[index].arg[position] = earlier;
    ops_[index].result_refs = static_cast<uint8_t>(1u << position);
    return index;
}

size_t Batch::call_with_word(long nr, std::initializer_list<uint64_t> args, unsigned position, uint64_t address) {
    size_t index = call(nr, args);
    ops_[index].arg[position] = address;
    ops_[index].memory_refs = static_cast<uint8_t>(1u << position);
    return index;
}

size_t Batch::twin(uint64_t address) {
    const size_t index = call_with_word(0, {0}, 0, address);
    ops_[index].kind = agent::OpKind::Twin;
    return index;
}

void Batch::store_result(uint64_t address, size_t earlier) {
    agent::Op op{};
    op.kind = agent::OpKind::Copy;
    op.flags = agent::kOpMayFail;
    op.arg[0] = address;
    op.arg[1] = earlier;
    op.arg[2] = sizeof(int32_t);
    stores_.push_back(ops_.size());
    ops_.push_back(op);
}

uint64_t Batch::in(std::span<const std::byte> bytes) {
    uint64_t address = out(bytes.size());
    std::copy(bytes.begin(), bytes.end(), data_.begin() + static_cast<ptrdiff_t>(address - base_));
    return address;
}

uint64_t Batch::out(size_t size) {
    uint64_t address = base_ + data_.size();
    data_.resize(data_.size() + (size + 15) / 16 * 16);
    return address;
}

std::span<const std::byte> Batch::bytes(uint64_t address, size_t size) const {
    return std::span(data_).subspan(address - base_, size);
}

std::vector<std::byte> Batch::image() const {
    std::vector<std::byte> image(data_);
    // Where the operations lie is known only now.
    std::vector<agent::Op> placed(ops_);
    for (size_t index : stores_)
        placed[index].arg[1] = ops_address() + placed[index].arg[1] * sizeof(agent::Op) + offsetof(agent::Op, result);
    auto ops = std::as_bytes(std::span(placed));
    image.insert(image.end(), ops.begin(), ops.end());
    return image;
}

void Batch::read_back(std::span<const std::byte> image) {
    std::copy_n(image.begin(), data_.size(), data_.begin());
    std::vector<agent::Op> done(ops_.size());
    std::memcpy(done.data(), image.data() + data_.size(), done.size() * sizeof(agent::Op));
    for (size_t i = 0; i < done.size(); i++)
        ops_[i].result = done[i].result;
}

} // namespace compel
