#include "criu/cli/config.hh"

#include "criu/kernel/io.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <iterator>

namespace cli {

namespace {

constexpr const char *kSystemConfig = "/etc/criu/default.conf";
constexpr const char *kUserConfig = "/.criu/default.conf";

/// Splits one line into words, honouring quotes and comments.
class Words {
public:
    explicit Words(std::string_view line) : rest_(line) {}

    /// The next word; nothing at the end of the line. Errors: Usage for a quote that is not closed.
    Result<std::optional<std::string>> next() {
        size_t start = rest_.find_first_not_of(" \t\r");
        rest_.remove_prefix(start == std::string_view::npos ? rest_.size() : start);
        if (rest_.empty() || rest_.front() == '#')
            return std::nullopt;
        if (rest_.front() == '"')
            return quoted();
        size_t end = rest_.find_first_of(" \t\r#");
        std::string word(rest_.substr(0, end));
        rest_.remove_prefix(word.size());
        return word;
    }

private:
    Result<std::optional<std::string>> quoted() {
        std::string word;
        for (size_t i = 1; i < rest_.size(); ++i) {
            if (rest_[i] == '"') {
                rest_.remove_prefix(i + 1);
                return word;
            }
            if (rest_[i] == '\\' && i + 1 < rest_.size() && rest_[i + 1] == '"')
                ++i;
            word.push_back(rest_[i]);
        }
        return base::fail(base::ErrorKind::Usage, "a quoted value does not end");
    }

    std::string_view rest_;
};

Result<std::optional<Occurrence>> parse_line(std::string_view line) {
    Words words(line);
    auto name = TRY(words.next());
    if (!name)
        return std::nullopt;
    auto value = TRY(words.next());
    if (TRY(words.next()))
        return base::fail(base::ErrorKind::Usage,
                          fmt::format("more than one value for '{}'; put values with blanks in double quotes", *name));
    NameMatch match = TRY(match_name(*name));
    const OptionRow &row = *match.row;
    if (row.name == kHelpOption || row.name == kVersionOption || row.name == kConfigOption ||
        row.name == kNoDefaultConfigOption)
        return base::fail(base::ErrorKind::Usage, fmt::format("'{}' has no place in a configuration file", row.name));
    if (value && row.arg == Arg::None)
        return base::fail(base::ErrorKind::Usage, fmt::format("'{}' takes no value", *name));
    if (!value && row.arg == Arg::Required)
        return base::fail(base::ErrorKind::Usage, fmt::format("'{}' needs a value", *name));
    return Occurrence{match.row, match.on, std::move(value), std::move(*name)};
}

Result<void> append_file(const std::string &path, bool optional, std::vector<Occurrence> &out) {
    auto text = kernel::read_file(AT_FDCWD, path.c_str());
    if (!text) {
        int code = text.error().code();
        // EACCES: $HOME is often still root's after privileges were dropped.
        if (optional && (code == ENOENT || code == ENOTDIR || code == EACCES))
            return {};
        return base::fail(std::move(std::move(text).error().ctx("configuration file")));
    }
    std::vector<Occurrence> options = TRY(parse_config(path, *text));
    out.insert(out.end(), std::move_iterator(options.begin()), std::move_iterator(options.end()));
    return {};
}

} // namespace

Result<std::vector<Occurrence>> parse_config(std::string_view name, std::string_view text) {
    std::vector<Occurrence> out;
    for (size_t number = 1; !text.empty(); ++number) {
        size_t end = text.find('\n');
        std::string where = fmt::format("{}:{}", name, number);
        auto option = TRY_CTX(parse_line(text.substr(0, end)), where);
        if (option) {
            option->spelling = fmt::format("{}: {}", where, option->spelling);
            out.push_back(std::move(*option));
        }
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return out;
}

Result<std::vector<Occurrence>> read_configs(const ConfigSources &sources) {
    std::vector<Occurrence> out;
    if (sources.defaults && sources.explicit_file.empty()) {
        TRY(append_file(kSystemConfig, true, out));
        if (!sources.home.empty())
            TRY(append_file(sources.home + kUserConfig, true, out));
    }
    if (!sources.environment.empty())
        TRY(append_file(sources.environment, false, out));
    if (!sources.explicit_file.empty())
        TRY(append_file(sources.explicit_file, false, out));
    return out;
}

} // namespace cli
