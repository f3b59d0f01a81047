// Plugins: the user's shared libraries, which save and restore what only they know (-L). The interface is CRIU's
// (criu-plugin.h, version 0.2): a library exports CR_PLUGIN_DESC, with a table of hooks, and may call back some
// functions of the program.
#pragma once

#include "base/ids.hh"
#include "base/log.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace kernel {

/// Hooks that stand for a moment of the run, by their number in a plugin's table.
enum class PluginMoment : unsigned {
    ResumeDevices = 9,      ///< restore: a task is complete and about to run
    PauseDevices = 10,      ///< dump: a task runs still
    CheckpointDevices = 11, ///< dump: a task is stopped
    PostForking = 12,       ///< restore: the root task was forked; no task
    RestoreInit = 13,       ///< restore: before anything is made; no task
    DumpDevicesLate = 14,   ///< dump: a task's images are complete
};

/// The plugins of one run. Only one such object may exist at a time: what plugins call back has no other way to the
/// run than through the process.
class Plugins {
public:
    enum class Stage { Dump = 0, PreDump = 1, Restore = 2 }; // CRIU's numbers

    struct Settings {
        std::string directory; ///< empty: there are none
        bool required = false; ///< a library that cannot be loaded is an error, not only a warning
        Stage stage = Stage::Dump;
        int images_dir_fd = -1;          ///< for criu_get_image_dir()
        std::vector<std::string> needed; ///< restore: the plugins that took part in the dump
    };

    Plugins() = default; ///< none
    /// Loads every *.so of the directory, in the order of their names, and starts it.
    /// Errors: System, with the library's name, if one cannot be loaded or refuses to start; Unsupported if a needed
    /// one is not there.
    static base::Result<Plugins> load(const Settings &settings, base::Log &log);

    Plugins(Plugins &&other) noexcept;
    Plugins &operator=(Plugins &&) = delete;
    /// Ends them: as after a failure, unless succeeded() was called.
    ~Plugins();
    void succeeded() { result_ = 0; }
    /// Another process goes on with them: they are not ended here.
    void leave_to_other();

    bool has_unix_hook() const;
    bool has(PluginMoment moment) const;
    /// Names of the plugins that a restore will need.
    std::vector<std::string> needed() const;

    // Each asks the plugins in turn until one feels responsible. Errors: System, with the plugin's name.

    /// Whether one has saved the file behind the descriptor, under the id.
    base::Result<bool> dump_file(int fd, uint32_t id) const;
    /// The same of a unix socket whose peer is outside of the tree, by its inode.
    base::Result<bool> dump_unix_socket(int fd, uint32_t inode) const;

    struct File {
        base::UniqueFd fd;      ///< none: no plugin knows the id, or
        bool try_again = false; ///< one does, but needs other files to be open before
    };
    base::Result<File> restore_file(uint32_t id) const;
    base::Result<base::UniqueFd> restore_unix_socket(uint32_t inode) const;

    /// Tells all of them. `task` is ignored at moments without one.
    base::Result<void> tell(PluginMoment moment, base::Pid task) const;

private:
    struct Library;
    template <class Hook, class... Args> base::Result<int> ask(unsigned number, Args... args) const;

    Stage stage_ = Stage::Dump;
    int result_ = -1;
    std::vector<Library> libraries_;
};

} // namespace kernel
