// Precompiled for the layers that see no image messages (compel, kernel, parse, tree): what most of their sources
// include anyway. A source still names what it uses; this only saves reading it again (Documentation/performance.md).
#include "base/log.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"

#include <algorithm>
#include <fmt/format.h>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>
