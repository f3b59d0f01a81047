// BPF maps: hash tables and arrays, each saved with its entries. What runs on them (programs, pins) is not in a tree of
// processes: a map that others use beside the tree comes back as a copy.
#include "bpfmap-data.pb.h"
#include "criu/resource/file/file.hh"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource::bpf_map {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 31; // of a payload

int bpf(int command, bpf_attr &attributes) {
    return static_cast<int>(syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

uint64_t address(const void *memory) {
    return reinterpret_cast<uintptr_t>(memory);
}

int access_map(int command, int fd, const void *key, const void *value) {
    bpf_attr attributes{};
    attributes.map_fd = static_cast<uint32_t>(fd);
    attributes.key = address(key);
    attributes.value = address(value);
    return bpf(command, attributes);
}

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:bpf-map";
}

// ---- dump ----------------------------------------------------------------------------------------------------------

struct DumpedMaps {
    std::set<uint32_t> ids;
};

/// A number of fdinfo; 0 if it is not there.
uint64_t field(const std::string &fdinfo, const std::string &name) {
    const size_t at = fdinfo.find("\n" + name + ":");
    return at == std::string::npos ? 0 : strtoull(fdinfo.c_str() + at + name.size() + 2, nullptr, 0);
}

Result<bpf_map_info> ask(int fd) {
    bpf_map_info info{};
    bpf_attr attributes{};
    attributes.info.bpf_fd = static_cast<uint32_t>(fd);
    attributes.info.info_len = sizeof info;
    attributes.info.info = address(&info);
    if (bpf(BPF_OBJ_GET_INFO_BY_FD, attributes) < 0)
        return base::fail_sys("look at a BPF map (BPF_OBJ_GET_INFO_BY_FD)");
    return info;
}

Result<void> check(const OpenFile &file, const bpf_map_info &info) {
    if (info.type != BPF_MAP_TYPE_HASH && info.type != BPF_MAP_TYPE_ARRAY)
        return base::unsupported(
            fmt::format("a BPF map of type {}: only hash tables and arrays can be saved", info.type));
    if (info.btf_id || info.btf_value_type_id)
        return base::unsupported("a BPF map with type information (BTF) is not supported yet");
    if (info.ifindex)
        return base::unsupported("a BPF map of a network device");
    if ((file.flags & O_ACCMODE) != O_RDWR)
        return base::unsupported("a BPF map that is open for reading or writing only is not supported yet");
    if (uint64_t{info.max_entries} * (uint64_t{info.key_size} + info.value_size) > kMostBytes)
        return base::unsupported("a BPF map of more than 2 GiB");
    return {};
}

Result<void> dump_data(FileDumpContext &context, int fd, const bpf_map_info &info) {
    std::vector<std::byte> keys, values, key(info.key_size), value(info.value_size);
    uint32_t count = 0;
    for (const std::byte *last = nullptr;; last = key.data()) {
        if (access_map(BPF_MAP_GET_NEXT_KEY, fd, last, key.data()) < 0) { // the next key lies where the value would
            if (errno == ENOENT)
                break;
            return base::fail_sys("walk through a BPF map");
        }
        if (access_map(BPF_MAP_LOOKUP_ELEM, fd, key.data(), value.data()) < 0)
            return base::fail_sys("read a BPF map");
        if (++count > info.max_entries)
            return base::fail(base::ErrorKind::System, "a BPF map changes while it is read");
        keys.insert(keys.end(), key.begin(), key.end());
        values.insert(values.end(), value.begin(), value.end());
    }
    img::bpfmap_data_entry data;
    data.set_map_id(info.id);
    data.set_keys_bytes(static_cast<uint32_t>(keys.size()));
    data.set_values_bytes(static_cast<uint32_t>(values.size()));
    data.set_count(count);
    keys.insert(keys.end(), values.begin(), values.end());
    return context.images.add(image::ImageKind::BpfmapData, 0, data, keys);
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    const bpf_map_info info = TRY(ask(file.fd));
    TRY(check(file, info));
    img::bpfmap_file_entry *map = entry.mutable_bpf();
    map->set_id(file.id.value);
    map->set_flags(file.flags);
    map->set_pos(0);
    map->set_map_type(info.type);
    map->set_key_size(info.key_size);
    map->set_value_size(info.value_size);
    map->set_map_id(info.id);
    map->set_max_entries(info.max_entries);
    map->set_map_flags(info.map_flags);
    map->set_memlock(field(file.fdinfo, "memlock"));
    map->set_frozen(field(file.fdinfo, "frozen") != 0);
    map->set_map_name(std::string(info.name, strnlen(info.name, sizeof info.name)));
    map->set_ifindex(info.ifindex);
    map->set_map_extra(info.map_extra);
    TRY(dump_owner(context, file, map->mutable_fown()));
    const bool is_new = context.states.of<DumpedMaps>().ids.insert(info.id).second;
    return is_new ? dump_data(context, file.fd, info) : Result<void>{};
}

// ---- restore -------------------------------------------------------------------------------------------------------

struct FreshMaps {
    std::map<uint32_t, uint32_t> ids; ///< of the image -> of the kernel
};

Result<base::UniqueFd> create(const img::bpfmap_file_entry &map) {
    if (map.map_type() != BPF_MAP_TYPE_HASH && map.map_type() != BPF_MAP_TYPE_ARRAY)
        return base::unsupported(fmt::format("a BPF map of type {} is not supported", map.map_type()));
    bpf_attr attributes{};
    attributes.map_type = map.map_type();
    attributes.key_size = map.key_size();
    attributes.value_size = map.value_size();
    attributes.max_entries = map.max_entries();
    attributes.map_flags = map.map_flags();
    attributes.map_extra = map.map_extra();
    map.map_name().copy(attributes.map_name, sizeof attributes.map_name - 1);
    base::UniqueFd fd(bpf(BPF_MAP_CREATE, attributes));
    if (!fd)
        return base::fail_sys("create a BPF map");
    return fd;
}

Result<void> fill(FileOpenContext &context, int fd, const img::bpfmap_file_entry &map) {
    for (auto &data : TRY(context.images.read_with_payload<img::bpfmap_data_entry>(image::ImageKind::BpfmapData))) {
        if (data.message.map_id() != map.map_id())
            continue;
        const uint64_t count = data.message.count();
        if (count > map.max_entries() || data.message.keys_bytes() != count * map.key_size() ||
            data.message.values_bytes() != count * map.value_size() ||
            data.payload.size() != count * map.key_size() + count * map.value_size())
            return base::bad_image(fmt::format("bpfmap-data.img: the sizes of map {} do not fit", map.map_id()));
        const std::byte *keys = data.payload.data(), *values = keys + data.message.keys_bytes();
        for (uint64_t i = 0; i < count; i++)
            if (access_map(BPF_MAP_UPDATE_ELEM, fd, keys + i * map.key_size(), values + i * map.value_size()) < 0)
                return base::fail_sys("fill a BPF map");
    }
    return {};
}

Result<void> freeze(int fd) {
    bpf_attr attributes{};
    attributes.map_fd = static_cast<uint32_t>(fd);
    if (bpf(BPF_MAP_FREEZE, attributes) < 0)
        return base::fail_sys("freeze a BPF map");
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &entry) {
    const img::bpfmap_file_entry &map = entry.bpf();
    auto &ids = context.states.of<FreshMaps>().ids;
    if (auto known = ids.find(map.map_id()); known != ids.end()) { // another description of it
        bpf_attr attributes{};
        attributes.map_id = known->second;
        base::UniqueFd fd(bpf(BPF_MAP_GET_FD_BY_ID, attributes));
        if (!fd)
            return base::fail_sys("open a BPF map once more");
        return fd;
    }
    base::UniqueFd fd = TRY(create(map));
    TRY(fill(context, fd.get(), map));
    if (map.frozen())
        TRY(freeze(fd.get()));
    ids.emplace(map.map_id(), TRY(ask(fd.get())).id);
    return fd;
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.bpf().fown(), entry.bpf().flags());
}

} // namespace

extern const FileKind kKind{
    .name = "BPF map",
    .type = img::BPFMAP,
    .about = {.saved = "hash tables and arrays: sizes, flags, name, entries, whether it is frozen",
              .restored = "as a map of another id; programs and pins outside keep the old one",
              .limits = "other types of maps, maps with BTF, open for reading only: refused"},
    .matches = matches,
    .dump = dump,
    .open = open_file,
    .settle = settle};

} // namespace resource::bpf_map
