#include "criu/plan/ops.hh"

#include <algorithm>

namespace plan {

const char *stage_name(Stage stage) {
    switch (stage) {
    case Stage::Unmap:
        return "unmap";
    case Stage::Memory:
        return "memory";
    case Stage::Actions:
        return "actions";
    case Stage::Threads:
        return "threads";
    case Stage::Context:
        return "context";
    case Stage::Reap:
        return "reap";
    case Stage::Threaded:
        return "threaded";
    case Stage::LateOpen:
        return "late open";
    case Stage::LateOpened:
        return "late opened";
    case Stage::LateFetch:
        return "late fetch";
    case Stage::Restored:
        return "restored";
    case Stage::Filters:
        return "filters";
    case Stage::Creds:
        return "creds";
    case Stage::Arm:
        return "arm";
    case Stage::Final:
        return "final";
    }
    return "?";
}

OpRef ThreadPlan::add(PlannedOp op, std::initializer_list<Arg> args) {
    std::copy(args.begin(), args.end(), op.args.begin());
    ops_.push_back(op);
    return OpRef{ops_.size() - 1};
}

OpRef ThreadPlan::call(Stage stage, const char *what, long nr, std::initializer_list<Arg> args) {
    return add({.stage = stage, .nr = static_cast<uint16_t>(nr), .what = what}, args);
}

OpRef ThreadPlan::try_call(Stage stage, const char *what, long nr, std::initializer_list<Arg> args) {
    return add({.stage = stage, .flags = agent::kOpMayFail, .nr = static_cast<uint16_t>(nr), .what = what}, args);
}

OpRef ThreadPlan::expect_call(Stage stage, const char *what, int64_t expect, long nr, std::initializer_list<Arg> args) {
    return add(
        {.stage = stage, .flags = agent::kOpExpect, .nr = static_cast<uint16_t>(nr), .expect = expect, .what = what},
        args);
}

OpRef ThreadPlan::call32(Stage stage, const char *what, long nr, std::initializer_list<Arg> args) {
    return add({.stage = stage, .kind = agent::OpKind::Call32, .nr = static_cast<uint16_t>(nr), .what = what}, args);
}

OpRef ThreadPlan::op(Stage stage, const char *what, agent::OpKind kind, std::initializer_list<Arg> args) {
    return add({.stage = stage, .kind = kind, .what = what}, args);
}

} // namespace plan
