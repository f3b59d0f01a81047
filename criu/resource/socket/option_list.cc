#include "criu/resource/socket/option_list.hh"

#include <fmt/format.h>
#include <string>
#include <sys/socket.h>

namespace resource {
namespace {

constexpr unsigned kMaxBytes = 512;

bool is_number(const SocketOption &option) {
    return option.bytes <= sizeof(int64_t);
}

int64_t number_of(const char *buffer, socklen_t length) {
    int64_t wide = 0;
    int32_t narrow = 0;
    if (length >= sizeof wide) {
        memcpy(&wide, buffer, sizeof wide);
        return wide;
    }
    memcpy(&narrow, buffer, std::min<size_t>(length, sizeof narrow));
    return narrow;
}

bool all_zero(const char *buffer, socklen_t length) {
    return std::all_of(buffer, buffer + length, [](char byte) { return byte == 0; });
}

const SocketOption *find(std::span<const SocketOption> table, const img::ext_socket_option &entry) {
    for (const SocketOption &option : table)
        if (option.level == static_cast<int>(entry.level()) && option.name == static_cast<int>(entry.name()))
            return &option;
    return nullptr;
}

Result<void> set(int fd, const SocketOption &option, const img::ext_socket_option &entry) {
    const int64_t wide = entry.value();
    const auto narrow = static_cast<int32_t>(wide);
    const void *data = option.bytes == sizeof wide ? static_cast<const void *>(&wide) : &narrow;
    size_t length = option.bytes;
    if (!is_number(option)) {
        data = entry.data().data(), length = entry.data().size();
        if (length > option.bytes)
            return base::bad_image(fmt::format("{} has {} bytes", option.text, length));
    }
    if (setsockopt(fd, option.level, option.name, data, static_cast<socklen_t>(length)) < 0 && !option.lenient)
        return base::fail_sys(fmt::format("set {}", option.text));
    return {};
}

} // namespace

Result<void> dump_option_list(int fd, std::span<const SocketOption> table, OptionList *list) {
    for (const SocketOption &option : table) {
        char buffer[kMaxBytes];
        auto length = static_cast<socklen_t>(std::min(option.bytes, kMaxBytes));
        if (getsockopt(fd, option.level, option.name, buffer, &length) < 0)
            continue; // not of this kind of socket, or not in this kernel
        if (is_number(option) ? number_of(buffer, length) == option.initial : all_zero(buffer, length))
            continue;
        img::ext_socket_option *entry = list->Add();
        entry->set_level(static_cast<uint32_t>(option.level));
        entry->set_name(static_cast<uint32_t>(option.name));
        if (is_number(option))
            entry->set_value(number_of(buffer, length));
        else
            entry->set_data(buffer, length);
    }
    return {};
}

Result<void> restore_option_list(int fd, std::span<const SocketOption> table, const OptionList &list,
                                 OptionPhase phase) {
    for (const img::ext_socket_option &entry : list)
        if (!find(table, entry))
            return base::bad_image(fmt::format("an unknown socket option ({}, {})", entry.level(), entry.name()));
    if (list.empty())
        return {};
    for (const SocketOption &option : table) {
        if (option.early != (phase == OptionPhase::Early))
            continue;
        for (const img::ext_socket_option &entry : list)
            if (find(table, entry) == &option)
                TRY(set(fd, option, entry));
    }
    return {};
}

int get_int_option(int fd, int level, int name, int *value) {
    socklen_t length = sizeof *value;
    *value = 0;
    return getsockopt(fd, level, name, value, &length);
}

int int_option(int fd, int level, int name, int otherwise) {
    int value = otherwise;
    return get_int_option(fd, level, name, &value) < 0 ? otherwise : value;
}

Result<void> set_int_option(int fd, int level, int name, int value, const char *text) {
    if (setsockopt(fd, level, name, &value, sizeof value) < 0)
        return base::fail_sys(fmt::format("set {}", text));
    return {};
}

} // namespace resource
