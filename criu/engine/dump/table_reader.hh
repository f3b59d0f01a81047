// What the kernel tells of the descriptors of one table, read ahead of who dumps them.
//
// Printing /proc/PID/fdinfo/N and taking over a descriptor cost the kernel as much as everything else about it. Where a
// table is large another processor does that for the next stretch while this one is being dumped.
#pragma once

#include "criu/resource/file/file.hh"

#include <future>
#include <span>

namespace dump {

using base::Result;

/// A descriptor of the tree, taken over.
struct BorrowedFile {
    base::UniqueFd fd;
    resource::OpenFile file; ///< link and fdinfo may still have to be read: see FileReader
};

/// Reads facts about the descriptors of one task through /proc and its pidfd. Movable; may be used by another thread
/// while nobody else uses it.
class FileReader {
public:
    /// `voice`: a thread of the holder, see tree::TaskFacts.
    static Result<FileReader> open(base::Pid holder, base::Pid voice);

    /// Everything but link and fdinfo. Errors: System(EPERM) without CAP_SYS_PTRACE.
    Result<BorrowedFile> borrow(int number) const;
    /// The rest, of a file of this task or of one that was found on its way to somewhere and is our own.
    Result<void> complete(resource::OpenFile &file) const;
    Result<std::string> fdinfo(int number) const;
    base::Pid holder() const { return holder_; }

private:
    FileReader(base::Pid holder, base::Pid voice) : holder_(holder), voice_(voice) {}
    base::Pid holder_, voice_;
    base::UniqueFd pidfd_;
    base::UniqueFd infos_;     ///< /proc/PID/fdinfo
    base::UniqueFd own_links_; ///< /proc/self/fd
};

/// Hands out a table's files in order.
class TableReader {
public:
    /// Both must outlive the reader.
    TableReader(const FileReader &reader, std::span<const int> numbers);
    ~TableReader();
    TableReader(const TableReader &) = delete;
    TableReader &operator=(const TableReader &) = delete;

    /// The next stretch; empty behind the last one.
    Result<std::vector<BorrowedFile>> next();

private:
    using Stretch = Result<std::vector<BorrowedFile>>;
    std::future<Stretch> begin();

    const FileReader &reader_;
    std::span<const int> left_;
    const bool ahead_;
    std::future<Stretch> coming_;
};

} // namespace dump
