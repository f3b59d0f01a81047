#include "criu/engine/check/check.hh"

#include "criu/engine/check/probes.hh"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>

namespace check {

namespace {

constexpr std::string_view kGood = "Looks good.";
constexpr std::string_view kBad = "Does not look good.";
constexpr std::string_view kMaybe = "Looks good but some kernel features are missing\n"
                                    "which, depending on your process tree, may cause\n"
                                    "dump or restore failure.";

void say(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fputc('\n', stdout);
}

/// Runs one probe and logs what it misses.
bool present(const Probe &probe, base::Log &log) {
    auto found = probe.run();
    if (!found)
        log.warn(fmt::format("check: {} is missing: {}", probe.name, found.error().message()));
    return found.has_value();
}

int list_features() {
    for (const Probe &probe : feature_probes())
        say(probe.name);
    return 0;
}

int check_feature(std::string_view name, base::Log &log) {
    auto features = feature_probes();
    auto probe = std::ranges::find(features, name, &Probe::name);
    if (probe == features.end()) {
        say(fmt::format("Unknown feature {}; --feature list prints all names", name));
        return 1;
    }
    bool found = present(*probe, log);
    say(fmt::format("{} is {}supported", name, found ? "" : "not "));
    return found ? 0 : 1;
}

bool wanted(Category category, const cli::Options &options) {
    switch (category) {
    case Category::Required:
        return true;
    case Category::Extra:
        return options.check_extra;
    case Category::Experimental:
        return options.check_experimental;
    case Category::ByName:
        return false;
    }
    return false;
}

/// With --unprivileged, what only a privilege is missing for does not count: many trees do without it.
bool only_forbidden(const base::Error &error) {
    return error.code() == EPERM || error.code() == EACCES;
}

bool required_present(const Probe &probe, const cli::Options &options, base::Log &log) {
    auto found = probe.run();
    if (found)
        return true;
    bool tolerable = options.unprivileged && only_forbidden(found.error());
    log.warn(
        fmt::format("check: {} is {}: {}", probe.name, tolerable ? "not allowed" : "missing", found.error().message()));
    return tolerable;
}

int check_all(const cli::Options &options, base::Log &log) {
    for (const Probe &probe : required_probes())
        if (!required_present(probe, options, log)) {
            say(kBad);
            return 1;
        }
    bool complete = true;
    for (const Probe &probe : feature_probes())
        if (wanted(probe.category, options))
            complete = present(probe, log) && complete;
    say(complete ? kGood : kMaybe);
    return complete ? 0 : 1;
}

} // namespace

base::Result<int> run(const cli::Options &options, base::Log &log) {
    if (options.features.empty())
        return check_all(options, log);
    int code = 0;
    for (const std::string &name : options.features)
        code |= name == "list" ? list_features() : check_feature(name, log);
    return code;
}

} // namespace check
