#include "criu/engine/restore/whereabouts.hh"

#include "criu/kernel/io.hh"

#include "mnt.pb.h"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

namespace restore {
Result<Whereabouts> Whereabouts::start(const RestoreContext &context) {
    Whereabouts here(context);
    if (context.namespaces.empty())
        return here;
    const auto own = [&](const char *name) {
        return base::UniqueFd(
            openat(context.own_proc.get(), fmt::format("self/ns/{}", name).c_str(), O_RDONLY | O_CLOEXEC));
    };
    here.home_net_ = own("net");
    here.home_ipc_ = own("ipc");
    here.home_mounts_ = own("mnt");
    here.home_root_.reset(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!here.home_net_ || !here.home_ipc_ || !here.home_mounts_ || !here.home_root_)
        return base::fail_sys("open the namespaces of the root task");
    for (const auto &[id, fd] : context.namespaces)
        for (const img::mnt_entry &mount :
             TRY(context.checkpoint.images().read<img::mnt_entry>(image::ImageKind::Mnts, id)))
            here.mounts_.emplace(mount.mnt_id(), id);
    return here;
}

Result<void> Whereabouts::go_to(uint32_t file) {
    if (!several())
        return {};
    const auto found = context_->checkpoint.files.find(file);
    return found == context_->checkpoint.files.end() ? go(net_, ipc_, 0) : go_to(resource::place_of(found->second));
}

Result<void> Whereabouts::go_to(const resource::Place &place) {
    if (!several())
        return {};
    const auto known = [&](uint32_t number) { return context_->namespaces.contains(number) ? number : 0; };
    const auto mnt = mounts_.find(place.mount);
    return go(known(place.net), known(place.ipc), mnt == mounts_.end() ? 0 : mnt->second);
}

Result<void> Whereabouts::go_home() {
    return several() ? go(0, 0, 0) : Result<void>{};
}

Result<void> Whereabouts::go(uint32_t net, uint32_t ipc, uint32_t mnt) {
    if (net != net_) {
        if (setns(net ? context_->namespaces.at(net).get() : home_net_.get(), CLONE_NEWNET) < 0)
            return base::fail_sys("enter a network namespace of the tree");
        net_ = net;
    }
    if (ipc != ipc_) {
        if (setns(ipc ? context_->namespaces.at(ipc).get() : home_ipc_.get(), CLONE_NEWIPC) < 0)
            return base::fail_sys("enter an ipc namespace of the tree");
        ipc_ = ipc;
    }
    return mnt == mnt_ ? Result<void>{} : enter_mounts(mnt);
}

// Who enters one stands in its root, and a tool that was started in a chroot is not at home there.
Result<void> Whereabouts::enter_mounts(uint32_t mnt) {
    if (setns(mnt ? context_->namespaces.at(mnt).get() : home_mounts_.get(), CLONE_NEWNS) < 0)
        return base::fail_sys("enter a mount namespace of the tree");
    mnt_ = mnt;
    if (!mnt && (fchdir(home_root_.get()) < 0 || chroot(".") < 0))
        return base::fail_sys("go back to our root directory");
    return {};
}

} // namespace restore
