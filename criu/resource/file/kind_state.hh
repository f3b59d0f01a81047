// What the kinds of descriptors remember while the files of a tree are visited: one object per type, made at first use.
// The engine hands it through without knowing what is inside.
#pragma once

#include <map>
#include <memory>
#include <typeindex>

namespace resource {

class KindStates {
public:
    template <class T> T &of() {
        std::shared_ptr<void> &slot = states_[typeid(T)];
        if (!slot)
            slot = std::make_shared<T>();
        return *static_cast<T *>(slot.get());
    }

private:
    std::map<std::type_index, std::shared_ptr<void>> states_;
};

} // namespace resource
