// Who is called how in which pid namespace. Images name everybody by the number that the root task's namespace knows
// (VPid); tasks in namespaces below it have one more in each. Plain values.
#pragma once

#include "base/ids.hh"

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

namespace tree {

class Numbers {
public:
    /// The root task's namespace has no number here.
    static constexpr uint32_t kRoots = 0;

    struct Below {
        uint32_t id = 0;                    ///< in images
        uint32_t parent = kRoots;           ///< the namespace around it
        size_t depth = 1;                   ///< below the root's
        uint32_t init = 0;                  ///< who is 1 in it
        std::map<uint32_t, uint32_t> inner; ///< VPid -> number inside
    };

    /// Those around it come before it.
    void add(Below below) { below_.push_back(std::move(below)); }

    bool any() const { return !below_.empty(); }
    /// Parents before children.
    const std::vector<Below> &below() const { return below_; }
    const Below *find(uint32_t id) const {
        const auto found = std::ranges::find(below_, id, &Below::id);
        return found == below_.end() ? nullptr : &*found;
    }
    /// Place in below(). The namespace has to be there.
    size_t index_of(uint32_t id) const { return static_cast<size_t>(find(id) - below_.data()); }

    /// The innermost namespace that knows somebody: the one he lives in.
    uint32_t home_of(uint32_t number) const {
        const Below *home = nullptr;
        for (const Below &each : below_)
            if (each.inner.contains(number) && (!home || each.depth > home->depth))
                home = &each;
        return home ? home->id : kRoots;
    }
    /// What he is called in a namespace; 0 where nobody there can see him.
    uint32_t seen_in(uint32_t id, uint32_t number) const {
        if (id == kRoots)
            return number;
        const Below *below = find(id);
        const auto found = below ? below->inner.find(number) : decltype(below->inner.find(number))();
        return below && found != below->inner.end() ? found->second : 0;
    }
    /// ... in the namespace that another lives in.
    uint32_t seen_by(uint32_t observer, uint32_t number) const { return seen_in(home_of(observer), number); }

    /// All numbers that he has, as clone3 wants them: the innermost first, the VPid last.
    std::vector<int32_t> everywhere(uint32_t number) const {
        std::vector<int32_t> all{static_cast<int32_t>(number)};
        for (const Below &each : below_)
            if (const auto found = each.inner.find(number); found != each.inner.end())
                all.insert(all.begin(), static_cast<int32_t>(found->second));
        return all;
    }

private:
    std::vector<Below> below_;
};

} // namespace tree
