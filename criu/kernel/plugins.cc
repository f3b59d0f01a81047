#include "criu/kernel/plugins.hh"

#include "criu/kernel/plugin_callbacks.hh"

#include <algorithm>
#include <cerrno>
#include <dlfcn.h>
#include <filesystem>
#include <fmt/format.h>
#include <sys/stat.h>
#include <utility>

namespace kernel {
namespace {

enum HookNumber : unsigned { kDumpUnixSocket = 0, kRestoreUnixSocket = 1, kDumpFile = 2, kRestoreFile = 3 };

/// cr_plugin_desc_t. The hooks follow it; how many there are depends on the version that the plugin was built for.
struct Descriptor {
    const char *name;
    int (*init)(int stage);
    void (*exit)(int stage, int result);
    unsigned version, max_hooks;
};

constexpr unsigned version(unsigned major, unsigned minor) {
    return (major << 16) + (minor << 8);
}
constexpr unsigned kVersion = version(0, 2);

std::vector<std::filesystem::path> libraries_in(const std::string &directory) {
    std::vector<std::filesystem::path> found;
    std::error_code error;
    for (auto &entry : std::filesystem::directory_iterator(directory, error))
        if (entry.path().extension() == ".so")
            found.push_back(entry.path());
    std::ranges::sort(found);
    return found;
}

base::Error failed(const Descriptor &plugin, int result, const char *what) {
    return base::Error::sys(-result, fmt::format("plugin {}: {}", plugin.name, what));
}

} // namespace

struct Plugins::Library {
    struct Close {
        void operator()(void *handle) const { dlclose(handle); }
    };
    std::unique_ptr<void, Close> handle;
    const Descriptor *plugin = nullptr;

    void *hook(unsigned number) const {
        return number < plugin->max_hooks ? reinterpret_cast<void *const *>(plugin + 1)[number] : nullptr;
    }

    static base::Result<Library> open(const std::filesystem::path &path) {
        // Lazily, as CRIU does: a plugin may mention functions that it does not need here.
        Library library{.handle = std::unique_ptr<void, Close>(dlopen(path.c_str(), RTLD_LAZY))};
        if (!library.handle)
            return base::fail(base::ErrorKind::System, fmt::format("load plugin: {}", dlerror()));
        library.plugin = static_cast<const Descriptor *>(dlsym(library.handle.get(), "CR_PLUGIN_DESC"));
        if (!library.plugin || !library.plugin->name)
            return base::unsupported(
                fmt::format("{} is no plugin of version 0.2 (it has no CR_PLUGIN_DESC)", path.c_str()));
        if (library.plugin->version > kVersion)
            return base::unsupported(fmt::format("plugin {} was built for a later version of the interface ({:#x})",
                                                 library.plugin->name, library.plugin->version));
        return library;
    }
};

base::Result<Plugins> Plugins::load(const Settings &settings, base::Log &log) {
    Plugins plugins;
    plugins.stage_ = settings.stage;
    plugin_callbacks::begin(settings.images_dir_fd, log, settings.needed);
    if (settings.directory.empty())
        return plugins;
    struct stat there {};
    if (settings.required && stat(settings.directory.c_str(), &there) != 0)
        return base::fail_sys(fmt::format("plugins in {}", settings.directory));
    for (const auto &path : libraries_in(settings.directory)) {
        auto library = Library::open(path);
        if (!library && !settings.required) {
            log.warn(fmt::format("{}; it is left out", library.error().message()));
            continue;
        }
        if (!library)
            return base::fail(std::move(library).error());
        if (library->plugin->init)
            if (int result = library->plugin->init(static_cast<int>(settings.stage)))
                return base::fail(failed(*library->plugin, result, "it refuses to start"));
        log.debug(fmt::format("plugin {} is there ({})", library->plugin->name, path.c_str()));
        plugins.libraries_.push_back(std::move(*library));
    }
    for (const std::string &name : plugin_callbacks::needed())
        if (settings.stage == Stage::Restore &&
            std::ranges::none_of(plugins.libraries_, [&](const Library &l) { return l.plugin->name == name; }))
            return base::fail(base::Error(base::ErrorKind::Unsupported,
                                          fmt::format("the dump was made with the plugin {}, which is not in {}", name,
                                                      settings.directory))
                                  .hint("say where it is with -L"));
    return plugins;
}

Plugins::Plugins(Plugins &&other) noexcept
    : stage_(other.stage_), result_(other.result_), libraries_(std::exchange(other.libraries_, {})) {}

Plugins::~Plugins() {
    for (const Library &library : libraries_)
        if (library.plugin->exit)
            library.plugin->exit(static_cast<int>(stage_), result_);
}

void Plugins::leave_to_other() {
    libraries_.clear();
}

bool Plugins::has_unix_hook() const {
    return std::ranges::any_of(libraries_, [](const Library &library) { return library.hook(kDumpUnixSocket); });
}

bool Plugins::has(PluginMoment moment) const {
    return std::ranges::any_of(libraries_,
                               [&](const Library &library) { return library.hook(static_cast<unsigned>(moment)); });
}

std::vector<std::string> Plugins::needed() const {
    return plugin_callbacks::needed();
}

/// The first answer that is not -ENOTSUP; that if nobody has another.
template <class Hook, class... Args> base::Result<int> Plugins::ask(unsigned number, Args... args) const {
    for (const Library &library : libraries_) {
        auto hook = reinterpret_cast<Hook>(library.hook(number));
        const int answer = hook ? hook(args...) : -ENOTSUP;
        if (answer == -ENOTSUP)
            continue;
        if (answer < 0)
            return base::fail(failed(*library.plugin, answer, fmt::format("hook {}", number).c_str()));
        return answer;
    }
    return -ENOTSUP;
}

base::Result<bool> Plugins::dump_file(int fd, uint32_t id) const {
    return TRY(ask<int (*)(int, int)>(kDumpFile, fd, static_cast<int>(id))) >= 0;
}

base::Result<bool> Plugins::dump_unix_socket(int fd, uint32_t inode) const {
    return TRY(ask<int (*)(int, int)>(kDumpUnixSocket, fd, static_cast<int>(inode))) >= 0;
}

base::Result<Plugins::File> Plugins::restore_file(uint32_t id) const {
    bool again = false; // plugins from before CRIU 4.0 do not know of it
    const int fd = TRY((ask<int (*)(int, bool *)>(kRestoreFile, static_cast<int>(id), &again)));
    if (again)
        return File{.fd = {}, .try_again = true};
    return File{.fd = base::UniqueFd(std::max(fd, -1))};
}

base::Result<base::UniqueFd> Plugins::restore_unix_socket(uint32_t inode) const {
    return base::UniqueFd(std::max(TRY(ask<int (*)(int)>(kRestoreUnixSocket, static_cast<int>(inode))), -1));
}

base::Result<void> Plugins::tell(PluginMoment moment, base::Pid task) const {
    for (const Library &library : libraries_) {
        auto hook = reinterpret_cast<int (*)(int)>(library.hook(static_cast<unsigned>(moment)));
        const int answer = hook ? hook(task.value) : 0;
        if (answer < 0 && answer != -ENOTSUP)
            return base::fail(
                failed(*library.plugin, answer,
                       fmt::format("hook {}, task {}", static_cast<unsigned>(moment), task.value).c_str()));
    }
    return {};
}

} // namespace kernel
