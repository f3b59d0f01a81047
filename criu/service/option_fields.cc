#include "criu/service/option_fields.hh"

#include "criu/cli/config.hh"
#include "criu/cli/parse_args.hh"
#include "criu/kernel/io.hh"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>

namespace service {
namespace {

using Opts = img::criu_opts;
using Texts = std::vector<std::string>;

std::unexpected<base::Error> bad(std::string text) {
    return base::fail(base::ErrorKind::Usage, std::move(text));
}

Result<Texts> ext_mnt(const Opts &opts) {
    Texts out;
    for (const img::ext_mount_map &map : opts.ext_mnt())
        out.push_back(fmt::format("{}:{}", map.key(), map.val()));
    return out;
}

Result<Texts> veths(const Opts &opts) {
    Texts out;
    for (const img::criu_veth_pair &pair : opts.veths())
        out.push_back(fmt::format("{}={}", pair.if_in(), pair.if_out()));
    return out;
}

Result<Texts> cg_root(const Opts &opts) {
    Texts out;
    for (const img::cgroup_root &root : opts.cg_root())
        out.push_back(root.has_ctrl() ? fmt::format("{}:{}", root.ctrl(), root.path()) : root.path());
    return out;
}

Result<Texts> inherit_fd(const Opts &opts) {
    Texts out;
    for (const img::inherit_fd &given : opts.inherit_fd())
        out.push_back(fmt::format("fd[{}]:{}", given.fd(), given.key()));
    return out;
}

Result<Texts> join_ns(const Opts &opts) {
    Texts out;
    for (const img::join_namespace &join : opts.join_ns())
        out.push_back(
            fmt::format("{}:{}{}{}", join.ns(), join.ns_file(), join.has_extra_opt() ? "," : "", join.extra_opt()));
    return out;
}

Result<Texts> unix_sk_ino(const Opts &opts) {
    Texts out;
    for (const img::unix_sk &socket : opts.unix_sk_ino())
        out.push_back(std::to_string(socket.inode()));
    return out;
}

Result<Texts> empty_ns(const Opts &opts) {
    if (opts.empty_ns() & ~static_cast<uint32_t>(CLONE_NEWNET))
        return bad(
            fmt::format("{:#x}: only the network namespace ({:#x}) can be left empty", opts.empty_ns(), CLONE_NEWNET));
    return opts.empty_ns() ? Texts{"net"} : Texts{};
}

Result<Texts> cpu_cap(const Opts &opts) {
    constexpr std::array<std::pair<uint32_t, std::string_view>, 3> kBits{
        {{cli::kCpuCapCpu, "cpu"}, {cli::kCpuCapFpu, "fpu"}, {cli::kCpuCapIns, "ins"}}};
    std::string words = "none";
    for (auto [bit, word] : kBits)
        if (opts.cpu_cap() & bit)
            words += fmt::format(",{}", word);
    return Texts{words};
}

Result<Texts> manage_cgroups(const Opts &opts) {
    if (opts.has_manage_cgroups_mode()) // says more
        return Texts{};
    return Texts{opts.manage_cgroups() ? "soft" : "ignore"};
}

Result<Texts> manage_cgroups_mode(const Opts &opts) {
    switch (opts.manage_cgroups_mode()) {
    case img::IGNORE:
        return Texts{"ignore"};
    case img::CG_NONE:
        return Texts{"none"};
    case img::PROPS:
        return Texts{"props"};
    case img::SOFT:
    case img::DEFAULT:
        return Texts{"soft"};
    case img::FULL:
        return Texts{"full"};
    case img::STRICT:
        return Texts{"strict"};
    }
    return bad("an unknown mode");
}

Result<Texts> network_lock(const Opts &opts) {
    switch (opts.network_lock()) {
    case img::IPTABLES:
        return Texts{"iptables"};
    case img::NFTABLES:
        return Texts{"nftables"};
    case img::SKIP:
        return Texts{"skip"};
    }
    return bad("an unknown method");
}

Result<Texts> pre_dump_mode(const Opts &opts) {
    return Texts{opts.pre_dump_mode() == img::VM_READ ? "read" : "splice"};
}

Result<Texts> compress(const Opts &opts) {
    constexpr uint32_t kMost = 2;
    if (opts.compress() > kMost)
        return bad("an unknown way of compressing");
    return opts.compress() ? Texts{"lz4"} : Texts{};
}

Result<Texts> auto_ext_mnt(const Opts &opts) {
    return opts.auto_ext_mnt() ? Texts{"auto"} : Texts{};
}

// clang-format off
constexpr std::array kFields{
    Field{"images_dir_fd", {}, Way::Session}, Field{"images_dir", {}, Way::Session},
    Field{"work_dir_fd", {}, Way::Session}, Field{"config_file", {}, Way::Session},
    Field{"log_level", {}, Way::Session}, Field{"log_file", {}, Way::Session},
    Field{"log_to_stderr", {}, Way::Session}, Field{"pid", {}, Way::Session},
    Field{"notify_scripts", {}, Way::Session}, Field{"exec_cmd", {}, Way::Session},
    Field{"status_fd", {}, Way::Session}, Field{"pidfd_store_sk", {}, Way::Session},
    Field{"orphan_pts_master", {}, Way::Session},
    Field{"leave_running", "leave-running", Way::Flag}, Field{"leave_stopped", "leave-stopped", Way::Flag},
    Field{"shell_job", "shell-job", Way::Flag}, Field{"rst_sibling", "restore-sibling", Way::Flag},
    Field{"timeout", "timeout"}, Field{"freeze_cgroup", "freeze-cgroup"},
    Field{"unprivileged", "unprivileged", Way::Flag}, Field{"display_stats", "display-stats", Way::Flag},
    Field{"ext_unix_sk", "ext-unix-sk", Way::Flag}, Field{"tcp_established", "tcp-established", Way::Flag},
    Field{"tcp_close", "tcp-close", Way::Flag}, Field{"tcp_skip_in_flight", "skip-in-flight", Way::Flag},
    Field{"evasive_devices", "evasive-devices", Way::Flag}, Field{"file_locks", "file-locks", Way::Flag},
    Field{"link_remap", "link-remap", Way::Flag}, Field{"force_irmap", "force-irmap", Way::Flag},
    Field{"irmap_scan_paths", "irmap-scan-path", Way::Values}, Field{"ghost_limit", "ghost-limit"},
    Field{"skip_file_rwx_check", "skip-file-rwx-check", Way::Flag}, Field{"root", "root"},
    Field{"external", "external", Way::Values}, Field{"inherit_fd", "inherit-fd", Way::Special, inherit_fd},
    Field{"unix_sk_ino", "ext-unix-sk", Way::Special, unix_sk_ino},
    Field{"network_lock", "network-lock", Way::Special, network_lock},
    Field{"manage_cgroups", "manage-cgroups", Way::Special, manage_cgroups},
    Field{"manage_cgroups_mode", "manage-cgroups", Way::Special, manage_cgroups_mode},
    Field{"cg_root", "cgroup-root", Way::Special, cg_root}, Field{"cgroup_props", "cgroup-props"},
    Field{"cgroup_props_file", "cgroup-props-file"}, Field{"cgroup_yard", "cgroup-yard"},
    Field{"cgroup_dump_controller", "cgroup-dump-controller", Way::Values},
    Field{"lsm_profile", "lsm-profile"}, Field{"lsm_mount_context", "lsm-mount-context"},
    Field{"cpu_cap", "cpu-cap", Way::Special, cpu_cap},
    Field{"ext_mnt", "ext-mount-map", Way::Special, ext_mnt},
    Field{"auto_ext_mnt", "ext-mount-map", Way::Special, auto_ext_mnt},
    Field{"ext_sharing", "enable-external-sharing", Way::Flag},
    Field{"ext_masters", "enable-external-masters", Way::Flag},
    Field{"skip_mnt", "skip-mnt", Way::Values}, Field{"enable_fs", "enable-fs", Way::Values},
    Field{"empty_ns", "empty-ns", Way::Special, empty_ns}, Field{"join_ns", "join-ns", Way::Special, join_ns},
    Field{"mntns_compat_mode", "mntns-compat-mode", Way::Flag},
    Field{"veths", "veth-pair", Way::Special, veths}, Field{"weak_sysctls", "weak-sysctls", Way::Flag},
    Field{"ps", {}, Way::Session},
    Field{"parent_img", "prev-images-dir"}, Field{"track_mem", "track-mem", Way::Flag},
    Field{"auto_dedup", "auto-dedup", Way::Flag}, Field{"lazy_pages", "lazy-pages", Way::Flag},
    Field{"compress", "compress", Way::Special, compress}, Field{"compress_block_size", "compress-block"},
    Field{"compress_acceleration", "compress-acceleration"}, Field{"decompress_threads", "decompress-threads"},
    Field{"pre_dump_mode", "pre-dump-mode", Way::Special, pre_dump_mode},
    Field{"tls", "tls", Way::Flag}, Field{"tls_cacert", "tls-cacert"}, Field{"tls_cacrl", "tls-cacrl"},
    Field{"tls_cert", "tls-cert"}, Field{"tls_key", "tls-key"},
    Field{"tls_no_cn_verify", "tls-no-cn-verify", Way::Flag},
};
// clang-format on

using google::protobuf::FieldDescriptor;

bool is_set(const Opts &opts, const FieldDescriptor &field) {
    return field.is_repeated() ? opts.GetReflection()->FieldSize(opts, &field) > 0
                               : opts.GetReflection()->HasField(opts, &field);
}

std::string value_of(const Opts &opts, const FieldDescriptor &field) {
    const auto *reflection = opts.GetReflection();
    switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
        return reflection->GetString(opts, &field);
    case FieldDescriptor::CPPTYPE_UINT32:
        return std::to_string(reflection->GetUInt32(opts, &field));
    default:
        return std::to_string(reflection->GetInt32(opts, &field));
    }
}

Texts texts_of(const Opts &opts, const FieldDescriptor &field) {
    Texts out;
    for (int i = 0; i < opts.GetReflection()->FieldSize(opts, &field); i++)
        out.push_back(opts.GetReflection()->GetRepeatedString(opts, &field, i));
    return out;
}

Result<void> apply_one(const Field &row, const Opts &from, const FieldDescriptor &field, cli::Options &to) {
    const cli::NameMatch match = TRY(cli::match_name(row.option));
    cli::Occurrence given{match.row, true, {}, std::string(row.name)};
    if (row.way == Way::Flag) {
        given.on = from.GetReflection()->GetBool(from, &field);
        // "Not" of what is off by itself asks for nothing, also where the option does not exist yet.
        if (!given.on && (!match.row->negatable || match.row->support != cli::Support::Now))
            return {};
        return cli::apply(to, given);
    }
    const Texts values = row.way == Way::Values    ? texts_of(from, field)
                         : row.way == Way::Special ? TRY_CTX(row.values(from), row.name.data())
                                                   : Texts{value_of(from, field)};
    for (const std::string &value : values) {
        given.value = value;
        TRY(cli::apply(to, given));
    }
    return {};
}

} // namespace

std::span<const Field> option_fields() {
    return kFields;
}

Result<void> apply_fields(const img::criu_opts &from, cli::Options &to) {
    for (const Field &row : kFields) {
        const FieldDescriptor *field = img::criu_opts::descriptor()->FindFieldByName(std::string(row.name));
        if (row.way == Way::Session || !field || !is_set(from, *field))
            continue;
        auto applied = apply_one(row, from, *field, to);
        // What the option's own words do not say is which field it was.
        if (!applied && applied.error().message().find(row.name) == std::string::npos)
            applied.error().ctx(std::string(row.name));
        TRY(std::move(applied));
    }
    return {};
}

Result<void> apply_config(const std::string &path, cli::Options &to) {
    auto text = kernel::read_file(AT_FDCWD, path.c_str());
    if (!text && text.error().code() == ENOENT)
        return {};
    TRY_CTX(text, "config_file");
    for (const cli::Occurrence &option : TRY_CTX(cli::parse_config(path, *text), "config_file"))
        TRY(cli::apply(to, option));
    return {};
}

} // namespace service
