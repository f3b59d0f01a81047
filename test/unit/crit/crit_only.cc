// crit as a program of its own, for tests that run it.
#include "criu/crit/crit.hh"

int main(int argc, char **argv) {
    return crit::crit_main(std::span(argv + 1, static_cast<size_t>(argc - 1)));
}
