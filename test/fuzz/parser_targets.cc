#include "targets.hh"

#include "criu/cli/config.hh"
#include "criu/cli/parse_args.hh"
#include "criu/parse/btf.hh"
#include "criu/parse/cgroup.hh"
#include "criu/parse/cgroup_properties.hh"
#include "criu/parse/elf.hh"
#include "criu/parse/fdinfo.hh"
#include "criu/parse/igmp.hh"
#include "criu/parse/limits.hh"
#include "criu/parse/locks.hh"
#include "criu/parse/maps.hh"
#include "criu/parse/mountinfo.hh"
#include "criu/parse/one_line_files.hh"
#include "criu/parse/raw_sockets.hh"
#include "criu/parse/stat.hh"
#include "criu/parse/status.hh"
#include "criu/parse/timers.hh"
#include "criu/service/option_fields.hh"
#include "criu/service/request_text.hh"

#include <array>

namespace fuzz {

namespace {

template <auto Parse> void parse_with(std::string_view bytes) {
    (void)Parse(bytes);
}

void elf(std::string_view bytes) {
    (void)parse::parse_elf_image(bytes);
    (void)parse::parse_build_id(bytes);
    (void)parse::parse_load_segments(bytes);
}

void btf(std::string_view bytes) {
    if (auto types = parse::Btf::parse(bytes)) {
        (void)types->member("outer", "inner.value");
        (void)types->member("outer", "unnamed");
        (void)types->size_of("outer");
        (void)types->add_module(bytes);
        (void)types->member("outer", "inner.value");
    }
}

void small(std::string_view bytes) {
    (void)parse::parse_timens_offsets(bytes);
    (void)parse::parse_autogroup(bytes);
    (void)parse::parse_syscall(bytes);
    (void)parse::parse_auxv(bytes);
    (void)parse::parse_number(bytes);
    (void)parse::parse_hex_number(bytes);
    (void)parse::parse_pid_list(bytes);
    (void)parse::parse_igmp(bytes);
    (void)parse::parse_igmp6(bytes);
    (void)parse::parse_raw_sockets(bytes);
}

/// One argument per line: the grammar, then every setter.
void arguments(std::string_view bytes) {
    std::vector<std::string> args;
    while (!bytes.empty()) {
        size_t end = bytes.find('\n');
        args.emplace_back(bytes.substr(0, end));
        bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
    }
    auto parsed = cli::parse_args(args);
    if (!parsed)
        return;
    cli::Options options;
    for (const cli::Occurrence &occurrence : parsed->options) {
        (void)cli::apply(options, occurrence);
        if (occurrence.row->set) // options that are refused may have their setter already
            (void)occurrence.row->set(options, {occurrence.spelling, occurrence.value, occurrence.on});
    }
}

void config(std::string_view bytes) {
    (void)cli::parse_config("fuzz", bytes);
}

/// What a client of the service has sent, up to where the request is carried out.
void rpc_request(std::string_view bytes) {
    auto request = service::parse_request(bytes);
    if (!request)
        return;
    cli::Options options;
    if (auto applied = service::apply_fields(request->opts(), options); !applied)
        (void)service::to_message(applied.error());
}

constexpr std::array kTargets{
    Target{"arguments", arguments},
    Target{"btf", btf},
    Target{"cgroup", parse_with<parse::parse_cgroup>},
    Target{"cgroup_properties", parse_with<parse::parse_cgroup_properties>},
    Target{"config", config},
    Target{"elf", elf},
    Target{"fdinfo", parse_with<parse::parse_fdinfo>},
    Target{"limits", parse_with<parse::parse_limits>},
    Target{"locks", parse_with<parse::parse_locks>},
    Target{"maps", parse_with<parse::parse_maps>},
    Target{"mountinfo", parse_with<parse::parse_mountinfo>},
    Target{"rpc_request", rpc_request},
    Target{"small", small},
    Target{"smaps", parse_with<parse::parse_smaps>},
    Target{"stat", parse_with<parse::parse_stat>},
    Target{"status", parse_with<parse::parse_status>},
    Target{"timers", parse_with<parse::parse_timers>},
};

} // namespace

std::span<const Target> parser_targets() {
    return kTargets;
}

} // namespace fuzz
