// What users may ask for that concerns control groups.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace resource::cgroup {

/// What happens to groups: CRIU's modes.
enum class Mode {
    Ignore, ///< nothing: tasks are in the tool's groups afterwards
    None,   ///< tasks are moved; every group has to be there
    Props,  ///< as None, and properties are set
    Soft,   ///< groups that are missing are made, with their properties; those that are there are left alone
    Full,   ///< as Soft, and the properties of those that are there are set, too
    Strict, ///< every group must be missing
};

/// Where groups of a controller come back: their topmost directory becomes this one.
struct Root {
    std::string controller; ///< empty and `all`: of every controller
    std::string path;
    bool all = false;
};

/// Properties of one controller that the user names.
struct PropertyList {
    std::vector<std::string> names;
    bool replaces = false; ///< only these, instead of these too
};
using PropertyLists = std::map<std::string, PropertyList>; ///< by controller; "" is version 2

struct Options {
    Mode mode = Mode::Ignore;
    std::vector<Root> roots;
    std::vector<std::string> controllers; ///< that are saved, as the kernel spells them together; none: all
    std::string yard;                     ///< where the hierarchies are mounted; empty: mounted for us alone
    PropertyLists properties;             ///< on the dump
};

} // namespace resource::cgroup
