// Settings of a network namespace: sysctls, in the image as lists whose places have fixed meanings (CRIU's).
#include "criu/kernel/io.hh"
#include "criu/resource/namespace/net/net.hh"
#include "criu/resource/namespace/net/nexthops.hh"
#include "criu/resource/namespace/net/peers.hh"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>

namespace resource::net {
namespace {

using Values = google::protobuf::RepeatedPtrField<img::sysctl_entry>;

constexpr const char *kConf4[] = {"accept_local",
                                  "accept_redirects",
                                  "accept_source_route",
                                  "arp_accept",
                                  "arp_announce",
                                  "arp_filter",
                                  "arp_ignore",
                                  "arp_notify",
                                  "bootp_relay",
                                  "disable_policy",
                                  "disable_xfrm",
                                  "force_igmp_version",
                                  "forwarding",
                                  "igmpv2_unsolicited_report_interval",
                                  "igmpv3_unsolicited_report_interval",
                                  "log_martians",
                                  "medium_id",
                                  "promote_secondaries",
                                  "proxy_arp",
                                  "proxy_arp_pvlan",
                                  "route_localnet",
                                  "rp_filter",
                                  "secure_redirects",
                                  "send_redirects",
                                  "shared_media",
                                  "src_valid_mark",
                                  "tag",
                                  "ignore_routes_with_linkdown",
                                  "drop_gratuitous_arp",
                                  "drop_unicast_in_l2_multicast"};
constexpr const char *kConf6[] = {"accept_dad",
                                  "accept_ra",
                                  "accept_ra_defrtr",
                                  "accept_ra_from_local",
                                  "accept_ra_min_hop_limit",
                                  "accept_ra_mtu",
                                  "accept_ra_pinfo",
                                  "accept_ra_rt_info_max_plen",
                                  "accept_ra_rtr_pref",
                                  "accept_redirects",
                                  "accept_source_route",
                                  "autoconf",
                                  "dad_transmits",
                                  "disable_ipv6",
                                  "drop_unicast_in_l2_multicast",
                                  "drop_unsolicited_na",
                                  "force_mld_version",
                                  "force_tllao",
                                  "forwarding",
                                  "hop_limit",
                                  "ignore_routes_with_linkdown",
                                  "keep_addr_on_down",
                                  "max_addresses",
                                  "max_desync_factor",
                                  "mldv1_unsolicited_report_interval",
                                  "mldv2_unsolicited_report_interval",
                                  "mtu",
                                  "ndisc_notify",
                                  "optimistic_dad",
                                  "proxy_ndp",
                                  "regen_max_retry",
                                  "router_probe_interval",
                                  "router_solicitation_delay",
                                  "router_solicitation_interval",
                                  "router_solicitations",
                                  "stable_secret",
                                  "suppress_frag_ndisc",
                                  "temp_prefered_lft",
                                  "temp_valid_lft",
                                  "use_oif_addrs_only",
                                  "use_optimistic",
                                  "use_tempaddr"};
constexpr const char *kUnix[] = {"max_dgram_qlen"};
constexpr const char *kIpv4[] = {"ping_group_range"};
constexpr std::string_view kText[] = {"stable_secret", "ping_group_range"};

std::string path_of(const std::string &directory, const char *name) {
    return fmt::format("/proc/sys/net/{}/{}", directory, name);
}

std::optional<std::string> read(const std::string &path) {
    auto text = kernel::read_file(AT_FDCWD, path.c_str());
    if (!text)
        return std::nullopt; // not in this kernel, or without a value (EIO)
    while (!text->empty() && text->back() == '\n')
        text->pop_back();
    return *text;
}

/// An entry for each name; one without a value where the kernel has none.
void read_all(const std::string &directory, std::span<const char *const> names, Values *values) {
    for (const char *name : names) {
        img::sysctl_entry *entry = values->Add();
        const bool is_text = std::ranges::find(kText, name) != std::end(kText);
        entry->set_type(is_text ? img::CTL_STR : img::CTL_32);
        const auto text = read(path_of(directory, name));
        int32_t number = 0;
        if (text && is_text)
            entry->set_sarg(*text);
        else if (text && std::from_chars(text->data(), text->data() + text->size(), number).ec == std::errc())
            entry->set_iarg(number);
    }
}

Result<void> write_one(const std::string &path, const img::sysctl_entry &entry, base::Log &log) {
    if (!entry.has_iarg() && !entry.has_sarg())
        return {};
    const std::string wanted = entry.has_sarg() ? entry.sarg() : std::to_string(entry.iarg());
    const auto now = read(path);
    if (now && *now == wanted)
        return {};
    if (auto written = kernel::write_file(AT_FDCWD, path.c_str(), wanted); !written)
        log.warn(fmt::format("network: {}: {} could not be set: {}", path, wanted, written.error().message()));
    return {};
}

/// Forwarding changes what accept_redirects is: that comes last.
Result<void> write_all(const std::string &directory, std::span<const char *const> names, const Values &values,
                       base::Log &log) {
    constexpr std::string_view kLast = "accept_redirects";
    const auto count = std::min(names.size(), static_cast<size_t>(values.size()));
    for (bool last : {false, true})
        for (size_t i = 0; i < count; i++)
            if ((names[i] == kLast) == last)
                TRY(write_one(path_of(directory, names[i]), values.Get(static_cast<int>(i)), log));
    return {};
}

} // namespace

namespace {

/// Groups that may open ping sockets. None (the default, from 1 to 0) is told as nothing.
void translate_group_range(img::sysctl_entry &entry, const base::IdMap &groups) {
    unsigned first = 1, last = 0;
    if (groups.is_identity() || std::sscanf(entry.sarg().c_str(), "%u %u", &first, &last) != 2)
        return;
    if (first > last)
        entry.clear_sarg();
    else
        entry.set_sarg(fmt::format("{}\t{}", groups.inside(first), groups.inside(last)));
}

} // namespace

Result<void> dump_settings(NamespaceDumpContext &context, uint32_t id) {
    img::netns_entry entry;
    read_all("ipv4/conf/default", kConf4, entry.mutable_def_conf4());
    read_all("ipv4/conf/all", kConf4, entry.mutable_all_conf4());
    read_all("ipv6/conf/default", kConf6, entry.mutable_def_conf6());
    read_all("ipv6/conf/all", kConf6, entry.mutable_all_conf6());
    read_all("unix", kUnix, entry.mutable_unix_conf());
    read_all("ipv4", kIpv4, entry.mutable_ipv4_sysctl());
    translate_group_range(*entry.mutable_ipv4_sysctl(0), context.images.owners().groups);
    TRY(describe_nexthops(entry));
    for (auto [number, other] : TRY(known_namespaces(context.namespaces))) {
        img::netns_id *known = entry.add_nsids();
        known->set_target_ns_id(other);
        known->set_netnsid_value(number);
    }
    return context.images.add(image::ImageKind::Netns, id, entry);
}

Result<void> fill_settings(NamespaceFillContext &context) {
    const auto entry = TRY(context.images.read_one<img::netns_entry>(image::ImageKind::Netns, context.id));
    if (!entry)
        return {};
    if (!entry->ext_key().empty())
        return base::unsupported(
            fmt::format("it was given by the caller ({}), which is not restored yet", entry->ext_key()));
    TRY(number_namespaces(context, *entry));
    TRY(write_all("ipv4/conf/all", kConf4, entry->all_conf4(), context.log));
    TRY(write_all("ipv6/conf/all", kConf6, entry->all_conf6(), context.log));
    TRY(write_all("ipv4/conf/default", kConf4, entry->def_conf4(), context.log));
    TRY(write_all("ipv6/conf/default", kConf6, entry->def_conf6(), context.log));
    TRY(write_all("unix", kUnix, entry->unix_conf(), context.log));
    return write_all("ipv4", kIpv4, entry->ipv4_sysctl(), context.log);
}

Result<void> read_link_settings(const std::string &name, img::net_device_entry &device) {
    read_all("ipv4/conf/" + name, kConf4, device.mutable_conf4());
    read_all("ipv6/conf/" + name, kConf6, device.mutable_conf6());
    return {};
}

Result<void> write_link_settings(const img::net_device_entry &device, base::Log &log) {
    if (device.name().find('/') != std::string::npos || device.name().starts_with('.'))
        return base::bad_image(fmt::format("link {}: an impossible name", device.name()));
    TRY(write_all("ipv4/conf/" + device.name(), kConf4, device.conf4(), log));
    return write_all("ipv6/conf/" + device.name(), kConf6, device.conf6(), log);
}

} // namespace resource::net
