// criu: which engine stands behind which command. Everything else about the start is in criu/cli.

#include "criu/cli/program.hh"
#include "criu/crit/crit.hh"
#include "criu/engine/check/tree.hh"
#include "criu/engine/dump/dump.hh"
#include "criu/engine/images/merge.hh"
#include "criu/engine/images/verify.hh"
#include "criu/engine/lazy/lazy_pages.hh"
#include "criu/engine/migrate/migrate.hh"
#include "criu/engine/page_server/page_server.hh"
#include "criu/engine/pre_dump/pre_dump.hh"
#include "criu/engine/restore/restore.hh"
#include "criu/engine/tracking/notes.hh"
#include "criu/kernel/stack_room.hh"
#include "criu/pages/dedup.hh"
#include "criu/resource/task/processor_care.hh"
#include "criu/service/daemon.hh"
#include "criu/service/worker.hh"

int main(int argc, char **argv) {
    const cli::Engines engines{.dump = dump::run,
                               .pre_dump = pre_dump::run,
                               .untrack = tracking::untrack,
                               .merge = images::merge,
                               .verify = images::verify,
                               .dedup = pages::dedup,
                               .dump_processor = resource::dump_processor,
                               .check_processor = resource::require_processor,
                               .restore = restore::run,
                               .check_tree = check::run_tree,
                               .work = service::work_for_caller,
                               .page_server = page_server::run,
                               .lazy_pages = lazy::run,
                               .migrate = migrate::send,
                               .resume_here = migrate::resume_here,
                               .receive = migrate::receive,
                               .serve = service::serve,
                               .crit = crit::crit_main};
    return kernel::with_stack_room([&] { return cli::program(argc, argv, engines); });
}
