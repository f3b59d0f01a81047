#include "criu/engine/check/check.hh"

#include "criu/engine/check/probes.hh"

#include <algorithm>
#include <fmt/format.h>

namespace check {

namespace {

constexpr std::string_view kGood = "Looks good.";
constexpr std::string_view kBad = "Does not look good.";
constexpr std::string_view kMaybe = "Looks good but some kernel features are missing\n"
                                    "which, depending on your process tree, may cause\n"
                                    "dump or restore failure.";

void say(engine::CheckOutcome &outcome, std::string_view text) {
    outcome.text += text;
    outcome.text += '\n';
}

/// Runs one probe and logs what it misses.
bool present(const Probe &probe, base::Log &log) {
    auto found = probe.run();
    if (!found && probe.missing.empty())
        log.warn(fmt::format("check: {} is missing: {}", probe.name, found.error().message()));
    else if (!found) // scripts look for CRIU's words
        log.warn(fmt::format("{} ({}: {})", probe.missing, probe.name, found.error().message()));
    return found.has_value();
}

void check_feature(std::string_view name, engine::CheckOutcome &outcome, base::Log &log) {
    auto features = feature_probes();
    if (name == "list") {
        for (const Probe &probe : features)
            say(outcome, probe.name);
        return;
    }
    auto probe = std::ranges::find(features, name, &Probe::name);
    if (probe == features.end()) {
        log.error(fmt::format("Unknown feature {}", name));
        log.hint("--feature list prints all names");
        outcome.complete = false;
        return;
    }
    const bool found = present(*probe, log);
    if (found)
        say(outcome, fmt::format("{} is supported", name));
    outcome.complete = outcome.complete && found;
}

bool wanted(Category category, const engine::CheckRequest &request) {
    switch (category) {
    case Category::Required:
        return true;
    case Category::Extra:
        return request.extra;
    case Category::Experimental:
        return request.experimental;
    case Category::ByName:
        return false;
    }
    return false;
}

/// With --unprivileged, what only a privilege is missing for does not count: many trees do without it.
bool only_forbidden(const base::Error &error) {
    return error.code() == EPERM || error.code() == EACCES;
}

bool required_present(const Probe &probe, const engine::CheckRequest &request, base::Log &log) {
    auto found = probe.run();
    if (found)
        return true;
    bool tolerable = request.unprivileged && only_forbidden(found.error());
    log.warn(
        fmt::format("check: {} is {}: {}", probe.name, tolerable ? "not allowed" : "missing", found.error().message()));
    return tolerable;
}

void check_all(const engine::CheckRequest &request, engine::CheckOutcome &outcome, base::Log &log) {
    for (const Probe &probe : required_probes())
        if (!required_present(probe, request, log)) {
            outcome.complete = false;
            return say(outcome, kBad);
        }
    for (const Probe &probe : feature_probes())
        if (wanted(probe.category, request))
            outcome.complete = present(probe, log) && outcome.complete;
    say(outcome, outcome.complete ? kGood : kMaybe);
}

} // namespace

engine::CheckOutcome run(const engine::CheckRequest &request, base::Log &log) {
    engine::CheckOutcome outcome{.text = {}, .complete = true};
    if (request.features.empty())
        check_all(request, outcome, log);
    for (const std::string &name : request.features)
        check_feature(name, outcome, log);
    return outcome;
}

} // namespace check
