#include "criu/cli/option_values.hh"

#include "criu/kernel/io.hh"
#include "criu/parse/cgroup_properties.hh"

#include <algorithm>
#include <array>
#include <climits>
#include <fcntl.h>
#include <fmt/format.h>
#include <utility>

namespace cli::values {

namespace {

/// Splits at commas; an empty text has one empty part.
std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> out;
    for (size_t at = 0;;) {
        size_t comma = text.find(',', at);
        out.push_back(text.substr(at, comma - at));
        if (comma == std::string_view::npos)
            return out;
        at = comma + 1;
    }
}

template <class T> bool to_number(std::string_view text, T &out) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc{} && end == text.data() + text.size();
}

template <class E, size_t N>
Result<E> choose(const Given &given, const std::array<std::pair<std::string_view, E>, N> &choices) {
    std::string accepted;
    for (const auto &[word, value] : choices) {
        if (given.value == word)
            return value;
        accepted += accepted.empty() ? "" : ", ";
        accepted += word;
    }
    return bad_value(given, accepted);
}

} // namespace

std::unexpected<base::Error> bad_value(const Given &given, std::string_view accepted) {
    std::string text = given.value ? fmt::format("{}: '{}' is not valid", given.spelling, *given.value)
                                   : fmt::format("{} needs a value", given.spelling);
    return base::fail(
        std::move(base::Error(base::ErrorKind::Usage, std::move(text)).hint(fmt::format("accepted: {}", accepted))));
}

Result<int64_t> number(const Given &given, int64_t low, int64_t high) {
    int64_t value = 0;
    if (!given.value || !to_number(*given.value, value) || value < low || value > high)
        return bad_value(given, high == INT_MAX ? fmt::format("a number, {} or more", low)
                                                : fmt::format("a number from {} to {}", low, high));
    return value;
}

Result<void> nothing(Options &, const Given &) {
    return {};
}

Result<void> verbosity(Options &options, const Given &given) {
    constexpr int kHighest = 1000;                  // CRIU takes any number; more than 4 shows no more
    constexpr std::string_view kRest = "erbosity="; // drivers of CRIU say -verbosity=0
    if (!given.value) {
        ++options.verbosity;
    } else if (given.value->starts_with(kRest)) {
        return verbosity(options, {given.spelling, given.value->substr(kRest.size()), given.on});
    } else if (!given.value->empty() && given.value->find_first_not_of('v') == std::string_view::npos) {
        // -vvv: the second and third letter arrive as the value of the first.
        options.verbosity += static_cast<int>(given.value->size()) + 1;
    } else {
        options.verbosity = static_cast<int>(TRY(number(given, 0, kHighest)));
    }
    options.verbosity = std::min(options.verbosity, kHighest);
    return {};
}

Result<void> skip_fd(Options &options, const Given &given) {
    options.skip_fds.push_back(static_cast<int>(TRY(number(given, 0, INT_MAX))));
    return {};
}

Result<void> allow_loss(Options &options, const Given &given) {
    std::string accepted = "one or more of";
    for (const resource::LossRow &row : resource::all_losses())
        accepted += fmt::format(" {}", row.name);
    for (std::string_view rest = given.value ? std::string_view(*given.value) : std::string_view();;) {
        const size_t comma = rest.find(',');
        const resource::LossRow *row = resource::find_loss(rest.substr(0, comma));
        if (!row)
            return bad_value(given, accepted);
        options.allowed_losses.allow(row->loss);
        if (comma == std::string_view::npos)
            return {};
        rest.remove_prefix(comma + 1);
    }
}

Result<void> timeout(Options &options, const Given &given) {
    options.timeout_seconds = static_cast<unsigned>(TRY(number(given, 0, INT_MAX)));
    return {};
}

