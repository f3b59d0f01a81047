#include "criu/parse/io_uring.hh"

#include "criu/parse/scan.hh"

namespace parse {
namespace {

/// Lists follow a line of their own; what is in them is indented.
enum class List : uint8_t { None, Files, Buffers, Polls, Overflows, Other };

bool take_number(Scan &line, std::string_view key, auto &value) {
    return line.take(key) && line.blanks() && line.dec(value);
}
bool take_hex(Scan &line, std::string_view key, auto &value) {
    return line.take(key) && line.blanks() && line.take("0x") && line.hex(value);
}

bool scan_buffer(Scan line, IoUringInfo &out) {
    uint32_t index = 0;
    IoUringBuffer &buffer = out.buffers.emplace_back();
    if (!line.blanks() || !line.dec(index) || !line.take(':') || !line.blanks())
        return false;
    if (line.take("<none>"))
        return true;
    return line.take("0x") && line.hex(buffer.address) && line.take('/') && line.dec(buffer.length);
}

bool scan_list_entry(std::string_view line, List list, IoUringInfo &out) {
    if (list == List::Buffers)
        return scan_buffer(Scan(line), out);
    out.polls += list == List::Polls;
    out.overflows += list == List::Overflows;
    return true;
}

/// The list that the line starts; None if it is no start of one.
List list_of(std::string_view line) {
    Scan scan(line);
    if (scan.take("UserFiles:"))
        return List::Files;
    if (scan.take("UserBufs:"))
        return List::Buffers;
    if (scan.take("PollList:"))
        return List::Polls;
    if (scan.take("CqOverflowList:"))
        return List::Overflows;
    return List::None;
}

void scan_value(std::string_view text, IoUringInfo &out) {
    Scan line(text);
    // Lines of other kernels are none of ours.
    (void)(take_hex(line, "SqMask:", out.sq_mask) || take_hex(line, "CqMask:", out.cq_mask) ||
           take_number(line, "SqTail:", out.sq_tail) || take_number(line, "CachedSqHead:", out.submitted) ||
           take_number(line, "CachedCqTail:", out.completed) || take_number(line, "SqThread:", out.thread) ||
           take_number(line, "SqThreadCpu:", out.thread_cpu) || take_number(line, "UserFiles:", out.files));
    out.personalities |= text.starts_with("Personalities:");
}

} // namespace

Result<IoUringInfo> parse_io_uring(std::span<const std::string> lines) {
    IoUringInfo info;
    List list = List::None;
    for (size_t i = 0; i < lines.size(); i++) {
        const std::string &line = lines[i];
        if (line.starts_with(' ') || line.starts_with('\t')) {
            if (!scan_list_entry(line, list, info))
                return malformed("fdinfo of io_uring", i + 1, line);
            continue;
        }
        list = list_of(line);
        scan_value(line, info);
    }
    return info;
}

} // namespace parse
