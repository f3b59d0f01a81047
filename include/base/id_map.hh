// What a user namespace calls the users and groups of the namespace around it. Images say ids as the tree does, the
// kernel tells them to the tool as the tool's own namespace has them.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace base {

/// One line of /proc/PID/uid_map.
struct IdExtent {
    uint32_t first = 0; ///< inside
    uint32_t lower = 0; ///< outside
    uint32_t count = 0;
    bool operator==(const IdExtent &) const = default;
};

class IdMap {
public:
    /// Both sides are the same.
    IdMap() = default;
    explicit IdMap(std::vector<IdExtent> extents) : identity_(false), extents_(std::move(extents)) {}

    bool is_identity() const { return identity_; }
    const std::vector<IdExtent> &extents() const { return extents_; }

    /// ~0, "no id", stays. Nothing: who has no number inside.
    std::optional<uint32_t> find(uint32_t id) const {
        if (identity_ || id == ~uint32_t{0})
            return id;
        for (const IdExtent &extent : extents_)
            if (id >= extent.lower && id - extent.lower < extent.count)
                return extent.first + (id - extent.lower);
        return std::nullopt;
    }
    /// Who has no number inside is nobody there, as the kernel says it.
    uint32_t inside(uint32_t id) const {
        constexpr uint32_t kNobody = 65534;
        return find(id).value_or(kNobody);
    }

private:
    bool identity_ = true;
    std::vector<IdExtent> extents_;
};

/// Of users and of groups.
struct OwnerMaps {
    IdMap users, groups;
    bool are_identity() const { return users.is_identity() && groups.is_identity(); }
};

} // namespace base
