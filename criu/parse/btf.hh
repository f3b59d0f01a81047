// What the kernel's own type information (/sys/kernel/btf/vmlinux) says of structures: where a member lies.
#pragma once

#include "criu/parse/result.hh"

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace parse {

struct BtfMember {
    uint32_t offset = 0; ///< bytes from the start of the structure
    uint32_t size = 0;   ///< bytes
    bool operator==(const BtfMember &) const = default;
};

class Btf {
public:
    /// `bytes` must outlive the result.
    static Result<Btf> parse(std::string_view bytes);
    /// Adds the types of one module of this kernel (/sys/kernel/btf/NAME), which go on where the kernel's own end.
    Result<void> add_module(std::string_view bytes);

    /// A member of a structure by name; "a.b" is a member of the member `a`. Members of unnamed structures and unions
    /// count as those of the structure around them. Bit fields are not found.
    /// Errors: Unsupported if there is no such structure or member.
    Result<BtfMember> member(std::string_view structure, std::string_view path) const;
    Result<uint32_t> size_of(std::string_view structure) const;
    /// The id of a function of the kernel itself, for programs that hook it. Errors: Unsupported.
    Result<uint32_t> function(std::string_view name) const;

private:
    struct Type;
    struct Part { ///< of the kernel, or of a module
        std::string_view types, strings;
        uint32_t first_id = 0, first_string = 0; ///< the numbers of this part's begin here
        std::vector<uint32_t> starts;            ///< by id: where the type begins in types
    };
    Result<void> add(std::string_view bytes, Part part);
    Type type(uint32_t id) const;
    std::string_view name_at(uint32_t offset) const;
    uint32_t size_of_type(uint32_t id) const;
    uint32_t without_names(uint32_t id) const;
    bool find_member(uint32_t structure, std::string_view name, unsigned depth, uint32_t &offset, uint32_t &id) const;
    bool find_path(uint32_t structure, std::string_view path, BtfMember &found) const;

    std::vector<Part> parts_;
    /// Ids of structures by name: two parts of the kernel may have different ones of the same name.
    std::unordered_multimap<std::string_view, uint32_t> structures_;
};

} // namespace parse
