// Names for numbers: bit sets and enumerations that crit spells out in its pretty form. Which field uses which table is
// said by the options of the field in the schema (opts.proto).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace crit {

struct NamedValue {
    std::string_view name;
    uint64_t value;
};

/// Table of the bit set `set` ("mmap.prot", ...); empty if there is none.
std::span<const NamedValue> flag_names(std::string_view set);
/// Table of the enumeration `dict` ("gen", "sk") for the field called `field`; empty if there is none.
std::span<const NamedValue> dict_names(std::string_view dict, std::string_view field);

/// "A | B | 0x40": bits without a name come last, in hex; "" for 0.
std::string flags_text(std::span<const NamedValue> names, uint64_t value);
/// The reverse. Nothing if a word is neither a name nor a number.
std::optional<uint64_t> parse_flags(std::span<const NamedValue> names, std::string_view text);

std::optional<std::string_view> name_of(std::span<const NamedValue> names, uint64_t value);
std::optional<uint64_t> value_of(std::span<const NamedValue> names, std::string_view name);

/// A number in decimal or, with 0x in front, in hex.
std::optional<uint64_t> parse_number(std::string_view text);

} // namespace crit
