// Processes as the rounds of one client have met them (RPC pidfd_store_sk): whether a number means the same process
// still. Start times tell it as well, but for two processes within one tick.
//
// The pidfds wait in the queue of a socket of the client's, which is connected to itself: they live as long as he does.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/tree/facts.hh"

#include <map>

namespace dump {

using base::Result;

class PidfdStore {
public:
    /// Takes out what is there, and puts it back for a round to come. `socket` stays the caller's: AF_UNIX and
    /// SOCK_DGRAM, of nobody else's. Errors: Usage if it is something else.
    static Result<PidfdStore> open(int socket);

    bool empty() const { return processes_.empty(); }
    enum class Answer : uint8_t { Unknown, Same, Other };
    /// Whether the process of that number is the one that was put in.
    Answer ask(base::Pid pid) const;

    /// Puts in the processes of the tree, in the place of what was there.
    Result<void> keep(const std::vector<tree::TaskFacts> &tasks);

private:
    explicit PidfdStore(base::UniqueFd socket) : socket_(std::move(socket)) {}
    Result<void> connect_to_itself();
    Result<void> take_out();
    Result<void> put_in();

    base::UniqueFd socket_;
    std::map<base::Pid, base::UniqueFd> processes_;
};

} // namespace dump
