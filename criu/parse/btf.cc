// The format is described in the kernel's Documentation/bpf/btf.rst. All numbers are read with their place checked;
// what is not there counts as zero, which is the type "void".
#include "criu/parse/btf.hh"

#include <algorithm>
#include <cstring>
#include <linux/btf.h>
#include <string>

namespace parse {
namespace {

// Newer than the headers that we are built with.
constexpr uint32_t kDeclTag = 17, kTypeTag = 18, kEnum64 = 19;
constexpr unsigned kDeepest = 32; // of typedefs and unnamed structures in each other

template <class T> T load(std::string_view bytes, uint64_t offset) {
    T value{};
    if (offset <= bytes.size() && sizeof value <= bytes.size() - offset)
        memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

/// Bytes that follow a type's first twelve.
uint64_t tail_bytes(uint32_t kind, uint32_t count) {
    switch (kind) {
    case BTF_KIND_INT:
    case BTF_KIND_VAR:
    case kDeclTag:
        return 4;
    case BTF_KIND_ARRAY:
        return sizeof(btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
        return uint64_t{count} * sizeof(btf_member);
    case BTF_KIND_ENUM:
    case BTF_KIND_FUNC_PROTO:
        return uint64_t{count} * 8;
    case BTF_KIND_DATASEC:
    case kEnum64:
        return uint64_t{count} * 12;
    default:
        return 0;
    }
}

bool is_structure(uint32_t kind) {
    return kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION;
}

std::unexpected<base::Error> bad(const std::string &what) {
    return base::unsupported("btf: " + what);
}

} // namespace

struct Btf::Type {
    std::string_view name;
    uint32_t kind = BTF_KIND_UNKN;
    uint32_t count = 0;
    bool bit_fields = false; ///< the upper byte of a member's offset is its width in bits
    uint32_t size = 0;       ///< or the type that it refers to
    std::string_view tail;   ///< what follows, to the end of its part
};

Result<Btf> Btf::parse(std::string_view bytes) {
    Btf btf;
    Part part;
    part.starts.push_back(UINT32_MAX); // type 0 is "void" and has no bytes
    TRY(btf.add(bytes, std::move(part)));
    return btf;
}

Result<void> Btf::add_module(std::string_view bytes) {
    if (parts_.size() != 1)
        return base::fail(base::ErrorKind::Bug, "btf: a module on top of another: their numbers are the same");
    Part part;
    part.first_id = static_cast<uint32_t>(parts_[0].starts.size());
    part.first_string = static_cast<uint32_t>(parts_[0].strings.size());
    return add(bytes, std::move(part));
}

Result<void> Btf::add(std::string_view bytes, Part part) {
    const auto header = load<btf_header>(bytes, 0);
    const uint64_t types = uint64_t{header.hdr_len} + header.type_off,
                   strings = uint64_t{header.hdr_len} + header.str_off;
    if (header.magic != BTF_MAGIC || header.version != BTF_VERSION)
        return bad("no type information of this machine's byte order");
    if (types + header.type_len > bytes.size() || strings + header.str_len > bytes.size())
        return bad("it is truncated");
    part.types = bytes.substr(types, header.type_len);
    part.strings = bytes.substr(strings, header.str_len);
    for (uint64_t at = 0; at < header.type_len;) {
        part.starts.push_back(static_cast<uint32_t>(at));
        const auto info = load<btf_type>(part.types, at).info;
        at += sizeof(btf_type) + tail_bytes(BTF_INFO_KIND(info), BTF_INFO_VLEN(info));
    }
    const auto first = part.first_id, end = first + static_cast<uint32_t>(part.starts.size());
    parts_.push_back(std::move(part));
    for (uint32_t id = first; id < end; id++)
        if (const Type t = type(id); is_structure(t.kind) && !t.name.empty())
            structures_.emplace(t.name, id);
    return {};
}

Btf::Type Btf::type(uint32_t id) const {
    const Part &part = id >= parts_.back().first_id ? parts_.back() : parts_.front();
    if (id - part.first_id >= part.starts.size())
        return {};
    const uint64_t start = part.starts[id - part.first_id];
    const auto raw = load<btf_type>(part.types, start);
    const uint64_t tail = std::min<uint64_t>(start + sizeof raw, part.types.size());
    return {.name = name_at(raw.name_off),
            .kind = BTF_INFO_KIND(raw.info),
            .count = BTF_INFO_VLEN(raw.info),
            .bit_fields = BTF_INFO_KFLAG(raw.info) != 0,
            .size = raw.size,
            .tail = part.types.substr(tail)};
}

std::string_view Btf::name_at(uint32_t offset) const {
    const Part &part = offset >= parts_.back().first_string ? parts_.back() : parts_.front();
    offset -= part.first_string;
    if (offset >= part.strings.size())
        return {};
    const std::string_view rest = part.strings.substr(offset);
    return rest.substr(0, rest.find('\0'));
}

/// The type behind typedefs and qualifiers.
uint32_t Btf::without_names(uint32_t id) const {
    for (unsigned i = 0; i < kDeepest; i++) {
        const Type t = type(id);
        if (t.kind != BTF_KIND_TYPEDEF && t.kind != BTF_KIND_CONST && t.kind != BTF_KIND_VOLATILE &&
            t.kind != BTF_KIND_RESTRICT && t.kind != kTypeTag)
            return id;
        id = t.size;
    }
    return 0;
}

uint32_t Btf::size_of_type(uint32_t id) const {
    uint64_t elements = 1;
    for (unsigned i = 0; i < kDeepest; i++) {
        const Type t = type(without_names(id));
        if (t.kind == BTF_KIND_PTR)
            return static_cast<uint32_t>(elements * sizeof(void *));
        if (t.kind != BTF_KIND_ARRAY)
            return static_cast<uint32_t>(elements * t.size);
        const auto array = load<btf_array>(t.tail, 0);
        elements *= array.nelems;
        id = array.type;
    }
    return 0;
}

bool Btf::find_member(uint32_t structure, std::string_view name, unsigned depth, uint32_t &offset, uint32_t &id) const {
    const Type outer = type(without_names(structure));
    if (!is_structure(outer.kind) || depth > kDeepest)
        return false;
    for (uint32_t i = 0; i < outer.count && i * sizeof(btf_member) < outer.tail.size(); i++) {
        const auto member = load<btf_member>(outer.tail, i * sizeof(btf_member));
        const uint32_t bits = outer.bit_fields ? BTF_MEMBER_BIT_OFFSET(member.offset) : member.offset;
        const bool bit_field = outer.bit_fields && BTF_MEMBER_BITFIELD_SIZE(member.offset);
        const std::string_view own = name_at(member.name_off);
        uint32_t inner = 0;
        if (own == name && !own.empty() && !bit_field) {
            offset = bits / 8, id = member.type;
            return true;
        }
        if (own.empty() && find_member(member.type, name, depth + 1, inner, id)) {
            offset = bits / 8 + inner;
            return true;
        }
    }
    return false;
}

bool Btf::find_path(uint32_t structure, std::string_view path, BtfMember &found) const {
    found = {};
    while (!path.empty()) {
        const std::string_view name = path.substr(0, path.find('.'));
        uint32_t offset = 0, id = 0;
        if (!find_member(structure, name, 0, offset, id))
            return false;
        found.offset += offset;
        structure = id;
        path.remove_prefix(std::min(path.size(), name.size() + 1));
    }
    found.size = size_of_type(structure);
    return true;
}

Result<BtfMember> Btf::member(std::string_view structure, std::string_view path) const {
    BtfMember found;
    for (auto [it, end] = structures_.equal_range(structure); it != end; ++it)
        if (find_path(it->second, path, found))
            return found;
    return bad("this kernel has no " + std::string(structure) + "::" + std::string(path));
}

Result<uint32_t> Btf::size_of(std::string_view structure) const {
    const auto found = structures_.find(structure);
    if (found == structures_.end())
        return bad("this kernel has no struct " + std::string(structure));
    return type(found->second).size;
}

Result<uint32_t> Btf::function(std::string_view name) const {
    for (uint32_t id = 1; id < parts_.front().starts.size(); id++)
        if (const Type t = type(id); t.kind == BTF_KIND_FUNC && t.name == name)
            return id;
    return bad("this kernel has no function " + std::string(name));
}

} // namespace parse
