// Errors as values.
//
// A function that can fail returns Result<T>. An Error is a chain of frames, innermost (the cause) first; every caller
// that knows something the callee did not (which task, which descriptor, which file) adds a frame with ctx(). errno is
// captured in the constructor, before anything can clobber it. Functions return errors or log them, never both: the
// engines log each failure once.
#pragma once

#include "base/fault.hh"

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <utility>
#include <vector>

namespace base {

/// What a caller may branch on. Everything else about an error is text for people.
enum class ErrorKind {
    System,      ///< a system call failed; code() is its errno
    Died,        ///< the task went away while we worked on it
    Unsupported, ///< the object cannot be checkpointed or restored
    BadImage,    ///< an image is damaged or contradicts another one
    Busy,        ///< a resource (pid, port, path) is taken by somebody else
    Usage,       ///< the command line or configuration is wrong
    Bug,         ///< an invariant of ours is broken
};

class [[nodiscard]] Error {
public:
    Error(ErrorKind kind, std::string text) : kind_(kind) { frames_.push_back(std::move(text)); }

    /// One that another process had, in its parts.
    Error(ErrorKind kind, int code, std::vector<std::string> frames, std::string hint)
        : kind_(kind), code_(code), frames_(std::move(frames)), hint_(std::move(hint)) {}

    /// An error from the current errno; `what` names the call or the object.
    static Error sys(std::string what) { return sys(errno, std::move(what)); }
    static Error sys(int code, std::string what) {
        Error e(code == ESRCH ? ErrorKind::Died : ErrorKind::System, what + ": " + std::strerror(code));
        e.code_ = code;
        return e;
    }

    /// Adds what the caller knows in front of what the callee said.
    Error &ctx(std::string text) {
        frames_.push_back(std::move(text));
        return *this;
    }
    /// Second line shown to the user: what to do about it. The innermost hint wins.
    Error &hint(std::string text) {
        if (hint_.empty())
            hint_ = std::move(text);
        return *this;
    }

    ErrorKind kind() const { return kind_; }
    int code() const { return code_; } ///< errno of a System error, otherwise 0
    const std::string &hint() const { return hint_; }
    const std::vector<std::string> &frames() const { return frames_; } ///< innermost first

    /// All frames in one line, general to particular: "dump: task 42 (cat): fd 3: open: Permission denied".
    std::string message() const {
        std::string out;
        for (auto it = frames_.rbegin(); it != frames_.rend(); ++it) {
            if (!out.empty())
                out += ": ";
            out += *it;
        }
        return out;
    }

private:
    ErrorKind kind_;
    int code_ = 0;
    std::vector<std::string> frames_;
    std::string hint_;
};

template <class T> using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Error e) {
    return std::unexpected<Error>(std::move(e));
}
inline std::unexpected<Error> fail(ErrorKind kind, std::string text) {
    return fail(Error(kind, std::move(text)));
}
/// Fails with the current errno.
inline std::unexpected<Error> fail_sys(std::string what) {
    return fail(Error::sys(std::move(what)));
}
inline std::unexpected<Error> fail_sys(int code, std::string what) {
    return fail(Error::sys(code, std::move(what)));
}
inline std::unexpected<Error> unsupported(std::string what) {
    return fail(ErrorKind::Unsupported, std::move(what));
}
inline std::unexpected<Error> bad_image(std::string what) {
    return fail(ErrorKind::BadImage, std::move(what));
}

/// What a step that was told to fail returns: base/fault.hh.
[[gnu::cold, gnu::noinline]] inline std::unexpected<Error> injected_fault() {
    return fail(ErrorKind::System, "a fault was injected");
}

namespace detail {
template <class T> T take(Result<T> &r) {
    return std::move(*r);
}
inline void take(Result<void> &) {}
} // namespace detail

} // namespace base

#define CRIU_JOIN2(a, b) a##b
#define CRIU_JOIN(a, b) CRIU_JOIN2(a, b)

// Propagates the error of `expr`, otherwise is its value.
#define TRY_NAMED(name, expr)                                                                                          \
    __extension__({                                                                                                    \
        CRIU_FAULT_STEP                                                                                                \
        auto name = (expr);                                                                                            \
        if (!name)                                                                                                     \
            return ::base::fail(std::move(name).error());                                                              \
        ::base::detail::take(name);                                                                                    \
    })
#define TRY(expr) TRY_NAMED(CRIU_JOIN(try_result_, __COUNTER__), (expr))

// As TRY, with a frame of context; `text` is evaluated only on failure.
#define TRY_CTX_NAMED(name, expr, text)                                                                                \
    __extension__({                                                                                                    \
        CRIU_FAULT_STEP                                                                                                \
        auto name = (expr);                                                                                            \
        if (!name)                                                                                                     \
            return ::base::fail(std::move(std::move(name).error().ctx(text)));                                         \
        ::base::detail::take(name);                                                                                    \
    })
#define TRY_CTX(expr, text) TRY_CTX_NAMED(CRIU_JOIN(try_result_, __COUNTER__), (expr), text)