namespace {

/// Bytes, with K, M or G for binary multiples.
std::optional<uint64_t> size_of(std::string_view text) {
    unsigned shift = 0;
    if (!text.empty()) {
        constexpr std::string_view kUnits = "KMG";
        size_t unit = kUnits.find(static_cast<char>(text.back() & ~0x20));
        if (unit != std::string_view::npos) {
            shift = 10 * (static_cast<unsigned>(unit) + 1);
            text.remove_suffix(1);
        }
    }
    uint64_t size = 0;
    if (!to_number(text, size) || size > (UINT64_MAX >> shift))
        return std::nullopt;
    return size << shift;
}

} // namespace

Result<void> ghost_limit(Options &options, const Given &given) {
    const auto size = size_of(given.value.value_or(""));
    if (!size)
        return bad_value(given, "a size in bytes, with K, M or G for binary multiples");
    options.ghost_limit = *size;
    return {};
}

Result<void> progress(Options &options, const Given &given) {
    options.progress = given.on;
    return {};
}

Result<void> snapshot(Options &options, const Given &given) {
    using engine::SnapshotMethod;
    constexpr std::array<std::pair<std::string_view, SnapshotMethod>, 4> kWords{{{"auto", SnapshotMethod::Auto},
                                                                                 {"fork", SnapshotMethod::Fork},
                                                                                 {"precopy", SnapshotMethod::Precopy},
                                                                                 {"off", SnapshotMethod::Off}}};
    options.snapshot = TRY(choose(given, kWords));
    return {};
}

Result<void> snapshot_memory(Options &options, const Given &given) {
    options.snapshot_memory = size_of(given.value.value_or(""));
    return options.snapshot_memory ? Result<void>()
                                   : bad_value(given, "a size in bytes, with K, M or G for binary multiples");
}

Result<void> destination(Options &options, const Given &given) {
    std::string_view text = given.value.value_or("");
    const size_t colon = text.rfind(':');
    if (colon == text.npos || colon == 0)
        return bad_value(given, "HOST:PORT, or [IPV6]:PORT");
    std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
    if (host.starts_with('[') && host.ends_with(']'))
        host = host.substr(1, host.size() - 2);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), options.port);
    constexpr int kMost = 65535;
    if (host.empty() || error != std::errc() || end != port.data() + port.size() || options.port < 1 ||
        options.port > kMost)
        return bad_value(given, "HOST:PORT, or [IPV6]:PORT");
    options.address = host;
    options.to_given = true;
    return {};
}

Result<void> compress(Options &options, const Given &given) {
    using pages::Compression;
    constexpr std::string_view kAccepted = "lz4, zstd, zstd:LEVEL (-7 to 19) or auto";
    Compression &how = options.compression;
    how.when = given.on ? Compression::When::Always : Compression::When::Never;
    if (!given.value)
        return {};
    const size_t colon = given.value->find(':');
    const std::string_view name = given.value->substr(0, colon);
    if (name == "auto")
        how.when = Compression::When::IfFaster;
    else if (name == "lz4" || name == "zstd")
        how.codec = name == "lz4" ? image::Codec::Lz4 : image::Codec::Zstd;
    else
        return bad_value(given, kAccepted);
    if (colon == given.value->npos)
        return {};
    constexpr int kLeast = -7, kMost = 19;
    const bool is_level = name == "zstd" && to_number(given.value->substr(colon + 1), how.level) &&
                          how.level >= kLeast && how.level <= kMost && how.level != 0;
    return is_level ? Result<void>() : bad_value(given, kAccepted);
}

Result<void> compress_block(Options &options, const Given &given) {
    const auto size = size_of(given.value.value_or(""));
    if (!size || *size == 0 || *size % base::kPageSize || *size > image::kMostBlockBytes)
        return bad_value(given, "a multiple of the page size, up to 4M");
    options.compression.block_bytes = *size;
    return {};
}

Result<void> compress_acceleration(Options &options, const Given &given) {
    constexpr int64_t kMost = 65537;
    options.compression.acceleration = static_cast<int>(TRY(number(given, 1, kMost)));
    return {};
}

