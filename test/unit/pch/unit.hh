// Precompiled for the unit tests.
#include "criu/pch/json.hh"

#include <catch2/catch.hpp>
