// What people and shells are told about the tables of option_table.hh.
#pragma once

#include <string>
#include <string_view>

namespace cli {

std::string short_usage();
std::string full_help();
/// What concerns one command, and what concerns all.
std::string help_of(std::string_view command);
/// criu(8) as roff. Documentation/criu.8 is this text; a test compares them.
std::string man_page();
std::string bash_completion();

} // namespace cli
