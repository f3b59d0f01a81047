// Host and domain name. (What uname says besides is the kernel's own.)
#include "criu/kernel/namespaces.hh"
#include "criu/resource/namespace/kinds.hh"

#include "utsns.pb.h"

#include <sys/utsname.h>
#include <unistd.h>

namespace resource::uts_namespace {

Result<void> dump(NamespaceDumpContext &context, const tree::Namespace &ns) {
    const base::UniqueFd fd = TRY(kernel::open_namespace(ns.member, ns.kind));
    utsname names{};
    TRY(kernel::inside(std::array{fd.get()},
                       [&]() -> Result<void> { return uname(&names) < 0 ? base::fail_sys("uname") : Result<void>(); }));
    img::utsns_entry entry;
    entry.set_nodename(names.nodename);
    entry.set_domainname(names.domainname);
    return context.images.add(image::ImageKind::Utsns, ns.id, entry);
}

Result<void> fill(NamespaceFillContext &context) {
    for (const img::utsns_entry &entry :
         TRY(context.images.read<img::utsns_entry>(image::ImageKind::Utsns, context.id))) {
        if (sethostname(entry.nodename().data(), entry.nodename().size()) < 0)
            return base::fail_sys("set the host name of the image");
        if (setdomainname(entry.domainname().data(), entry.domainname().size()) < 0)
            return base::fail_sys("set the domain name of the image");
    }
    return {};
}

} // namespace resource::uts_namespace
