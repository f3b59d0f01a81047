// Precompiled for the layers that see image messages: parsing the generated headers took four fifths of the time of
// their sources (Documentation/performance.md). A source still names what it uses.
#include "images/no_sigmask.h"

#include <net/if.h> // has to come before <linux/if.h>, also where several sources are compiled together

#include "criu/pch/plain.hh"

#include "criu/resource/file/file.hh"
#include "criu/resource/resource.hh"
#include "images_pb.hh"
