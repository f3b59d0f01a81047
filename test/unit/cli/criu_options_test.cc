// Every option of CRIU 4.2, and whether it works: none may be forgotten, accepted and ignored, or change without a word
// here. What an option does is tested where it does it.
#include "criu/cli/option_table.hh"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace cli;

namespace {

struct Listed {
    std::string_view name;
    Support support = Support::Now;
};

constexpr Listed kOfCriu[] = {
    // generic, files, logs
    {"tree"},
    {"images-dir"},
    {"work-dir"},
    {"log-file"},
    {"verbosity"},
    {"log-pid"},
    {"display-stats"},
    {"pidfile"},
    {"close"},
    {"version"},
    {"help"},
    {"config"},
    {"no-default-config"},
    {"libdir"},
    {"unprivileged"},
    {"deprecated"},
    {"stream"},
    {"status-fd"},
    {"action-script"},
    {"timeout"},
    {"cpu-cap"},
    {"ms", Support::Removed},
    // what becomes of the tree
    {"leave-stopped"},
    {"leave-running"},
    {"restore-detached"},
    {"restore-sibling"},
    {"daemon"},
    {"exec-cmd"},
    {"shell-job"},
    {"freeze-cgroup"},
    {"allow-uprobes"},
    // memory, migration
    {"track-mem"},
    {"prev-images-dir"},
    {"auto-dedup"},
    {"pre-dump-mode"},
    {"page-server"},
    {"address"},
    {"port"},
    {"ps-socket"},
    {"lazy-pages"},
    {"tls"},
    {"tls-cacert"},
    {"tls-cacrl"},
    {"tls-cert"},
    {"tls-key"},
    {"tls-no-cn-verify"},
    // files, mounts, namespaces
    {"external"},
    {"inherit-fd"},
    {"root"},
    {"join-ns"},
    {"empty-ns"},
    {"link-remap"},
    {"ghost-limit"},
    {"ghost-fiemap"},
    {"evasive-devices"},
    {"file-locks"},
    {"force-irmap"},
    {"irmap-scan-path"},
    {"file-validation"},
    {"skip-file-rwx-check"},
    {"skip-mnt"},
    {"enable-fs"},
    {"enable-external-sharing"},
    {"enable-external-masters"},
    {"ext-mount-map"},
    {"mntns-compat-mode"},
    {"ext-unix-sk"},
    {"veth-pair"},
    // network
    {"tcp-established"},
    {"tcp-close"},
    {"skip-in-flight"},
    {"network-lock"},
    {"weak-sysctls"},
    // control groups, security modules
    {"manage-cgroups"},
    {"cgroup-root"},
    {"cgroup-props"},
    {"cgroup-props-file"},
    {"cgroup-dump-controller"},
    {"cgroup-yard"},
    {"lsm-profile", Support::Later},
    {"lsm-mount-context", Support::Later},
    // check
    {"feature"},
    {"extra"},
    {"experimental"},
    {"all"},
};

} // namespace

TEST_CASE("every option of CRIU is there, and does what this list says", "[cli]") {
    for (const Listed &listed : kOfCriu) {
        CAPTURE(listed.name);
        const auto row = std::ranges::find(option_table(), listed.name, &OptionRow::name);
        REQUIRE(row != option_table().end());
        CHECK(row->support == listed.support);
        CHECK_FALSE(row->extension);
    }
}

TEST_CASE("what is no option of CRIU is marked as ours", "[cli]") {
    for (const OptionRow &row : option_table()) {
        CAPTURE(row.name);
        CHECK(row.extension !=
              std::ranges::any_of(kOfCriu, [&](const Listed &listed) { return listed.name == row.name; }));
    }
}
