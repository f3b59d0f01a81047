// What others need of user namespaces: the maps of ids, and becoming somebody inside of one.
#pragma once

#include "base/id_map.hh"
#include "base/ids.hh"
#include "base/result.hh"
#include "criu/image/image_dir.hh"

#include <map>
#include <span>

namespace resource {

using base::Result;

/// How the namespace of a task calls the users and groups of our own.
Result<base::OwnerMaps> owner_maps(base::Pid member);

/// Writes the maps of the image to the namespace that a process, born in it, is the only one of. Once for all.
/// `id`: of the namespace, in images. Errors: BadImage, System.
Result<void> write_id_maps(const image::ImageDir &images, uint32_t id, base::Pid member);

/// Those that only tasks below the root live in (`ids`): which other namespaces belong to them. Number -> user
/// namespace. Errors: BadImage where one belongs to two.
Result<std::map<uint32_t, uint32_t>> read_owners(const image::ImageDir &images, std::span<const uint32_t> ids);

/// What such a user namespace calls the users and groups of the root task's.
Result<base::OwnerMaps> owner_maps_below(const image::ImageDir &images, uint32_t id, uint32_t root);

/// Makes the calling process the root of its user namespace, or the first user that there is: what it makes from here
/// on belongs to somebody there. The maps have to be there.
Result<void> become_root_inside();

} // namespace resource