Result<void> cpu_cap(Options &options, const Given &given) {
    constexpr std::array<std::pair<std::string_view, uint32_t>, 4> kWords{
        {{"cpu", kCpuCapCpu}, {"fpu", kCpuCapFpu}, {"ins", kCpuCapIns}, {"all", kCpuCapAll}}};
    options.cpu_cap_given = true;
    if (!given.value) {
        options.cpu_cap = kCpuCapAll;
        return {};
    }
    for (std::string_view word : split(*given.value)) {
        bool invert = word.starts_with('^');
        std::string_view name = word.substr(invert ? 1 : 0);
        if (name == "none" && !invert) {
            options.cpu_cap = 0;
            continue;
        }
        auto it = std::ranges::find(kWords, name, &std::pair<std::string_view, uint32_t>::first);
        if (it == kWords.end())
            return bad_value(given, "cpu, fpu, ins, all, none, separated by commas; ^ in front takes away");
        options.cpu_cap = invert ? options.cpu_cap & ~it->second : options.cpu_cap | it->second;
    }
    return {};
}

Result<void> file_validation(Options &options, const Given &given) {
    constexpr std::array<std::pair<std::string_view, FileValidation>, 2> kWords{
        {{"filesize", FileValidation::FileSize}, {"buildid", FileValidation::BuildId}}};
    options.file_validation = TRY(choose(given, kWords));
    return {};
}

Result<void> network_lock(Options &options, const Given &given) {
    constexpr std::array<std::pair<std::string_view, NetworkLock>, 4> kWords{{{"nftables", NetworkLock::Nftables},
                                                                              {"iptables", NetworkLock::Iptables},
                                                                              {"skip", NetworkLock::Skip},
                                                                              {"none", NetworkLock::Skip}}};
    options.network_lock = TRY(choose(given, kWords));
    return {};
}

Result<void> image_layout(Options &options, const Given &given) {
    constexpr std::array<std::pair<std::string_view, ImageLayout>, 2> kWords{
        {{"current", ImageLayout::Current}, {"split", ImageLayout::Split}}};
    options.image_layout = TRY(choose(given, kWords));
    return {};
}

Result<void> pre_dump_mode(Options &options, const Given &given) {
    constexpr std::array<std::pair<std::string_view, PreDumpMode>, 2> kWords{
        {{"splice", PreDumpMode::Splice}, {"read", PreDumpMode::Read}}};
    options.pre_dump_mode = TRY(choose(given, kWords));
    return {};
}

Result<void> track_method(Options &options, const Given &given) {
    constexpr std::array<std::pair<std::string_view, TrackMethod>, 4> kWords{
        {{"auto", TrackMethod::Auto},
         {"write-protect", TrackMethod::WriteProtection},
         {"soft-dirty", TrackMethod::SoftDirty},
         {"off", TrackMethod::Off}}};
    options.track_method = TRY(choose(given, kWords));
    return {};
}

Result<void> manage_cgroups(Options &options, const Given &given) {
    using resource::cgroup::Mode;
    constexpr std::array<std::pair<std::string_view, Mode>, 6> kWords{{{"none", Mode::None},
                                                                       {"ignore", Mode::Ignore},
                                                                       {"props", Mode::Props},
                                                                       {"soft", Mode::Soft},
                                                                       {"full", Mode::Full},
                                                                       {"strict", Mode::Strict}}};
    options.manage_cgroups = given.value ? TRY(choose(given, kWords)) : Mode::Soft;
    return {};
}

Result<void> cgroup_root(Options &options, const Given &given) {
    const std::string_view text = given.value.value_or("");
    const size_t colon = text.find(':');
    const bool all = colon == text.npos;
    const std::string_view path = all ? text : text.substr(colon + 1);
    if (!path.starts_with('/') || (std::string(path) + "/").find("/../") != std::string::npos)
        return bad_value(given, "[CONTROLLER:]/PATH");
    options.cgroup_roots.push_back({std::string(all ? "" : text.substr(0, colon)), std::string(path), all});
    return {};
}

Result<void> ext_unix_sk(Options &options, const Given &given) {
    options.ext_unix_sk = true;
    if (!given.value)
        return {};
    for (std::string_view word : split(*given.value)) {
        uint64_t inode = 0;
        if (!to_number(word, inode) || inode == 0)
            return bad_value(given, "inode numbers of sockets, separated by commas");
        options.ext_unix_inodes.push_back(inode);
    }
    return {};
}

