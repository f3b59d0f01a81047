#include "criu/engine/dump/table_reader.hh"

#include "compel/ptrace.hh"
#include "criu/kernel/io.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dump {
namespace {

// Each descriptor of a stretch is one of ours as long as it is at hand, twice of them at a time.
constexpr size_t kStretch = 250;

/// The file system of pipes that have no name.
dev_t pipe_device() {
    static const dev_t device = [] {
        int ends[2];
        struct stat st {};
        if (pipe2(ends, O_CLOEXEC) == 0) {
            base::UniqueFd one(ends[0]), other(ends[1]);
            (void)fstat(one.get(), &st);
        }
        return st.st_dev;
    }();
    return device;
}

// Of sockets and nameless pipes /proc tells nothing more but locks of flock(2), which nobody takes on them; a table
// that has thousands is dumped in three quarters of the time without these questions.
std::string known_link(const resource::OpenFile &file) {
    if (file.family >= 0)
        return fmt::format("socket:[{}]", file.stat.st_ino);
    if (S_ISFIFO(file.stat.st_mode) && file.stat.st_dev == pipe_device())
        return fmt::format("pipe:[{}]", file.stat.st_ino);
    return {};
}

} // namespace

Result<FileReader> FileReader::open(base::Pid holder, base::Pid voice) {
    FileReader reader(holder, voice);
    reader.pidfd_ = TRY(compel::open_pidfd(voice));
    const std::string infos = fmt::format("/proc/{}/fdinfo", voice.value);
    reader.infos_ = TRY(kernel::open_at(AT_FDCWD, infos.c_str(), O_PATH | O_DIRECTORY));
    reader.own_links_ = TRY(kernel::open_at(AT_FDCWD, "/proc/self/fd", O_PATH | O_DIRECTORY));
    return reader;
}

Result<BorrowedFile> FileReader::borrow(int number) const {
    BorrowedFile borrowed;
    borrowed.fd.reset(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd_.get(), number, 0)));
    if (!borrowed.fd)
        return base::fail_sys("pidfd_getfd");
    borrowed.file = TRY(resource::look_at(borrowed.fd.get()));
    borrowed.file.holder = holder_;
    borrowed.file.voice = voice_;
    borrowed.file.number = number;
    return borrowed;
}

Result<std::string> FileReader::fdinfo(int number) const {
    return kernel::read_file(infos_.get(), std::to_string(number).c_str());
}

Result<void> FileReader::complete(resource::OpenFile &file) const {
    if (file.link.empty())
        file.link = known_link(file);
    if (!file.link.empty())
        return {};
    file.link = TRY(kernel::read_link(own_links_.get(), std::to_string(file.fd).c_str()));
    file.fdinfo = TRY(fdinfo(file.number));
    return {};
}

// In a small table most files may be known already, from other tasks: then nothing is read that is not asked for.
TableReader::TableReader(const FileReader &reader, std::span<const int> numbers)
    : reader_(reader), left_(numbers), ahead_(numbers.size() > 2 * kStretch) {
    coming_ = begin();
}

TableReader::~TableReader() = default; // waits for a stretch that is under way

std::future<TableReader::Stretch> TableReader::begin() {
    const auto some = left_.first(std::min(kStretch, left_.size()));
    left_ = left_.subspan(some.size());
    return std::async(ahead_ && !some.empty() ? std::launch::async : std::launch::deferred,
                      [&reader = reader_, some, all = ahead_]() -> Stretch {
                          std::vector<BorrowedFile> files;
                          for (int number : some) {
                              auto context = [&] { return fmt::format("fd {}", number); };
                              files.push_back(TRY_CTX(reader.borrow(number), context()));
                              if (all)
                                  TRY_CTX(reader.complete(files.back().file), context());
                          }
                          return files;
                      });
}

Result<std::vector<BorrowedFile>> TableReader::next() {
    auto files = TRY(coming_.get());
    coming_ = begin();
    return files;
}

} // namespace dump
