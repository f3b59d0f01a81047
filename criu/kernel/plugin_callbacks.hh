// What plugins call: C functions that the executable exports. They have no argument that leads to the run, so it has to
// be told here what the run is; this is the only global state of the program.
#pragma once

#include "base/log.hh"

#include <string>
#include <vector>

namespace kernel::plugin_callbacks {

/// For the plugins that are loaded from now on. `log` must live as long as they do.
void begin(int images_dir_fd, base::Log &log, std::vector<std::string> needed);

/// Names in the inventory: those that were there at the beginning or have been added, without those that were removed.
std::vector<std::string> needed();

} // namespace kernel::plugin_callbacks

extern "C" {
/// A descriptor of the image directory, which stays ours.
int criu_get_image_dir();
/// A line of the log; levels as of base::LogLevel, 0 is always printed.
void print_on_level(unsigned level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/// Restores will need the plugin of this name. Returns 0.
int add_inventory_plugin(const char *name);
/// Whether the images need the plugin of this name: 0 if so, and not any more; -1 otherwise.
int check_and_remove_inventory_plugin(const char *name, size_t length);
}
