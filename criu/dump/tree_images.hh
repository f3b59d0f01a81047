// Images about the tree as a whole: pstree.img and the inventory.
#pragma once

#include "criu/image/image_writer.hh"
#include "criu/tree/facts.hh"

namespace dump {

using base::Result;

Result<void> write_process_tree(image::ImageDirWriter &images, const std::vector<tree::TaskFacts> &tasks);

/// Writes the inventory, last of all: the directory is a checkpoint from here on.
Result<void> finish_images(image::ImageDirWriter &images);

} // namespace dump
