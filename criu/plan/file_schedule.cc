#include "criu/plan/file_schedule.hh"

#include "criu/resource/mm/vma_status.hh"

#include <algorithm>
#include <fmt/format.h>

namespace plan {
namespace {

using resource::FileKind;

/// Ids of the files that tasks have open, map, run, or are in, and of message queues without a holder.
std::set<uint32_t> needed_files(const Checkpoint &checkpoint) {
    std::set<uint32_t> ids;
    for (const TaskImage &task : checkpoint.tasks) {
        if (task.dead())
            continue;
        for (const img::fdinfo_entry &entry : checkpoint.tables.at(task.ids.files_id()))
            ids.insert(entry.id());
        for (const ThreadImage &thread : task.threads)
            if (own_table(thread))
                for (const img::fdinfo_entry &entry : checkpoint.tables.at(own_table(thread)))
                    ids.insert(entry.id());
        for (const img::vma_entry &vma : task.mm.vmas())
            if (vma.status() & (resource::kVmaFilePrivate | resource::kVmaFileShared | resource::kVmaSocket))
                ids.insert(static_cast<uint32_t>(vma.shmid()));
        ids.insert({task.mm.exe_file_id(), task.fs.cwd_id(), task.fs.root_id()});
        for (const uint32_t id : own_directories(task))
            ids.insert(id);
    }
    // Message queues live on without anybody who has them open.
    for (const auto &[id, file] : checkpoint.files)
        if (file.reg().extension().has_mqueue())
            ids.insert(id);
    return ids;
}

/// Files that have one number wherever they are open, which no other file has anywhere. They can lie there from the
/// beginning.
std::map<uint32_t, int> homes_of(const Checkpoint &checkpoint) {
    std::map<uint32_t, std::optional<uint32_t>> owners; // number -> file; nothing: several
    for (auto &[id, table] : checkpoint.tables)
        for (const img::fdinfo_entry &entry : table)
            if (auto [owner, fresh] = owners.emplace(entry.fd(), entry.id()); !fresh && owner->second != entry.id())
                owner->second.reset();
    std::map<uint32_t, int> homes;
    for (auto &[number, file] : owners)
        if (file)
            homes.emplace(*file, static_cast<int>(number));
    return homes;
}

class Scheduler {
public:
    Scheduler(const Checkpoint &checkpoint, resource::KindStates &states)
        : checkpoint_(checkpoint), images_{checkpoint.images(), checkpoint.files, checkpoint.remaps, states},
          homes_(homes_of(checkpoint)) {}

    /// The file, and what is inside of it.
    Result<void> add(uint32_t id, std::optional<uint32_t> carrier) {
        std::vector<std::pair<uint32_t, std::optional<uint32_t>>> waiting{{id, carrier}};
        while (!waiting.empty()) {
            const auto [next, inside] = waiting.back();
            waiting.pop_back();
            if (!known_.insert(next).second)
                continue;
            const FileStep step = TRY(step_for(next, inside));
            if (resource::is_late(*step.file, checkpoint_.files, checkpoint_.remaps)) {
                schedule_.late.push_back(step);
                continue;
            }
            schedule_.early.push_back(step);
            if (step.kind->carries)
                for (const base::FileId other : TRY_CTX(step.kind->carries(images_, *step.file), describe(step)))
                    waiting.emplace_back(other.value, next);
        }
        return {};
    }

    FileSchedule in_order() && {
        const auto by_number = [](const FileStep &step) { return step.file->id(); };
        std::ranges::sort(schedule_.early, {},
                          [&](const FileStep &step) { return std::pair(step.kind->opening, by_number(step)); });
        std::ranges::sort(schedule_.late, {}, by_number);
        return std::move(schedule_);
    }

private:
    Result<FileStep> step_for(uint32_t id, std::optional<uint32_t> carrier) const {
        const auto file = checkpoint_.files.find(id);
        if (file == checkpoint_.files.end())
            return base::bad_image(
                carrier ? fmt::format("files.img: file {}, which is inside of file {}, is missing", id, *carrier)
                        : fmt::format("files.img: file {} is missing", id));
        FileStep step{.file = &file->second, .carrier = carrier};
        step.kind = TRY(resource::kind_of_entry(*step.file));
        step.place = resource::place_of(*step.file);
        if (const auto home = homes_.find(id); home != homes_.end())
            step.home = home->second;
        return step;
    }

    const Checkpoint &checkpoint_;
    resource::FileImages images_;
    std::map<uint32_t, int> homes_;
    std::set<uint32_t> known_;
    FileSchedule schedule_;
};

} // namespace

Result<FileSchedule> schedule_files(const Checkpoint &checkpoint, resource::KindStates &states) {
    Scheduler scheduler(checkpoint, states);
    for (const uint32_t id : needed_files(checkpoint))
        TRY(scheduler.add(id, std::nullopt));
    return std::move(scheduler).in_order();
}

std::string describe(const FileStep &step) {
    std::string text = fmt::format("file {} ({})", step.file->id(), step.kind->name);
    if (step.place.net)
        text += fmt::format(", network namespace {}", step.place.net);
    if (step.place.ipc)
        text += fmt::format(", ipc namespace {}", step.place.ipc);
    if (step.place.mount)
        text += fmt::format(", mount {}", step.place.mount);
    if (step.home)
        text += fmt::format(", becomes descriptor {}", *step.home);
    if (step.carrier)
        text += fmt::format(", inside of file {}", *step.carrier);
    return text;
}

} // namespace plan
