// Setters of the option table: text to value, refusing what is not accepted with an error that says what is.
#pragma once

#include "criu/cli/option_table.hh"

#include <charconv>

namespace cli::values {

std::unexpected<base::Error> bad_value(const Given &given, std::string_view accepted);

template <auto Member> Result<void> flag(Options &options, const Given &given) {
    options.*Member = given.on;
    return {};
}

/// Text that must not be empty.
template <auto Member> Result<void> text(Options &options, const Given &given) {
    if (!given.value || given.value->empty())
        return bad_value(given, "a name that is not empty");
    options.*Member = std::string(*given.value);
    return {};
}

/// Repeatable text.
template <auto Member> Result<void> texts(Options &options, const Given &given) {
    if (!given.value || given.value->empty())
        return bad_value(given, "a name that is not empty");
    (options.*Member).emplace_back(*given.value);
    return {};
}

Result<int64_t> number(const Given &given, int64_t low, int64_t high);

/// A number from Low to High; the member may be optional.
template <auto Member, int64_t Low, int64_t High> Result<void> number_in(Options &options, const Given &given) {
    int64_t value = TRY(number(given, Low, High));
    options.*Member = static_cast<int>(value);
    return {};
}

/// For options handled before the table is applied (--help, --config).
Result<void> nothing(Options &, const Given &);

Result<void> verbosity(Options &, const Given &);
Result<void> skip_fd(Options &, const Given &);
Result<void> allow_loss(Options &, const Given &);
Result<void> timeout(Options &, const Given &);
Result<void> ghost_limit(Options &, const Given &);
Result<void> cpu_cap(Options &, const Given &);
Result<void> file_validation(Options &, const Given &);
Result<void> network_lock(Options &, const Given &);
Result<void> image_layout(Options &, const Given &);
Result<void> pre_dump_mode(Options &, const Given &);
Result<void> track_method(Options &, const Given &);
Result<void> progress(Options &, const Given &);
Result<void> snapshot(Options &, const Given &);
Result<void> snapshot_memory(Options &, const Given &);
Result<void> destination(Options &, const Given &);
Result<void> compress(Options &, const Given &);
Result<void> compress_block(Options &, const Given &);
Result<void> compress_acceleration(Options &, const Given &);
Result<void> manage_cgroups(Options &, const Given &);
Result<void> ext_unix_sk(Options &, const Given &);
Result<void> inherit_fd(Options &, const Given &);
Result<void> cgroup_root(Options &options, const Given &given);
Result<void> cgroup_controller(Options &options, const Given &given);
Result<void> cgroup_props(Options &options, const Given &given);
Result<void> cgroup_props_file(Options &options, const Given &given);
Result<void> enable_fs(Options &options, const Given &given);
Result<void> empty_ns(Options &options, const Given &given);
Result<void> join_ns(Options &options, const Given &given);
Result<void> veth_pair(Options &options, const Given &given);
Result<void> ext_mount_map(Options &options, const Given &given);
Result<void> external(Options &, const Given &);
Result<void> all_checks(Options &, const Given &);

} // namespace cli::values
