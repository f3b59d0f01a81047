// State that cannot be kept, and that a program may do without: a dump refuses it by name, and goes on where the user
// says so (--allow-loss).
#pragma once

#include "base/log.hh"
#include "base/result.hh"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace resource {

using base::Result;

enum class Loss : uint8_t {
    Keyrings,      ///< keys of a process, thread or session (keyrings(7))
    Landlock,      ///< the rules that a task has put itself under
    SemaphoreUndo, ///< what the end of a task does to semaphores (SEM_UNDO), where it cannot be kept
    NetlinkAnswers ///< answers of the kernel that were not read
};

struct LossRow {
    Loss loss;
    std::string_view name; ///< as the option has it
    std::string_view what; ///< a sentence's end: "... is lost"
};

/// All of them, in the order of the enumeration.
std::span<const LossRow> all_losses();

/// Null if there is none of that name.
const LossRow *find_loss(std::string_view name);

/// What the user has agreed to.
class AllowedLosses {
public:
    void allow(Loss loss) { bits_ |= bit(loss); }
    bool has(Loss loss) const { return bits_ & bit(loss); }

private:
    static uint32_t bit(Loss loss) { return 1u << static_cast<unsigned>(loss); }
    uint32_t bits_ = 0;
};

/// The refusal, with the option as its hint. `what`: a whole sentence that names the object.
base::Error refused_loss(Loss loss, std::string what);

/// Warns where it is allowed. Errors: Unsupported otherwise.
Result<void> lose(const AllowedLosses &allowed, base::Log &log, Loss loss, std::string what);

} // namespace resource
