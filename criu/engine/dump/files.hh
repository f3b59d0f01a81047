// All open files of the tree: each description once, and which descriptor of which task leads to it.
#pragma once

#include "criu/engine/dump/table_reader.hh"
#include "criu/resource/file/file.hh"
#include "criu/tree/facts.hh"

namespace dump {

using base::FileId;
using base::Pid;
using base::Result;

/// A table of descriptors (SharedIds::files), through any task or thread that has it.
struct TableOwner {
    Pid holder; ///< the process
    Pid voice;  ///< a thread of it that has the table
    std::span<const int> fds;
    uint32_t id;
};

/// Collects descriptions as tasks are visited, and writes files.img and fdinfo-N.img.
class FileTable {
public:
    /// Lends `context` the way to dump what is found inside of other files: it must not outlive the table.
    explicit FileTable(resource::FileDumpContext &context);

    /// `close_on_exec` tells the flag of each descriptor, in the order of owner.fds.
    Result<void> add_table(const TableOwner &owner, const std::vector<bool> &close_on_exec);
    /// A file that is open in no descriptor: a mapping, the program, the working directory. `path` opens it, through
    /// /proc; the same file in the same mode is written once for the whole tree.
    /// `link`: what the file is called in the tree, where `path` does not say so as a link of /proc does.
    Result<FileId> add_path(const tree::TaskFacts &task, const std::string &path, int flags, std::string link = {});
    /// The path by which the tool gets to a file that a task calls by a name, if it is the one of that number.
    std::optional<std::string> find_path_of(const tree::TaskFacts &task, const std::string &name, uint64_t device,
                                            uint64_t inode) const;
    /// What is open on that inode in a table added so far.
    std::optional<FileId> find_open(uint64_t device, uint64_t inode) const;
    /// All tables are added: lets every kind look whether something is missing.
    Result<void> finish();

private:
    struct Known {
        FileId id;
        img::fd_types type;
        Pid holder; ///< a task, or ourselves for a description that was found in a queue
        Pid voice;  ///< a thread of it
        int number;
    };
    struct Key {
        uint64_t device, inode, mode;
        uint64_t object =
            0; ///< what the kernel calls it, where many objects share one inode and it has a name for each
        auto operator<=>(const Key &) const = default;
    };
    static Result<Key> key_of(const FileReader &reader, resource::OpenFile &file);
    Result<Known> find_or_dump(const FileReader &reader, resource::OpenFile file);
    Result<FileId> add_passed(base::UniqueFd fd);
    static Result<const resource::FileKind *> kind_of(const resource::OpenFile &file);
    Result<void> refuse_all(base::Error first, const TableOwner &owner, int number);
    void look_for_refusals(const tree::TaskFacts &task, const TableOwner &owner, size_t from);
    Result<bool> by_plugin(const resource::OpenFile &file);
    Result<void> dump(const resource::FileKind &kind, const resource::OpenFile &file);
    Result<void> look_from(const resource::OpenFile &file);

    resource::FileDumpContext *context_;
    std::map<Key, std::vector<Known>> descriptions_; ///< each vector in kcmp order
    std::map<Key, FileId> paths_;
    std::map<std::pair<uint64_t, uint64_t>, FileId> leased_; ///< by device and inode: descriptions with a lease
    std::set<uint32_t> late_;           ///< ids of files that a restore opens last, in a task that has them
    std::optional<FileReader> our_own_; ///< of files that were found on their way
    std::vector<base::UniqueFd> kept_;  ///< passed descriptions, held for comparison
};

} // namespace dump
