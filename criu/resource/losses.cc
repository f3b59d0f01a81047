#include "criu/resource/losses.hh"

#include <algorithm>
#include <fmt/format.h>

namespace resource {
namespace {

constexpr LossRow kRows[] = {
    {Loss::Keyrings, "keyrings", "keys in keyrings of a session, process or thread"},
    {Loss::Landlock, "landlock", "the rules of Landlock that a task is under"},
    {Loss::SemaphoreUndo, "sem-undo", "what the end of a task does to semaphores (SEM_UNDO), where it cannot be kept"},
    {Loss::NetlinkAnswers, "netlink-answers", "answers in netlink sockets that nobody has read"},
};

} // namespace

std::span<const LossRow> all_losses() {
    return kRows;
}

const LossRow *find_loss(std::string_view name) {
    const auto *row = std::ranges::find(kRows, name, &LossRow::name);
    return row == std::end(kRows) ? nullptr : row;
}

base::Error refused_loss(Loss loss, std::string what) {
    const auto *row = std::ranges::find(kRows, loss, &LossRow::loss);
    base::Error error(base::ErrorKind::Unsupported, std::move(what));
    error.hint(fmt::format("--allow-loss {} goes on without", row->name));
    return error;
}

Result<void> lose(const AllowedLosses &allowed, base::Log &log, Loss loss, std::string what) {
    if (!allowed.has(loss))
        return base::fail(refused_loss(loss, std::move(what)));
    log.warn(fmt::format("dump: {}: it is lost", what));
    return {};
}

} // namespace resource
