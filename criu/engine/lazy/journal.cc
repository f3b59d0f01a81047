#include "criu/engine/lazy/journal.hh"

#include <new>
#include <sys/mman.h>

namespace lazy {

Result<Journal> Journal::create() {
    void *at = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return base::fail_sys("map the journal");
    return Journal(static_cast<Shared *>(at)); // all zeroes is what its members begin with
}

} // namespace lazy
