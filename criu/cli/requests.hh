// What the engines are asked for, out of what the user has said.
#pragma once

#include "criu/cli/options.hh"
#include "criu/engine/request.hh"

namespace cli {

engine::DumpRequest dump_request(const Options &options);
engine::PreDumpRequest pre_dump_request(const Options &options);
resource::ProcessorCare processor_care(const Options &options);
engine::RestoreRequest restore_request(const Options &options);
engine::LazyPagesRequest lazy_pages_request(const Options &options);
engine::PageServerRequest page_server_request(const Options &options);
engine::MigrateRequest migrate_request(const Options &options);
engine::ReceiveRequest receive_request(const Options &options);
engine::MergeRequest merge_request(const Options &options);
engine::CheckRequest check_request(const Options &options);

} // namespace cli
