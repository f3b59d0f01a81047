// What this program needs to know of ELF files: the symbols of a vdso, the build id of a program or library, and where
// its code lies.
#pragma once

#include "criu/parse/result.hh"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parse {

struct ElfSymbol {
    std::string name;
    uint64_t offset = 0; ///< from the start of the image
    bool operator==(const ElfSymbol &) const = default;
};

/// A small position-independent ELF image of either class as it lies in memory (the vdso).
struct ElfImage {
    std::vector<ElfSymbol> symbols; ///< defined functions and objects of the dynamic symbol table
    uint64_t dynamic_offset = 0;    ///< where the dynamic table lies in the image
    uint64_t content_end = 0;       ///< first byte after segments, section contents and section headers
};

/// Reads the dynamic symbol table of an image of this machine's byte order. Every offset is checked against the image.
Result<ElfImage> parse_elf_image(std::string_view image);

/// Whether it is one of 32 bits. `prefix`: its first bytes.
bool is_32bit_elf(std::string_view prefix);

/// The NT_GNU_BUILD_ID of an ELF file (32 or 64 bit) of which `prefix` holds the first bytes; empty if there is none,
/// or if it is no ELF file.
std::vector<uint8_t> parse_build_id(std::string_view prefix);

struct ElfSegment {
    uint64_t address = 0; ///< as the file says: of a library, from where it is mapped
    uint64_t size = 0;    ///< in memory
    bool executable = false;
};

/// The loadable segments of an ELF file of which `prefix` holds the first bytes; none if it is no such file.
std::vector<ElfSegment> parse_load_segments(std::string_view prefix);

} // namespace parse
