// The stream of images: one file, or what comes out of a pipe, that holds a checkpoint.
//
//   head      16 bytes: "CRIUSTRM", version (u32), flags (u32; 1: encrypted); 32 bytes of salt
//   record    header of 24 bytes: kind (u32), bytes that follow (u32), file (u32), 0 (u32), offset (u64); the bytes
//
// | kind | | file | offset | bytes |
// |---|---|---|---|---|
// | 1 | a file begins | its number, from 0 on | 0 | its name |
// | 2 | contents | number | place in the file | up to 4 MiB |
// | 3 | a file ends | number | its size | none |
// | 4 | the end | number of files | number of records before | none |
//
// All numbers are little-endian. Files may take turns, offsets in a file only grow, what is left out is zeroes. A
// stream without its end is no checkpoint, and nothing is made of it.
//
// Encrypted, the bytes of each record are sealed by AES-256-GCM: 16 bytes of tag follow them (and count), the header
// and the number of the record are authenticated with them. So no record can be changed, left out, repeated, or moved,
// and names are not seen. The key is derived (HKDF-SHA256) from the user's and the salt, so that each stream has its
// own; the head goes into the derivation.
#pragma once

#include "base/result.hh"

#include <cstddef>
#include <cstdint>
#include <string>

namespace pages::stream {

using base::Result;

inline constexpr char kMagic[8] = {'C', 'R', 'I', 'U', 'S', 'T', 'R', 'M'};
inline constexpr uint32_t kVersion = 1, kEncrypted = 1;
inline constexpr uint32_t kMostBytes = 4u << 20, kTagBytes = 16;
inline constexpr uint32_t kMostFiles = 1u << 22;
inline constexpr size_t kMostName = 200;

struct Head {
    char magic[8];
    uint32_t version, flags;
    unsigned char salt[32];
};
static_assert(sizeof(Head) == 48);

enum class Kind : uint32_t { Begin = 1, Contents = 2, FileEnd = 3, End = 4 };

struct Header {
    uint32_t kind, bytes, file, zero;
    uint64_t offset;
};
static_assert(sizeof(Header) == 24);

/// Names of image files, statistics, and what plugins write: no path, nothing hidden.
bool is_file_name(const std::string &name);

} // namespace pages::stream