Result<void> inherit_fd(Options &options, const Given &given) {
    constexpr std::string_view kAccepted = "fd[N]:KEY, for instance fd[3]:pipe:[41290] or fd[4]:tmp/file";
    std::string_view text = given.value.value_or("");
    size_t close = text.find("]:");
    InheritFd entry;
    if (!text.starts_with("fd[") || close == std::string_view::npos ||
        !to_number(text.substr(3, close - 3), entry.fd) || entry.fd < 0 || text.size() == close + 2)
        return bad_value(given, kAccepted);
    entry.key = text.substr(close + 2);
    options.inherit_fds.push_back(std::move(entry));
    return {};
}

namespace {

/// `flags`: what is behind "mnt[]".
Result<void> automatic_mounts(Options &options, const Given &given, std::string_view flags) {
    if (!flags.empty() && (flags.size() < 2 || flags.find_first_not_of("ms", 1) != flags.npos || flags[0] != ':'))
        return bad_value(given, "mnt[], mnt[]:m, mnt[]:s or mnt[]:ms");
    options.auto_mounts = true;
    options.external_masters |= flags.find('m') != flags.npos;
    options.external_sharing |= flags.find('s') != flags.npos;
    return {};
}

Result<void> add_properties(Options &options, const Given &given, std::string_view text) {
    auto parsed = parse::parse_cgroup_properties(text);
    if (!parsed)
        return base::fail(
            base::Error(base::ErrorKind::Usage, fmt::format("{}: {}", given.spelling, parsed.error().message())));
    for (parse::CgroupProperties &each : *parsed)
        options.cgroup_props[each.controller] = {std::move(each.names), each.replaces};
    return {};
}

} // namespace

Result<void> cgroup_props(Options &options, const Given &given) {
    return add_properties(options, given, given.value.value_or(""));
}

Result<void> cgroup_props_file(Options &options, const Given &given) {
    const std::string path(given.value.value_or(""));
    auto text = kernel::read_file(AT_FDCWD, path.c_str());
    if (!text)
        return base::fail(base::Error(base::ErrorKind::Usage,
                                      fmt::format("{} {}: {}", given.spelling, path, text.error().message())));
    return add_properties(options, given, *text);
}

Result<void> cgroup_controller(Options &options, const Given &given) {
    options.cgroup_controllers.emplace_back(given.value.value_or(""));
    return {};
}

Result<void> enable_fs(Options &options, const Given &given) {
    if (!given.value || given.value->empty())
        return bad_value(given, "types of file systems, separated by commas");
    for (std::string_view name : split(*given.value))
        options.enable_fs.emplace_back(name);
    return {};
}

