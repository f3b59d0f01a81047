#include "criu/service/rights.hh"

#include <cstdlib>
#include <fmt/format.h>
#include <grp.h>
#include <memory>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace service {

Result<void> become_client(const Peer &peer) {
    constexpr cap_value_t kCheckpointRestore = 40; // older libcap headers lack the name
    if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setgroups(peer.groups().size(), peer.groups().data()) < 0 ||
        setresgid(peer.gid(), peer.gid(), peer.gid()) < 0 || setresuid(peer.uid(), peer.uid(), peer.uid()) < 0)
        return base::fail_sys(fmt::format("become user {}", peer.uid()));
    const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void *)> caps(cap_init(), cap_free);
    for (cap_flag_t flag : {CAP_PERMITTED, CAP_EFFECTIVE})
        if (!caps || cap_set_flag(caps.get(), flag, 1, &kCheckpointRestore, CAP_SET) < 0)
            return base::fail_sys("capabilities");
    if (cap_set_proc(caps.get()) < 0 || prctl(PR_SET_KEEPCAPS, 0) < 0)
        return base::fail_sys("keep CAP_CHECKPOINT_RESTORE alone");
    clearenv(); // root's
    setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
    return {};
}

} // namespace service
