// Structures are copied out of the bytes with their offsets checked, never pointed at: the bytes may be damaged,
// truncated or misaligned.

#include "criu/parse/elf.hh"

#include <algorithm>
#include <bit>
#include <cstring>
#include <elf.h>
#include <optional>

namespace parse {

namespace {

/// The bytes [offset, offset + size), or nothing if they are not all there.
std::optional<std::string_view> slice(std::string_view bytes, uint64_t offset, uint64_t size) {
    if (offset > bytes.size() || size > bytes.size() - offset)
        return std::nullopt;
    return bytes.substr(offset, size);
}

template <class T> std::optional<T> load(std::string_view bytes, uint64_t offset) {
    auto part = slice(bytes, offset, sizeof(T));
    if (!part)
        return std::nullopt;
    T out;
    std::memcpy(&out, part->data(), sizeof(T));
    return out;
}

/// A table of `count` entries; nothing if it does not fit.
template <class T> std::optional<std::vector<T>> load_table(std::string_view bytes, uint64_t offset, uint64_t count) {
    if (count > bytes.size() / sizeof(T))
        return std::nullopt;
    auto part = slice(bytes, offset, count * sizeof(T));
    if (!part)
        return std::nullopt;
    std::vector<T> out(count);
    if (count)
        std::memcpy(out.data(), part->data(), part->size());
    return out;
}

bool is_native_elf(std::string_view bytes, unsigned char elf_class) {
    constexpr unsigned char kData = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;
    return bytes.size() >= EI_NIDENT && bytes.starts_with(std::string_view(ELFMAG, SELFMAG)) &&
           static_cast<unsigned char>(bytes[EI_CLASS]) == elf_class &&
           static_cast<unsigned char>(bytes[EI_DATA]) == kData;
}

std::unexpected<base::Error> bad(const char *what) {
    return base::fail(base::ErrorKind::Unsupported, std::string("elf: ") + what);
}

/// Where the parts of an image in memory lie. In a vdso the first segment is at file offset 0, so an address minus the
/// first segment's address is an offset in the bytes.
struct Layout {
    uint64_t base = 0;
    uint64_t dynamic = 0, dynamic_size = 0;
    uint64_t end = 0;
};

/// The structures of both classes, and the size of a word of the bloom filter in their GNU hash tables.
struct Elf64 {
    using Head = Elf64_Ehdr;
    using Segment = Elf64_Phdr;
    using Section = Elf64_Shdr;
    using Entry = Elf64_Dyn;
    using Symbol = Elf64_Sym;
    using Word = uint64_t;
};
struct Elf32 {
    using Head = Elf32_Ehdr;
    using Segment = Elf32_Phdr;
    using Section = Elf32_Shdr;
    using Entry = Elf32_Dyn;
    using Symbol = Elf32_Sym;
    using Word = uint32_t;
};

template <class Elf> Result<Layout> read_layout(std::string_view image, const typename Elf::Head &head) {
    using Segment = typename Elf::Segment;
    if (head.e_phentsize != sizeof(Segment))
        return bad("unexpected size of program headers");
    auto segments = load_table<Segment>(image, head.e_phoff, head.e_phnum);
    if (!segments)
        return bad("program headers lie outside of the image");
    Layout out;
    bool have_load = false, have_dynamic = false;
    for (const Segment &ph : *segments) {
        if (!slice(image, ph.p_offset, ph.p_filesz))
            continue; // a truncated prefix: only what is there can be asked for
        out.end = std::max(out.end, uint64_t{ph.p_offset} + ph.p_filesz);
        if (ph.p_type == PT_LOAD && !have_load) {
            out.base = ph.p_vaddr - ph.p_offset;
            have_load = true;
        } else if (ph.p_type == PT_DYNAMIC) {
            out.dynamic = ph.p_offset;
            out.dynamic_size = ph.p_filesz;
            have_dynamic = true;
        }
    }
    if (!have_load || !have_dynamic)
        return bad("no load or dynamic segment");
    return out;
}

template <class Elf> uint64_t end_of_sections(std::string_view image, const typename Elf::Head &head, uint64_t end) {
    using Section = typename Elf::Section;
    if (head.e_shnum == 0 || head.e_shentsize != sizeof(Section))
        return end;
    auto sections = load_table<Section>(image, head.e_shoff, head.e_shnum);
    if (!sections)
        return end;
    end = std::max(end, head.e_shoff + head.e_shnum * sizeof(Section));
    for (const Section &sh : *sections)
        if (sh.sh_type != SHT_NOBITS && slice(image, sh.sh_offset, sh.sh_size))
            end = std::max(end, uint64_t{sh.sh_offset} + sh.sh_size);
    return end;
}

struct Dynamic {
    std::optional<uint64_t> symtab, strtab, strsz, hash, gnu_hash;
};

template <class Elf> Dynamic read_dynamic(std::string_view image, const Layout &layout) {
    using Entry = typename Elf::Entry;
    Dynamic out;
    for (uint64_t at = 0; at + sizeof(Entry) <= layout.dynamic_size; at += sizeof(Entry)) {
        auto entry = load<Entry>(image, layout.dynamic + at);
        if (!entry || entry->d_tag == DT_NULL)
            break;
        uint64_t offset = entry->d_un.d_ptr - layout.base;
        if (entry->d_tag == DT_SYMTAB)
            out.symtab = offset;
        else if (entry->d_tag == DT_STRTAB)
            out.strtab = offset;
        else if (entry->d_tag == DT_STRSZ)
            out.strsz = entry->d_un.d_val;
        else if (entry->d_tag == DT_HASH)
            out.hash = offset;
        else if (entry->d_tag == DT_GNU_HASH)
            out.gnu_hash = offset;
    }
    return out;
}

/// Number of symbols by a GNU hash table: the last chain's end. Newer vdsos have no other table.
template <class Word> std::optional<uint64_t> count_gnu_hash(std::string_view image, uint64_t at) {
    struct Head {
        uint32_t buckets, first, bloom, shift;
    };
    auto head = load<Head>(image, at);
    if (!head)
        return std::nullopt;
    uint64_t buckets_at = at + sizeof(Head) + uint64_t{head->bloom} * sizeof(Word);
    auto buckets = load_table<uint32_t>(image, buckets_at, head->buckets);
    if (!buckets)
        return std::nullopt;
    uint64_t last = buckets->empty() ? 0 : *std::ranges::max_element(*buckets);
    if (last < head->first)
        return head->first;
    uint64_t chains_at = buckets_at + uint64_t{head->buckets} * sizeof(uint32_t);
    for (;; ++last) {
        auto link = load<uint32_t>(image, chains_at + (last - head->first) * sizeof(uint32_t));
        if (!link)
            return std::nullopt;
        if (*link & 1)
            return last + 1;
    }
}

template <class Word> std::optional<uint64_t> count_symbols(std::string_view image, const Dynamic &dynamic) {
    if (dynamic.hash) { // nbucket, nchain: the second is the number of symbols
        auto count = load<uint32_t>(image, *dynamic.hash + sizeof(uint32_t));
        if (count)
            return *count;
    }
    if (dynamic.gnu_hash)
        return count_gnu_hash<Word>(image, *dynamic.gnu_hash);
    return std::nullopt;
}

std::optional<std::string> string_at(std::string_view strings, uint64_t offset) {
    if (offset >= strings.size())
        return std::nullopt;
    std::string_view tail = strings.substr(offset);
    size_t end = tail.find('\0');
    if (end == std::string_view::npos)
        return std::nullopt;
    return std::string(tail.substr(0, end));
}

template <class Elf> Result<std::vector<ElfSymbol>> read_symbols(std::string_view image, const Layout &layout) {
    Dynamic dynamic = read_dynamic<Elf>(image, layout);
    if (!dynamic.symtab || !dynamic.strtab || !dynamic.strsz)
        return bad("no dynamic symbol table");
    auto strings = slice(image, *dynamic.strtab, *dynamic.strsz);
    auto count = count_symbols<typename Elf::Word>(image, dynamic);
    if (!strings || !count)
        return bad("the string or hash table lies outside of the image");
    auto table = load_table<typename Elf::Symbol>(image, *dynamic.symtab, *count);
    if (!table)
        return bad("the symbol table lies outside of the image");
    std::vector<ElfSymbol> out;
    for (const typename Elf::Symbol &symbol : *table) {
        unsigned type = ELF64_ST_TYPE(symbol.st_info);
        if (symbol.st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_OBJECT && type != STT_NOTYPE))
            continue;
        auto name = string_at(*strings, symbol.st_name);
        if (!name)
            return bad("the name of a symbol lies outside of the string table");
        out.push_back({std::move(*name), symbol.st_value - layout.base});
    }
    return out;
}

/// Walks the notes in one PT_NOTE segment.
std::vector<uint8_t> find_build_id(std::string_view notes) {
    constexpr uint64_t kAlign = 4;
    constexpr std::string_view kGnu("GNU\0", 4); // owners are counted with their terminating zero
    auto aligned = [](uint64_t n) { return (n + kAlign - 1) / kAlign * kAlign; };
    for (uint64_t at = 0;;) {
        auto head = load<Elf64_Nhdr>(notes, at); // the same in both classes
        if (!head)
            return {};
        at += sizeof(Elf64_Nhdr);
        auto name = slice(notes, at, head->n_namesz);
        auto data = slice(notes, at + aligned(head->n_namesz), head->n_descsz);
        if (!name || !data)
            return {};
        if (head->n_type == NT_GNU_BUILD_ID && *name == kGnu)
            return {data->begin(), data->end()};
        at += aligned(head->n_namesz) + aligned(head->n_descsz);
    }
}

template <class Elf> std::vector<uint8_t> build_id_of(std::string_view prefix) {
    using Segment = typename Elf::Segment;
    auto head = load<typename Elf::Head>(prefix, 0);
    if (!head || head->e_phentsize != sizeof(Segment))
        return {};
    auto segments = load_table<Segment>(prefix, head->e_phoff, head->e_phnum);
    if (!segments)
        return {};
    for (const Segment &ph : *segments) {
        if (ph.p_type != PT_NOTE)
            continue;
        auto notes = slice(prefix, ph.p_offset, ph.p_filesz);
        if (!notes)
            continue;
        if (auto id = find_build_id(*notes); !id.empty())
            return id;
    }
    return {};
}

template <class Elf> Result<ElfImage> parse_image(std::string_view image) {
    auto head = load<typename Elf::Head>(image, 0);
    if (!head)
        return bad("the image has no head");
    Layout layout = TRY(read_layout<Elf>(image, *head));
    ElfImage out;
    out.symbols = TRY(read_symbols<Elf>(image, layout));
    out.dynamic_offset = layout.dynamic;
    out.content_end = end_of_sections<Elf>(image, *head, layout.end);
    return out;
}

template <class Elf> std::vector<ElfSegment> load_segments(std::string_view prefix) {
    using Segment = typename Elf::Segment;
    auto head = load<typename Elf::Head>(prefix, 0);
    if (!head || head->e_phentsize != sizeof(Segment))
        return {};
    auto headers = load_table<Segment>(prefix, head->e_phoff, head->e_phnum);
    std::vector<ElfSegment> segments;
    for (const Segment &ph : headers.value_or(std::vector<Segment>()))
        if (ph.p_type == PT_LOAD)
            segments.push_back({ph.p_vaddr, std::max(ph.p_memsz, ph.p_filesz), (ph.p_flags & PF_X) != 0});
    return segments;
}

} // namespace

Result<ElfImage> parse_elf_image(std::string_view image) {
    if (is_native_elf(image, ELFCLASS64))
        return parse_image<Elf64>(image);
    if (is_32bit_elf(image))
        return parse_image<Elf32>(image);
    return bad("no ELF image of this byte order");
}

bool is_32bit_elf(std::string_view prefix) {
    return is_native_elf(prefix, ELFCLASS32);
}

std::vector<uint8_t> parse_build_id(std::string_view prefix) {
    if (is_native_elf(prefix, ELFCLASS64))
        return build_id_of<Elf64>(prefix);
    if (is_native_elf(prefix, ELFCLASS32))
        return build_id_of<Elf32>(prefix);
    return {};
}

std::vector<ElfSegment> parse_load_segments(std::string_view prefix) {
    if (is_native_elf(prefix, ELFCLASS64))
        return load_segments<Elf64>(prefix);
    return is_32bit_elf(prefix) ? load_segments<Elf32>(prefix) : std::vector<ElfSegment>();
}

} // namespace parse
