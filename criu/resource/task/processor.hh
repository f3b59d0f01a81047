// The processor that a tree runs on: cpuinfo.img (`cpuinfo dump`, `dump --cpu-cap`), and whether another one will do.
//
// What the registers of a task hold is looked at without it (registers.hh). This is about instructions that a program
// has found out about and uses at some later time: no dump can see them.
#pragma once

#include "cpuinfo.pb.h"
#include "criu/image/image_dir.hh"
#include "criu/image/image_writer.hh"
#include "criu/resource/task/processor_care.hh"

#include <string>
#include <vector>

namespace resource {

using base::Result;

/// By CPUID and XGETBV of the processor at hand.
img::cpuinfo_entry this_processor();

/// Names, as in /proc/cpuinfo, of instruction sets of `saved` that `here` lacks.
std::vector<std::string> missing_instructions(const img::cpuinfo_x86_entry &saved, const img::cpuinfo_x86_entry &here);

/// Errors: Unsupported, naming what differs and the option that goes on without; BadImage for what is no processor.
Result<void> compare_processors(const img::cpuinfo_entry &saved, const img::cpuinfo_entry &here, ProcessorCare care);

Result<void> write_processor(image::ImageDirWriter &images);
/// Compares cpuinfo.img with the processor at hand. False: there is no such image.
Result<bool> check_processor(const image::ImageDir &images, ProcessorCare care);

} // namespace resource
