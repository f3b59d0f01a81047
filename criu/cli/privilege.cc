#include "criu/cli/privilege.hh"

#include <memory>
#include <sys/capability.h>
#include <unistd.h>

namespace cli {

namespace {

constexpr cap_value_t kCheckpointRestore = 40; // CAP_CHECKPOINT_RESTORE; older libcap headers lack the name

bool effective(cap_t caps, cap_value_t cap) {
    cap_flag_value_t value = CAP_CLEAR;
    return cap_get_flag(caps, cap, CAP_EFFECTIVE, &value) == 0 && value == CAP_SET;
}

} // namespace

base::Result<Privileges> own_privileges() {
    std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void *)> caps(cap_get_proc(), cap_free);
    if (!caps)
        return base::fail_sys("capabilities of this process");
    return Privileges{geteuid(), effective(caps.get(), CAP_SYS_ADMIN), effective(caps.get(), kCheckpointRestore)};
}

base::Result<void> check_privileges(const Privileges &own, const Options &options) {
    if (!own.sys_admin && !own.checkpoint_restore)
        return base::fail(
            std::move(base::Error(base::ErrorKind::Usage,
                                  "criu needs to have the CAP_SYS_ADMIN or the CAP_CHECKPOINT_RESTORE capability")
                          .hint("run it as root, or: setcap cap_checkpoint_restore,cap_sys_ptrace+eip /path/to/criu, "
                                "and add --unprivileged")));
    if (own.uid != 0 && !options.unprivileged)
        return base::fail(std::move(
            base::Error(base::ErrorKind::Usage, "running as an ordinary user has limits and must be asked for")
                .hint("add --unprivileged, or run criu as root")));
    return {};
}

} // namespace cli
