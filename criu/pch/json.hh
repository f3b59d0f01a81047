// Precompiled for the sources that see JSON: it costs half a second of each, which the others are spared.
#include "criu/pch/images.hh"

#include <nlohmann/json.hpp>
