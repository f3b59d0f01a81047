// The small hand-written scanner under all parsers of kernel text. It never reads past its view, numbers are checked
// for overflow, and nothing allocates: a maps file of 50000 lines is parsed in milliseconds.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace parse {

class Scan {
public:
    explicit Scan(std::string_view text) : rest_(text) {}

    bool at_end() const { return rest_.empty(); }
    std::string_view rest() const { return rest_; }

    /// Takes `expected` off the front, or leaves everything as it is.
    bool take(char expected) {
        if (rest_.empty() || rest_.front() != expected)
            return false;
        rest_.remove_prefix(1);
        return true;
    }
    bool take(std::string_view expected) {
        if (!rest_.starts_with(expected))
            return false;
        rest_.remove_prefix(expected.size());
        return true;
    }

    /// Skips blanks and tabs; always true, so that it fits into a chain of &&.
    bool blanks() {
        size_t n = 0;
        while (n < rest_.size() && (rest_[n] == ' ' || rest_[n] == '\t'))
            ++n;
        rest_.remove_prefix(n);
        return true;
    }

    /// A number in `base` without prefix that fits into T.
    template <std::integral T> bool number(T &out, int base) {
        auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), out, base);
        if (error != std::errc{})
            return false;
        rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
        return true;
    }
    template <std::integral T> bool dec(T &out) { return number(out, 10); }
    template <std::integral T> bool hex(T &out) { return number(out, 16); }
    template <std::integral T> bool oct(T &out) { return number(out, 8); }

    /// Bytes up to the next blank, tab or end.
    std::string_view word() { return cut(rest_.find_first_of(" \t")); }
    /// Bytes up to the next `stop`, or everything; `stop` stays.
    std::string_view until(char stop) { return cut(rest_.find(stop)); }

private:
    std::string_view cut(size_t n) {
        std::string_view head = rest_.substr(0, n);
        rest_.remove_prefix(head.size());
        return head;
    }

    std::string_view rest_;
};

/// Walks over lines and knows their number, for messages.
class Lines {
public:
    explicit Lines(std::string_view text) : rest_(text) {}

    /// The next line without its newline; false at the end.
    bool next(std::string_view &line) {
        if (rest_.empty())
            return false;
        size_t n = rest_.find('\n');
        line = rest_.substr(0, n);
        rest_.remove_prefix(n == std::string_view::npos ? rest_.size() : n + 1);
        ++number_;
        return true;
    }
    size_t number() const { return number_; }

private:
    std::string_view rest_;
    size_t number_ = 0;
};

/// Undoes the kernel's `\ooo` escapes. With `only` set, just that one byte was escaped: /proc/PID/maps escapes a
/// newline but not the backslash itself.
std::string unescape_octal(std::string_view text, char only = '\0');

} // namespace parse
