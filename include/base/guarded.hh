// Where exceptions of the library end: at the top of each process.
#pragma once

#include "base/result.hh"

#include <exception>
#include <new>

namespace base {

/// What `body` returns; an exception out of it becomes an error. Errors of ours are values, so this is what a damaged
/// image can make of the library at worst: the caller still cleans up and says so.
template <class Body> auto guarded(Body &&body) -> decltype(body()) {
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return fail_sys(ENOMEM, "not enough memory");
    } catch (const std::exception &error) {
        return fail(ErrorKind::Bug, std::string("Bug: ") + error.what());
    }
}

} // namespace base
