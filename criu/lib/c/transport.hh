// The way to criu and back.
#pragma once

#include "base/unique_fd.hh"
#include "criu/lib/c/options.hh"

#include <memory>

namespace lib {

struct FreeAnswer {
    void operator()(CriuResp *answer) const { criu_resp__free_unpacked(answer, nullptr); }
};
using Answer = std::unique_ptr<CriuResp, FreeAnswer>;

/// Who dumps itself must not have criu among its children.
enum class Who : uint8_t { Child, Stranger };

class Conversation {
public:
    explicit Conversation(criu_opts &opts) : opts_(opts) {}
    /// Ends it: a program that was started is waited for.
    ~Conversation();
    Conversation(const Conversation &) = delete;

    /// 0 or -ECONNREFUSED.
    int connect(Who who);
    /// Sends the request, answers notifications until the answer comes. 0, -ECOMM, -EINVAL or -EBADMSG; the answer may
    /// say that the request failed.
    int ask(const CriuReq &request, Answer &answer);

private:
    int start_program(Who who);
    int connect_to_service();
    int send(const CriuReq &request);
    int receive(Answer &answer);
    int answer_notification(CriuResp &notification);

    criu_opts &opts_;
    base::UniqueFd own_;
    int fd_ = -1;
    int child_ = 0;
};

} // namespace lib
