/* <signal.h> has a BSD leftover, a macro called sigmask; signalfd_entry has a field of this name. Included before all else. */
#include <signal.h>
#undef sigmask
