// The requests: what each sends, and what its answer means.
#include "criu/lib/c/transport.hh"

#include <cerrno>
#include <new>

namespace lib {
namespace {

enum class With : uint8_t { Options, Nothing };

CriuReq request_of(criu_opts &opts, CriuReqType type, With with) {
    CriuReq request = CRIU_REQ__INIT;
    request.type = type;
    if (with == With::Options)
        request.opts = &opts.rpc;
    return request;
}

/// The number for what an answer says: what `succeeded` makes of it, or -EBADE.
template <class Succeeded> int verdict(const CriuResp &answer, Succeeded succeeded) {
    errno = answer.has_cr_errno ? answer.cr_errno : 0;
    return answer.success ? succeeded(answer) : -EBADE;
}

/// Runs `body`; memory that is missing is an error like others.
template <class Body> int in_words_of_c(criu_opts *opts, Body body) {
    if (!opts) {
        errno = EINVAL;
        return -EINVAL;
    }
    try {
        opts->message.clear();
        return body(*opts);
    } catch (const std::bad_alloc &) {
        errno = ENOMEM;
        return -ENOMEM;
    }
}

template <class Succeeded> int ask_once(criu_opts *opts, CriuReqType type, With with, Who who, Succeeded succeeded) {
    return in_words_of_c(opts, [&](criu_opts &own) {
        Conversation conversation(own);
        Answer answer;
        if (const int failed = conversation.connect(who))
            return failed;
        if (const int failed = conversation.ask(request_of(own, type, with), answer))
            return failed;
        return verdict(*answer, succeeded);
    });
}

constexpr auto kNothingMore = [](const CriuResp &) { return 0; };

int version_of(const CriuResp &answer) {
    if (!answer.version)
        return -EBADMSG;
    constexpr int kMajor = 10000, kMinor = 100;
    const CriuVersion &version = *answer.version;
    const bool unreleased = version.gitid && *version.gitid;
    return version.major_number * kMajor + (version.minor_number + (unreleased ? 1 : 0)) * kMinor +
           (version.has_sublevel ? version.sublevel : 0);
}

int iterate(criu_opts &opts, int (*more)(criu_predump_info)) {
    Conversation conversation(opts);
    if (const int failed = conversation.connect(Who::Child))
        return failed;
    for (;;) {
        const int wanted = more(nullptr);
        if (wanted < 0)
            return wanted;
        const CriuReqType type = wanted > 0 ? CRIU_REQ_TYPE__PRE_DUMP : CRIU_REQ_TYPE__DUMP;
        Answer answer;
        if (const int failed = conversation.ask(request_of(opts, type, With::Options), answer))
            return failed;
        const int said = verdict(*answer, kNothingMore);
        if (said || wanted == 0)
            return said;
    }
}

} // namespace
} // namespace lib

extern "C" {

using lib::ask_once, lib::Who, lib::With;

int criu_local_check(criu_opts *opts) {
    return ask_once(opts, CRIU_REQ_TYPE__CHECK, With::Nothing, Who::Child, lib::kNothingMore);
}

int criu_local_dump(criu_opts *opts) {
    const Who who = opts && opts->rpc.has_pid ? Who::Child : Who::Stranger;
    return ask_once(opts, CRIU_REQ_TYPE__DUMP, With::Options, who, [](const CriuResp &answer) {
        return answer.dump && answer.dump->has_restored && answer.dump->restored ? 1 : 0;
    });
}

int criu_local_pre_dump(criu_opts *opts) {
    return ask_once(opts, CRIU_REQ_TYPE__SINGLE_PRE_DUMP, With::Options, Who::Child, lib::kNothingMore);
}

int criu_local_restore(criu_opts *opts) {
    return ask_once(opts, CRIU_REQ_TYPE__RESTORE, With::Options, Who::Child,
                    [](const CriuResp &answer) { return answer.restore ? answer.restore->pid : -EBADMSG; });
}

int criu_local_restore_child(criu_opts *opts) {
    if (!opts) {
        errno = EINVAL;
        return -EINVAL;
    }
    // Only who has started criu can get a sibling of it as a child.
    const criu_service_comm before = opts->reached_by;
    const CriuOpts options = opts->rpc;
    if (before != CRIU_COMM_BIN)
        opts->service.clear();
    opts->reached_by = CRIU_COMM_BIN;
    opts->rpc.has_rst_sibling = opts->rpc.rst_sibling = true;
    const int pid = criu_local_restore(opts);
    opts->reached_by = before;
    opts->rpc.has_rst_sibling = options.has_rst_sibling;
    opts->rpc.rst_sibling = options.rst_sibling;
    return pid;
}

int criu_local_dump_iters(criu_opts *opts, int (*more)(criu_predump_info pi)) {
    return lib::in_words_of_c(opts, [&](criu_opts &own) {
        if (!own.rpc.has_pid || !more) {
            errno = EINVAL;
            return -EINVAL;
        }
        return lib::iterate(own, more);
    });
}

int criu_local_get_version(criu_opts *opts) {
    return ask_once(opts, CRIU_REQ_TYPE__VERSION, With::Nothing, Who::Child, lib::version_of);
}

int criu_local_check_version(criu_opts *opts, int minimum) {
    const int version = criu_local_get_version(opts);
    return version < 0 ? version : version >= minimum;
}

int criu_local_feature_check(criu_opts *opts, struct criu_feature_check *features, size_t size) {
    if (!features || size > sizeof *features)
        return -1;
    return lib::in_words_of_c(opts, [&](criu_opts &own) {
        // A caller who was compiled with an older header knows fewer.
        auto *known = reinterpret_cast<bool *>(features);
        const size_t count = size / sizeof(bool);
        CriuFeatures asked = CRIU_FEATURES__INIT;
        struct {
            protobuf_c_boolean *has, *value;
        } fields[] = {{&asked.has_mem_track, &asked.mem_track},
                      {&asked.has_lazy_pages, &asked.lazy_pages},
                      {&asked.has_pidfd_store, &asked.pidfd_store}};
        for (size_t i = 0; i < count; i++)
            *fields[i].has = *fields[i].value = known[i];
        lib::Conversation conversation(own);
        lib::Answer answer;
        if (const int failed = conversation.connect(Who::Child))
            return failed;
        CriuReq request = lib::request_of(own, CRIU_REQ_TYPE__FEATURE_CHECK, With::Nothing);
        request.features = &asked;
        if (const int failed = conversation.ask(request, answer))
            return failed;
        return lib::verdict(*answer, [&](const CriuResp &said) {
            if (!said.features)
                return -EBADMSG;
            const bool found[] = {said.features->mem_track != 0, said.features->lazy_pages != 0,
                                  said.features->pidfd_store != 0};
            for (size_t i = 0; i < count; i++)
                known[i] = found[i];
            return 0;
        });
    });
}

int criu_check(void) {
    return criu_local_check(lib::common);
}
int criu_dump(void) {
    return criu_local_dump(lib::common);
}
int criu_pre_dump(void) {
    return criu_local_pre_dump(lib::common);
}
int criu_restore(void) {
    return criu_local_restore(lib::common);
}
int criu_restore_child(void) {
    return criu_local_restore_child(lib::common);
}
int criu_dump_iters(int (*more)(criu_predump_info pi)) {
    return criu_local_dump_iters(lib::common, more);
}
int criu_get_version(void) {
    return criu_local_get_version(lib::common);
}
int criu_check_version(int minimum) {
    return criu_local_check_version(lib::common, minimum);
}
int criu_feature_check(struct criu_feature_check *features, size_t size) {
    return criu_local_feature_check(lib::common, features, size);
}

} // extern "C"
