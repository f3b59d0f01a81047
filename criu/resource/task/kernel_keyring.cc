// A keyring is a tree of nodes with sixteen slots each. The lowest bits of a slot tell what it points to.
#include "criu/resource/task/kernel_keyring.hh"

#include <algorithm>
#include <fmt/format.h>

namespace resource {
namespace {

constexpr uint64_t kMeta = 1, kShortcut = 2, kTags = 3; // of slots; a key's own tag is 2, for keyrings
constexpr size_t kSlots = 16, kMostKeys = 1000, kDeepest = 64;

std::string text_at(const KernelMemory &memory, uint64_t address) {
    constexpr size_t kMost = 64;
    std::string text;
    for (char letter = 0; address && text.size() < kMost; text += letter)
        if (!memory.read(address + text.size(), std::as_writable_bytes(std::span(&letter, 1))) || letter == 0)
            break;
    return text;
}

Result<std::string> description(const KernelMemory &memory, uint64_t key) {
    return text_at(memory, TRY(memory.member(key, "key", "description")));
}

bool is_users(std::string_view name) {
    return name.starts_with("_uid.") || name.starts_with("_uid_ses.");
}

class Walk {
public:
    explicit Walk(const KernelMemory &memory) : memory_(memory) {}

    Result<void> visit(uint64_t slot, size_t depth) {
        if (!slot || names_.size() >= kMostKeys || depth > kDeepest)
            return {};
        const uint64_t address = slot & ~kTags;
        if (!(slot & kMeta))
            return add(address);
        if (slot & kShortcut)
            return visit(TRY(memory_.member(address, "assoc_array_shortcut", "next_node")), depth + 1);
        uint64_t slots[kSlots]{};
        TRY(memory_.read(TRY(memory_.address_of(address, "assoc_array_node", "slots")),
                         std::as_writable_bytes(std::span(slots))));
        for (const uint64_t each : slots)
            TRY(visit(each, depth + 1));
        return {};
    }

    std::vector<std::string> take() { return std::move(names_); }

private:
    Result<void> add(uint64_t key) {
        std::string name = TRY(description(memory_, key));
        const std::string type =
            text_at(memory_, TRY(memory_.member(TRY(memory_.member(key, "key", "type")), "key_type", "name")));
        const bool of_service_manager = type == "user" && name == "invocation_id"; // systemd gives it to each service
        if (!of_service_manager && (type != "keyring" || !is_users(name)))
            names_.push_back(fmt::format("{} \"{}\"", type, name));
        return {};
    }

    const KernelMemory &memory_;
    std::vector<std::string> names_;
};

} // namespace

Result<std::vector<std::string>> keys_in(const KernelMemory &memory, uint64_t keyring) {
    Walk walk(memory);
    TRY(walk.visit(TRY(memory.member(keyring, "key", "keys.root")), 0));
    return walk.take();
}

Result<bool> is_users_keyring(const KernelMemory &memory, uint64_t keyring) {
    return is_users(TRY(description(memory, keyring)));
}

} // namespace resource