Result<void> external(Options &options, const Given &given) {
    constexpr std::string_view kAccepted = "mnt[MOUNTPOINT]:KEY, unix[INODE], tty[RDEV:DEVICE], file[MOUNT:INODE], "
                                           "net[INODE]:KEY, pid[INODE]:KEY, dev[MAJOR/MINOR]:NAME";
    constexpr std::array<std::string_view, 6> kKinds{"mnt", "unix", "tty", "file", "net", "pid"};
    constexpr std::array<std::string_view, 3> kLinks{"veth", "macvlan", "netdev"};
    std::string_view text = given.value.value_or("");
    size_t open = text.find('['), close = text.find(']');
    if (open == std::string_view::npos && text.find(':') != std::string_view::npos)
        return ext_mount_map(options, given); // LXC spells it so
    if (open == std::string_view::npos || close == std::string_view::npos || close < open)
        return bad_value(given, kAccepted);
    std::string_view kind = text.substr(0, open), rest = text.substr(close + 1);
    if (kind == "mnt" && close == open + 1)
        return automatic_mounts(options, given, rest);
    if (close == open + 1 || (!rest.empty() && !rest.starts_with(':')))
        return bad_value(given, kAccepted);
    if (std::ranges::find(kLinks, kind) != kLinks.end()) {
        if (rest.size() < 2)
            return bad_value(given, "veth[NAME]:OUTSIDE@BRIDGE, netdev[NAME]:DEVICE, macvlan[NAME]:DEVICE");
        options.links.push_back(
            {std::string(kind), std::string(text.substr(open + 1, close - open - 1)), std::string(rest.substr(1))});
        return {};
    }
    if (kind == "dev") {
        if (rest.size() < 2)
            return bad_value(given, "dev[MAJOR/MINOR]:NAME on a dump, dev[NAME]:PATH on a restore");
        options.device_map.emplace_back(text.substr(open + 1, close - open - 1), rest.substr(1));
        return {};
    }
    if (kind == "mnt") {
        if (rest.size() < 2)
            return bad_value(given, "mnt[MOUNTPOINT]:KEY on a dump, mnt[KEY]:PATH on a restore");
        options.mount_map.emplace_back(text.substr(open + 1, close - open - 1), rest.substr(1));
        return {};
    }
    if (std::ranges::find(kKinds, kind) == kKinds.end())
        return bad_value(given, kAccepted);
    if ((kind == "net" || kind == "pid") && rest.size() < 2)
        return bad_value(given, "net[INODE]:KEY, pid[INODE]:KEY");
    options.external.push_back({std::string(kind), std::string(text.substr(open + 1, close - open - 1)),
                                std::string(rest.empty() ? rest : rest.substr(1))});
    return {};
}

Result<void> veth_pair(Options &options, const Given &given) {
    const std::string_view text = given.value.value_or("");
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size())
        return bad_value(given, "IN=OUT or IN=OUT@BRIDGE");
    options.links.push_back({"veth", std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))});
    return {};
}

Result<void> join_ns(Options &options, const Given &given) {
    constexpr std::string_view kAccepted = "KIND:PID or KIND:FILE, KIND one of net, uts, time, ipc, mnt, and "
                                           "user:FILE[,UID,GID]";
    constexpr std::array<std::string_view, 6> kKinds{"net", "uts", "time", "ipc", "mnt", "user"};
    const std::string_view text = given.value.value_or("");
    const size_t colon = text.find(':');
    if (colon == text.npos || colon + 1 == text.size() ||
        std::ranges::find(kKinds, text.substr(0, colon)) == kKinds.end())
        return bad_value(given, kAccepted);
    JoinedNamespace joined{std::string(text.substr(0, colon)), std::string(text.substr(colon + 1)), {}};
    const size_t comma = joined.place.find(',');
    if (comma != std::string::npos) {
        const std::string ids = joined.place.substr(comma + 1);
        const size_t between = ids.find(',');
        std::pair<uint32_t, uint32_t> numbers;
        if (joined.kind != "user" || between == std::string::npos ||
            !to_number(ids.substr(0, between), numbers.first) || !to_number(ids.substr(between + 1), numbers.second))
            return bad_value(given, kAccepted);
        joined.ids = numbers;
        joined.place.resize(comma);
    }
    options.join_ns.push_back(std::move(joined));
    return {};
}

Result<void> empty_ns(Options &options, const Given &given) {
    if (given.value.value_or("") != "net")
        return bad_value(given, "net");
    options.empty_net = true;
    return {};
}

Result<void> ext_mount_map(Options &options, const Given &given) {
    const std::string_view text = given.value.value_or("");
    const size_t colon = text.find(':');
    if (text == "auto")
        return automatic_mounts(options, given, {});
    if (colon == 0 || colon == text.npos)
        return bad_value(given, "MOUNTPOINT:KEY on a dump, KEY:PATH on a restore");
    if (colon + 1 == text.size())
        return {}; // LXC, of a console that there is not
    options.mount_map.emplace_back(text.substr(0, colon), text.substr(colon + 1));
    return {};
}

Result<void> all_checks(Options &options, const Given &) {
    options.check_extra = options.check_experimental = true;
    return {};
}

} // namespace cli::values
