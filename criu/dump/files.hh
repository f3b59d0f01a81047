// All open files of the tree: each description once, and which descriptor of which task leads to it.
#pragma once

#include "criu/resource/file/file.hh"
#include "criu/tree/facts.hh"

namespace dump {

using base::FileId;
using base::Pid;
using base::Result;

/// Collects descriptions as tasks are visited, and writes files.img and fdinfo-N.img.
class FileTable {
public:
    explicit FileTable(resource::FileDumpContext &context) : context_(&context) {}

    /// The descriptors of one table (ids.files), through any task that has it.
    /// `close_on_exec` tells the flag of each descriptor, in the order of task.fds.
    Result<void> add_table(const tree::TaskFacts &task, const std::vector<bool> &close_on_exec);
    /// A file that is open in no descriptor: a mapping, the program, the working directory. `path` opens it, through
    /// /proc; the same file in the same mode is written once for the whole tree.
    Result<FileId> add_path(const tree::TaskFacts &task, const std::string &path, int flags);

private:
    struct Known {
        FileId id;
        img::fd_types type;
        Pid holder;
        int number;
    };
    struct Key {
        uint64_t device, inode, mode;
        auto operator<=>(const Key &) const = default;
    };
    Result<const Known *> find_or_dump(const tree::TaskFacts &task, int number);
    Result<Known> dump(resource::OpenFile file);

    resource::FileDumpContext *context_;
    std::map<Key, std::vector<Known>> descriptions_; ///< each vector in kcmp order
    std::map<Key, FileId> paths_;
    std::map<Pid, base::UniqueFd> pidfds_;
};

} // namespace dump
