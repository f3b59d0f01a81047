#include "criu/engine/check/tree.hh"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace check;

TEST_CASE("check --tree: report as text", "[check]") {
    TreeReport report{.processes = 1, .threads = 2, .descriptors = 3};
    CHECK(to_text(report) == "Looks good. (1 process, 2 threads, 3 descriptors)\n");
    report.findings.push_back({Severity::Degrades, 7, "cat", "fd 3", "its 5 bytes go into the images", ""});
    CHECK_FALSE(report.prevents());
    report.findings.push_back({Severity::Prevents, 7, "cat", "fd 4", "x cannot be checkpointed", "close it"});
    report.findings.push_back({Severity::Prevents, 0, "", "", "task 7 belongs elsewhere", ""});
    CHECK(report.prevents());
    CHECK(to_text(report) ==
          "Note:  task 7 (cat): fd 3: its 5 bytes go into the images\n"
          "Error: task 7 (cat): fd 4: x cannot be checkpointed\n"
          "Hint:  close it\n"
          "Error: the tree: task 7 belongs elsewhere\n"
          "Does not look good. (1 process, 2 threads, 3 descriptors; 2 objects prevent a checkpoint)\n");
}

TEST_CASE("check --tree: report as JSON, with names of any bytes", "[check]") {
    TreeReport report{.processes = 1};
    report.findings.push_back({Severity::Prevents, 7, "a\xff\"", "fd 4", "why", "what"});
    auto json = nlohmann::json::parse(to_json(report));
    CHECK(json["checkpointable"] == false);
    CHECK(json["findings"][0]["pid"] == 7);
    CHECK(json["findings"][0]["severity"] == "prevents");
    CHECK(json["findings"][0]["comm"] == "a\xef\xbf\xbd\"");
}
