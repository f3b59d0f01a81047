#include "criu/cli/requests.hh"

#include "criu/image/layout.hh"
#include "criu/kernel/namespaces.hh"

#include <cstdlib>

namespace cli {
namespace {

resource::FileOptions file_options(const Options &options) {
    return {.link_remap = options.link_remap,
            .shell_job = options.shell_job,
            .orphan_terminals = options.orphan_terminals,
            .file_locks = options.file_locks,
            .evasive_devices = options.evasive_devices,
            .ghost_fiemap = options.ghost_fiemap,
            .ghost_limit = options.ghost_limit,
            .check_build_id = options.file_validation == FileValidation::BuildId,
            .skip_mode_check = options.skip_file_rwx_check,
            .tree_survives = options.leave_running || options.leave_stopped,
            .ext_unix_sk = options.ext_unix_sk,
            .ext_unix_inodes = options.ext_unix_inodes,
            .externals = options.external,
            .inherit_fds = options.inherit_fds,
            .allowed_losses = options.allowed_losses,
            .tcp_established = options.tcp_established,
            .tcp_close = options.tcp_close,
            .skip_in_flight = options.skip_in_flight,
            .force_irmap = options.force_irmap,
            .watch_places = options.irmap_scan_paths,
            .lock_network = options.network_lock != NetworkLock::Skip,
            .network_table = {}};
}

kernel::Plugins::Settings plugin_settings(const Options &options, kernel::Plugins::Stage stage) {
    return {.directory = options.plugin_dir.empty() ? "/usr/lib/criu" : options.plugin_dir,
            .required = !options.plugin_dir.empty(),
            .stage = stage,
            .images_dir_fd = options.images_dir_fd,
            .needed = {}};
}

resource::NamespaceOptions namespace_options(const Options &options) {
    resource::NamespaceOptions out;
    out.mounts.root = options.root;
    out.empty_net = options.empty_net;
    using Way = resource::GivenLink::Way;
    for (const auto &[kind, inside, outside] : options.links)
        out.links.push_back({kind == "veth" ? Way::Pair : kind == "netdev" ? Way::Move : Way::Above, inside, outside});
    for (const auto &[kind, place, ids] : options.join_ns)
        for (tree::NamespaceKind each : tree::kAllNamespaceKinds)
            if (kind == kernel::name_of(each))
                out.joined.push_back({each, place, ids});
    // One spelling for both directions: a mount point and its key, or a key and its path.
    for (const auto &[from, to] : options.mount_map)
        out.mounts.keys[from] = out.mounts.paths[from] = to;
    for (const auto &[from, to] : options.device_map)
        out.mounts.devices[from] = to;
    out.mounts.automatic = options.auto_mounts;
    out.mounts.masters = options.external_masters;
    out.mounts.sharing = options.external_sharing;
    out.mounts.skipped = options.skip_mounts;
    out.mounts.enabled.insert(options.enable_fs.begin(), options.enable_fs.end());
    return out;
}

resource::cgroup::Options cgroup_options(const Options &options) {
    // The groups of others are not for an unprivileged caller to make or join.
    return {.mode = options.unprivileged ? resource::cgroup::Mode::Ignore : options.manage_cgroups,
            .roots = options.cgroup_roots,
            .controllers = options.cgroup_controllers,
            .yard = options.cgroup_yard,
            .properties = options.cgroup_props};
}

pages::Link link_of(const Options &options) {
    return {.endpoint = {.address = options.address,
                         .port = static_cast<uint16_t>(options.port),
                         .socket = options.ps_socket.value_or(-1)},
            .tls = {.on = options.tls,
                    .authorities = options.tls_cacert,
                    .revoked = options.tls_cacrl,
                    .certificate = options.tls_cert,
                    .key = options.tls_key,
                    .checks_name = !options.tls_no_cn_verify}};
}

engine::Increment increment(const Options &options) {
    return {.previous = options.prev_images_dir,
            .track_memory = options.track_mem,
            .method = options.track_method,
            .track_shared = getenv("CRIU_TRACK_SHMEM") != nullptr,
            .pidfd_store = options.pidfd_store,
            .dedup = options.auto_dedup};
}

} // namespace

engine::PreDumpRequest pre_dump_request(const Options &options) {
    return {.dump = dump_request(options), .mode = options.pre_dump_mode};
}

engine::DumpRequest dump_request(const Options &options) {
    return {.root = base::Pid(options.tree),
            .images_dir_fd = options.images_dir_fd,
            .work_dir_fd = AT_FDCWD,
            .timeout_seconds = options.timeout_seconds,
            .leave_stopped = options.leave_stopped,
            .leave_running = options.leave_running,
            .verify = options.verify,
            .increment = increment(options),
            .freezer = options.freeze_cgroup,
            .cgroups = cgroup_options(options),
            .skip_fds = options.skip_fds,
            .layout = options.image_layout == ImageLayout::Split ? image::Layout::Split : image::Layout::Current,
            .files = file_options(options),
            .namespaces = namespace_options(options),
            .plugins = plugin_settings(options, kernel::Plugins::Stage::Dump),
            .note_processor = options.cpu_cap_given && options.cpu_cap != 0,
            .allow_uprobes = options.allow_uprobes,
            .page_server = options.page_server && !options.lazy_pages ? std::optional(link_of(options)) : std::nullopt,
            .lazy = options.lazy_pages ? std::optional(link_of(options)) : std::nullopt,
            .status_fd = options.status_fd,
            .compression = options.compression,
            .snapshot = options.snapshot,
            .snapshot_memory = options.snapshot_memory,
            .durable = options.sync};
}

resource::ProcessorCare processor_care(const Options &options) {
    return {.model = (options.cpu_cap & kCpuCapCpu) != 0,
            .state = (options.cpu_cap & kCpuCapFpu) != 0,
            .instructions = (options.cpu_cap & kCpuCapIns) != 0,
            .asked = options.cpu_cap_given};
}

engine::RestoreRequest restore_request(const Options &options) {
    return {.images_dir_fd = options.images_dir_fd,
            .work_dir_fd = AT_FDCWD,
            .leave_stopped = options.leave_stopped,
            .detached = options.restore_detached,
            .sibling = options.restore_sibling,
            .become_parent = options.exec_cmd,
            .cgroups = cgroup_options(options),
            .allow_uprobes = options.allow_uprobes,
            .lower_limits = options.lower_limits,
            .lazy_pages = options.lazy_pages || options.instant,
            .drop_pages = options.auto_dedup,
            .unpackers = static_cast<unsigned>(options.unpackers),
            .print_plan = options.print_plan,
            .processor = processor_care(options),
            .pidfile = options.pidfile,
            .process_logs = options.log_pid && options.log_file != "-" ? options.log_file : std::string(),
            .files = file_options(options),
            .namespaces = namespace_options(options),
            .plugins = plugin_settings(options, kernel::Plugins::Stage::Restore)};
}

engine::LazyPagesRequest lazy_pages_request(const Options &options) {
    return {.images_dir_fd = options.images_dir_fd,
            .page_server = options.page_server ? std::optional(link_of(options)) : std::nullopt,
            .daemon = options.daemon,
            .pidfile = options.pidfile,
            .status_fd = options.status_fd};
}

engine::PageServerRequest page_server_request(const Options &options) {
    return {.images_dir_fd = options.images_dir_fd,
            .link = link_of(options),
            .daemon = options.daemon,
            .pidfile = options.pidfile,
            .status_fd = options.status_fd,
            .lazy = options.lazy_pages,
            .previous = options.prev_images_dir,
            .durable = options.sync};
}

engine::MigrateRequest migrate_request(const Options &options) {
    return {.dump = dump_request(options),
            .to = link_of(options),
            .most_stall_ms = static_cast<uint64_t>(options.max_stall_ms)};
}

engine::ReceiveRequest receive_request(const Options &options) {
    engine::RestoreRequest restore = restore_request(options);
    restore.detached = true;
    return {.restore = std::move(restore),
            .images_dir_fd = options.images_dir_fd,
            .link = link_of(options),
            .status_fd = options.status_fd};
}

engine::MergeRequest merge_request(const Options &options) {
    return {.images_dir_fd = options.images_dir_fd, .into = options.into, .compression = options.compression};
}

engine::CheckRequest check_request(const Options &options) {
    return {.features = options.features,
            .extra = options.check_extra,
            .experimental = options.check_experimental,
            .unprivileged = options.unprivileged};
}

} // namespace cli
