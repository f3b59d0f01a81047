// Every kind of namespace, each defined in the file of its name. For the table only.
#pragma once

#include "criu/resource/namespace/namespace.hh"

namespace resource::user_namespace {
Result<void> refuse(const NamespaceCheckContext &, const tree::Namespace &);
/// Of any kind: whether it belongs to a user namespace that a restore makes.
Result<void> refuse_owner(const NamespaceCheckContext &, const tree::Namespace &);
Result<void> dump(NamespaceDumpContext &, const tree::Namespace &);
Result<base::UniqueFd> make_below(NamespaceFillContext &);
} // namespace resource::user_namespace
namespace resource::pid_namespace {
Result<void> refuse(const NamespaceCheckContext &, const tree::Namespace &);
Result<void> dump(NamespaceDumpContext &, const tree::Namespace &);
} // namespace resource::pid_namespace
namespace resource::ipc_namespace {
Result<void> dump(NamespaceDumpContext &, const tree::Namespace &);
Result<void> fill(NamespaceFillContext &);
} // namespace resource::ipc_namespace
namespace resource::net_namespace {
Result<void> refuse(const NamespaceCheckContext &, const tree::Namespace &);
Result<void> dump(NamespaceDumpContext &, const tree::Namespace &);
Result<void> bring(NamespaceBringContext &);
Result<void> fill(NamespaceFillContext &);
} // namespace resource::net_namespace
namespace resource::mnt_namespace {
Result<void> refuse(const NamespaceCheckContext &, const tree::Namespace &);
Result<void> dump(NamespaceDumpContext &, const tree::Namespace &);
Result<void> fill(NamespaceFillContext &);
Result<void> fill_below(NamespaceFillContext &);
} // namespace resource::mnt_namespace
namespace resource::time_namespace {
Result<void> refuse(const NamespaceCheckContext &, const tree::Namespace &);
Result<void> dump(NamespaceDumpContext &, const tree::Namespace &);
Result<void> fill(NamespaceFillContext &);
Result<base::UniqueFd> make_below(NamespaceFillContext &);
} // namespace resource::time_namespace
namespace resource::cgroup_namespace {
Result<void> fill(NamespaceFillContext &);
}
namespace resource::uts_namespace {
Result<void> dump(NamespaceDumpContext &, const tree::Namespace &);
Result<void> fill(NamespaceFillContext &);
} // namespace resource::uts_namespace
