// Incremental dumps: which pages need not be written again, and how the next dump will know.
#pragma once

#include "criu/engine/dump/memory.hh"
#include "criu/engine/dump/parent_images.hh"
#include "criu/engine/dump/pidfd_store.hh"
#include "criu/engine/tracking/notes.hh"

namespace dump {

class Increments {
public:
    /// Before the tree is stopped. Errors: Usage (ParentImages::open).
    static Result<Increments> open(const engine::DumpRequest &request, base::Log &log);

    /// Right after the facts are known: memory that is write-protected for us, and nobody else, looks as it would
    /// without.
    void settle(std::vector<tree::TaskFacts> &tasks);

    /// Forgets processes that are not in the tree any more.
    void prune(const std::vector<tree::TaskFacts> &tasks);

    /// Lets a scan of the task's pages tell what is clean.
    void prepare(pages::PageScanner &scanner) const { scanner.read_notes(notes_.way()); }
    /// Has the kernel note writes for this dump alone, from arm() on. Errors: Unsupported where it cannot, or where
    /// the notes are those between dumps.
    Result<void> note_for_snapshot();
    bool notes_writes_of(const tree::TaskFacts &task) const { return notes_.uffd_of(tracking::identity_of(task)) >= 0; }
    /// Mappings of the task that were under our protection since its notes were last taken.
    std::vector<pages::Extent> watched(const tree::TaskFacts &task) const;
    /// Of the pages found, those that are unchanged since the images before, and are there.
    std::vector<pages::Extent> unchanged(const tree::TaskFacts &task, const std::vector<pages::Extent> &clean) const;
    /// How a stopped task is entered, where that is needed.
    using Enter = std::function<Result<compel::Injection *>()>;
    /// Has the kernel note writes to the task from take_written() on; the task is stopped.
    Result<void> arm(const tree::TaskFacts &task, const pages::PageScanner &scanner, const Enter &enter);
    /// Marks these in `runs`; where writes are to be noted from now on, has that begin. The task is stopped.
    Result<void> apply(const tree::TaskFacts &task, pages::PageScanner &scanner, compel::Injection &agent,
                       PageRuns &runs);
    /// Notes which processes these are, for the next round of the same client.
    void keep_pidfds(const std::vector<tree::TaskFacts> &tasks);
    /// The images are complete, and in use from now on: drops from those before what they hold themselves.
    void drop_superseded(int images_dir_fd) const;

    const ParentImages &parent() const { return parent_; }
    ParentImages &parent() { return parent_; }
    tracking::Notes &notes() { return notes_; }
    bool tracks() const { return tracks_ && notes_.way() != pages::Notes::None; }
    /// Whether the notes of writes are read or taken by this dump.
    bool uses_notes() const { return parent_ || tracks(); }
    bool tracks_shared() const { return compares_shared_; }
    bool compares_shared() const { return compares_shared_ && parent_; }

private:
    Increments(ParentImages parent, tracking::Notes notes, base::Log &log)
        : parent_(std::move(parent)), notes_(std::move(notes)), log_(&log) {}
    bool parent_knows(const tree::TaskFacts &task) const;
    Result<int> uffd_for(const tree::TaskFacts &task, const Enter &enter);

    ParentImages parent_;
    tracking::Notes notes_;
    std::optional<PidfdStore> pidfds_;
    base::Log *log_;
    bool tracks_ = false, compares_shared_ = false, drops_ = false;
    bool taking_ = false;
    std::map<base::Pid, std::vector<pages::Extent>> known_; ///< mappings that were protected all the time
};

} // namespace dump
