#include "criu/engine/pass.hh"

#include <catch2/catch.hpp>
#include <vector>

namespace {

enum class Phase { First, Second };

struct State {
    std::vector<int> ran;
    bool over = false;
    bool is_over() const { return over; }
};

base::Result<void> one(State &state) {
    state.ran.push_back(1);
    return {};
}
base::Result<void> two(State &state) {
    state.ran.push_back(2);
    return {};
}
base::Result<void> refuse(State &) {
    return base::unsupported("no");
}
base::Result<void> end(State &state) {
    state.over = true;
    return {};
}

using Pass = engine::Pass<Phase, State>;

struct Run {
    State state;
    Phase reached = Phase::First;
    bool good = false;
};

template <size_t N> Run run(const Pass (&passes)[N]) {
    Run run;
    base::Log log;
    run.good = engine::run_passes(passes, run.state, log, "test", run.reached).has_value();
    return run;
}

} // namespace

TEST_CASE("passes of an engine", "[engine]") {
    SECTION("one after the other") {
        const Pass passes[] = {{Phase::First, "one", one}, {Phase::Second, "two", two}};
        const Run done = run(passes);
        CHECK(done.good);
        CHECK(done.state.ran == std::vector{1, 2});
        CHECK(done.reached == Phase::Second);
    }
    SECTION("until one fails: what that means its phase tells") {
        const Pass passes[] = {{Phase::First, "one", one}, {Phase::First, "no", refuse}, {Phase::Second, "two", two}};
        const Run done = run(passes);
        CHECK_FALSE(done.good);
        CHECK(done.state.ran == std::vector{1});
        CHECK(done.reached == Phase::First);
    }
    SECTION("until one says that it is over") {
        const Pass passes[] = {{Phase::First, "end", end}, {Phase::Second, "two", two}};
        const Run done = run(passes);
        CHECK(done.good);
        CHECK(done.state.ran.empty());
        CHECK(done.reached == Phase::First);
    }
    SECTION("phases ascend") {
        constexpr Pass up[] = {{Phase::First, "one", one}, {Phase::Second, "two", two}};
        constexpr Pass down[] = {{Phase::Second, "two", two}, {Phase::First, "one", one}};
        STATIC_REQUIRE(engine::phases_ascend(up));
        STATIC_REQUIRE_FALSE(engine::phases_ascend(down));
    }
}
