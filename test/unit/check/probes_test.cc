#include "criu/engine/check/probes.hh"
#include "criu/kernel/features.hh"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <set>
#include <unistd.h>

TEST_CASE("check: every feature has one name, and its probe answers", "[check]") {
    std::set<std::string_view> names;
    for (const check::Probe &probe : check::feature_probes()) {
        CHECK(names.insert(probe.name).second);
        auto found = probe.run();
        INFO(probe.name);
        // Whatever the answer on this kernel: an error always says why.
        CHECK((found || !found.error().message().empty()));
    }
    CHECK(names.size() == 45);
}

TEST_CASE("check: probes leave no descriptors behind", "[check]") {
    auto lowest_free = [] {
        int fd = dup(0);
        close(fd);
        return fd;
    };
    int before = lowest_free();
    for (const check::Probe &probe : check::required_probes())
        (void)probe.run();
    for (size_t i = 0; i < kernel::kFeatureCount; ++i)
        (void)kernel::probe_feature(static_cast<kernel::Feature>(i));
    CHECK(lowest_free() == before);
}

TEST_CASE("Kernel: answers can be given, others are tried once", "[kernel]") {
    kernel::Kernel old{{kernel::Feature::PagemapScan, false}, {kernel::Feature::UffdMove, true}};
    CHECK_FALSE(old.has(kernel::Feature::PagemapScan));
    CHECK(old.has(kernel::Feature::UffdMove));
    CHECK(old.has(kernel::Feature::PidfdOpen)); // Linux 5.3, below what is supported
}
