#include "criu/kernel/plugin_callbacks.hh"

#include <algorithm>
#include <cstdarg>
#include <cstring>
#include <string_view>

namespace kernel::plugin_callbacks {
namespace {

struct Run {
    int images_dir_fd = -1;
    base::Log *log = nullptr;
    std::vector<std::string> needed;
};

Run &run() {
    static Run only;
    return only;
}

void write_line(unsigned level, std::string_view text) {
    if (!run().log)
        return;
    base::Log &log = *run().log;
    switch (static_cast<base::LogLevel>(level)) {
    case base::LogLevel::None:
    case base::LogLevel::Error:
        return log.error(text);
    case base::LogLevel::Warn:
        return log.warn(text);
    case base::LogLevel::Info:
        return log.info(text);
    case base::LogLevel::Debug:
        return log.debug(text);
    }
}

} // namespace

void begin(int images_dir_fd, base::Log &log, std::vector<std::string> needed) {
    run() = {images_dir_fd, &log, std::move(needed)};
}

std::vector<std::string> needed() {
    return run().needed;
}

} // namespace kernel::plugin_callbacks

using kernel::plugin_callbacks::run;

extern "C" {

int criu_get_image_dir() {
    return run().images_dir_fd;
}

void print_on_level(unsigned level, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    std::string_view line(text, std::min(sizeof text - 1, static_cast<size_t>(std::max(length, 0))));
    line = line.substr(0, line.find_last_not_of('\n') + 1);
    kernel::plugin_callbacks::write_line(level, line);
}

int add_inventory_plugin(const char *name) {
    auto &names = run().needed;
    if (std::ranges::find(names, name) == names.end())
        names.emplace_back(name);
    return 0;
}

int check_and_remove_inventory_plugin(const char *name, size_t length) {
    return std::erase(run().needed, std::string(name, strnlen(name, length))) ? 0 : -1;
}
}
