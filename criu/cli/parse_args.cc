#include "criu/cli/parse_args.hh"

#include <algorithm>
#include <fmt/format.h>

namespace cli {

namespace {

std::unexpected<base::Error> bad_usage(std::string text) {
    return base::fail(base::ErrorKind::Usage, std::move(text));
}

const OptionRow *find_letter(char letter) {
    for (const OptionRow &row : option_table())
        if (row.letter == letter)
            return &row;
    return nullptr;
}

struct Candidate {
    std::string name;
    NameMatch match;
};

/// Every name that begins with `prefix`, `no-` forms included.
std::vector<Candidate> candidates(std::string_view prefix) {
    std::vector<Candidate> out;
    for (const OptionRow &row : option_table()) {
        if (row.extension ? row.name == prefix : row.name.starts_with(prefix))
            out.push_back({std::string(row.name), {&row, true}});
        std::string negated = fmt::format("no-{}", row.name);
        if (row.negatable && negated.starts_with(prefix))
            out.push_back({std::move(negated), {&row, false}});
    }
    return out;
}

class Parser {
public:
    explicit Parser(std::span<const std::string> args) : args_(args) {}

    Result<Arguments> run() {
        while (next_ < args_.size()) {
            std::string_view arg = args_[next_++];
            if (arg == "--") {
                for (; next_ < args_.size(); ++next_)
                    out_.positional.push_back(args_[next_]);
            } else if (arg.starts_with("--")) {
                TRY(long_option(arg.substr(2)));
            } else if (arg.size() > 1 && arg[0] == '-') {
                TRY(short_options(arg.substr(1)));
            } else {
                out_.positional.emplace_back(arg);
            }
        }
        return std::move(out_);
    }

private:
    Result<std::string> following(std::string_view spelling) {
        if (next_ == args_.size())
            return bad_usage(fmt::format("option '{}' requires an argument", spelling));
        return args_[next_++];
    }

    Result<void> long_option(std::string_view text) {
        size_t equals = text.find('=');
        NameMatch match = TRY(match_name(text.substr(0, equals)));
        Occurrence given{match.row, match.on, {}, fmt::format("--{}{}", match.on ? "" : "no-", match.row->name)};
        if (equals != std::string_view::npos) {
            if (match.row->arg == Arg::None)
                return bad_usage(fmt::format("option '{}' doesn't allow an argument", given.spelling));
            given.value = text.substr(equals + 1);
        } else if (match.row->arg == Arg::Required) {
            given.value = TRY(following(given.spelling));
        }
        out_.options.push_back(std::move(given));
        return {};
    }

    Result<void> short_options(std::string_view letters) {
        while (!letters.empty()) {
            char letter = letters.front();
            letters.remove_prefix(1);
            const OptionRow *row = find_letter(letter);
            if (!row)
                return bad_usage(fmt::format("invalid option -- '{}'", letter));
            Occurrence given{row, true, {}, fmt::format("-{}", letter)};
            if (row->arg != Arg::None && !letters.empty()) {
                given.value = letters;
                letters = {};
            } else if (row->arg == Arg::Required) {
                given.value = TRY(following(given.spelling));
            }
            out_.options.push_back(std::move(given));
        }
        return {};
    }

    std::span<const std::string> args_;
    size_t next_ = 0;
    Arguments out_;
};

} // namespace

Result<NameMatch> match_name(std::string_view name) {
    std::vector<Candidate> found = candidates(name);
    if (name == "pid") // and not the file for one
        return base::fail(std::move(
            base::Error(base::ErrorKind::Usage, "there is no option --pid").hint("a process is given with -t PID")));
    if (name.empty() || found.empty())
        return bad_usage(fmt::format("unrecognized option '--{}'", name));
    auto exact = std::ranges::find(found, name, &Candidate::name);
    if (exact != found.end())
        return exact->match;
    if (found.size() == 1)
        return found.front().match;
    std::string names;
    for (const Candidate &candidate : found)
        names += fmt::format(" '--{}'", candidate.name);
    return bad_usage(fmt::format("option '--{}' is ambiguous; possibilities:{}", name, names));
}

Result<Arguments> parse_args(std::span<const std::string> args) {
    return Parser(args).run();
}

Result<void> apply(Options &options, const Occurrence &occurrence) {
    const OptionRow &row = *occurrence.row;
    switch (row.support) {
    case Support::Later:
        return base::unsupported(fmt::format("{} is not supported yet: {}", occurrence.spelling, row.reason));
    case Support::Removed:
        return bad_usage(fmt::format("{}: {}", occurrence.spelling, row.reason));
    case Support::Now:
        break;
    }
    return row.set(options, Given{occurrence.spelling, occurrence.value, occurrence.on});
}

} // namespace cli
