#include "criu/engine/restore/whereabouts.hh"

#include "criu/kernel/io.hh"

#include "mnt.pb.h"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

namespace restore {
namespace {

/// 0: that of the root task, which a CRIU before network namespaces did not say.
uint32_t network_of(const img::file_entry &file) {
    switch (file.type()) {
    case img::INETSK:
        return file.isk().ns_id();
    case img::UNIXSK:
        return file.usk().ns_id();
    case img::PACKETSK:
        return file.psk().ns_id();
    case img::NETLINKSK:
        return file.nlsk().ns_id();
    case img::TUNF:
        return file.tunf().ns_id();
    default:
        return 0;
    }
}

uint32_t mount_of(const img::file_entry &file) {
    const int32_t mount = file.has_reg() ? file.reg().mnt_id() : file.has_usk() ? file.usk().mnt_id() : 0;
    return static_cast<uint32_t>(std::max(mount, 0));
}

/// 0: that of the root task.
uint32_t queues_of(const img::file_entry &file) {
    return file.reg().extension().mqueue().namespace_();
}

} // namespace

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
    const auto found = context_->checkpoint.files.find(file);
    if (!several())
        return {};
    if (found == context_->checkpoint.files.end())
        return go(net_, ipc_, 0);
    const uint32_t net = network_of(found->second), ipc = queues_of(found->second), mount = mount_of(found->second);
    const auto mnt = mounts_.find(mount);
    return go(context_->namespaces.contains(net) ? net : 0, context_->namespaces.contains(ipc) ? ipc : 0,
              mnt == mounts_.end() ? 0 : mnt->second);
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
