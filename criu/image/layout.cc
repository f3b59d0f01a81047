#include "criu/image/layout.hh"

#include "core.pb.h"
#include "criu/image/image_dir.hh"
#include "mm.pb.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <unordered_map>
#include <unordered_set>

namespace image {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using File = img::file_entry;

constexpr std::array kSplitFileKinds{
    SplitFileKind{img::REG, File::kRegFieldNumber, ImageKind::RegFiles},
    SplitFileKind{img::PIPE, File::kPipeFieldNumber, ImageKind::Pipes},
    SplitFileKind{img::FIFO, File::kFifoFieldNumber, ImageKind::Fifo},
    SplitFileKind{img::INETSK, File::kIskFieldNumber, ImageKind::Inetsk},
    SplitFileKind{img::UNIXSK, File::kUskFieldNumber, ImageKind::Unixsk},
    SplitFileKind{img::EVENTFD, File::kEfdFieldNumber, ImageKind::EventfdFile},
    SplitFileKind{img::EVENTPOLL, File::kEpfdFieldNumber, ImageKind::EventpollFile},
    SplitFileKind{img::INOTIFY, File::kIfyFieldNumber, ImageKind::InotifyFile},
    SplitFileKind{img::SIGNALFD, File::kSgfdFieldNumber, ImageKind::Signalfd},
    SplitFileKind{img::PACKETSK, File::kPskFieldNumber, ImageKind::Packetsk},
    SplitFileKind{img::TTY, File::kTtyFieldNumber, ImageKind::TtyFiles},
    SplitFileKind{img::FANOTIFY, File::kFfyFieldNumber, ImageKind::FanotifyFile},
    SplitFileKind{img::NETLINKSK, File::kNlskFieldNumber, ImageKind::NetlinkSk},
    SplitFileKind{img::NS, File::kNsfFieldNumber, ImageKind::NsFiles},
    SplitFileKind{img::TUNF, File::kTunfFieldNumber, ImageKind::Tunfile},
    SplitFileKind{img::EXT, File::kExtFieldNumber, ImageKind::ExtFiles},
    SplitFileKind{img::TIMERFD, File::kTfdFieldNumber, ImageKind::Timerfd},
    SplitFileKind{img::BPFMAP, File::kBpfFieldNumber, ImageKind::BpfmapFile},
    SplitFileKind{img::PIDFD, File::kPidfdFieldNumber, ImageKind::Pidfd},
};

const FieldDescriptor *member(const SplitFileKind &kind) {
    return File::descriptor()->FindFieldByNumber(kind.field);
}

uint32_t id_of(const Message &message) {
    return message.GetReflection()->GetUInt32(message, message.GetDescriptor()->FindFieldByName("id"));
}

/// Ids are unique over all kinds; what files.img says wins over the image of the kind.
base::Result<void> append_files(const ImageDir &dir, const SplitFileKind &kind, std::unordered_set<uint32_t> &known,
                                std::vector<File> &files) {
    auto image = TRY(dir.open_entries(kind.kind, 0));
    while (image) {
        File file;
        Message *inner = file.GetReflection()->MutableMessage(&file, member(kind));
        if (!TRY(image->reader.next(*inner)))
            break;
        file.set_type(kind.type);
        file.set_id(id_of(*inner));
        if (known.insert(file.id()).second)
            files.push_back(std::move(file));
    }
    return {};
}

/// Entries of `kind` that name, by id, the file in whose message they belong (targets of an epoll, watches).
template <class Inner, class Pick>
base::Result<void> attach(const ImageDir &dir, ImageKind kind, std::vector<File> &files, Pick list_of) {
    auto inners = TRY(dir.read_as_stored<Inner>(kind, 0));
    if (inners.empty())
        return {};
    std::unordered_map<uint32_t, File *> owners;
    for (File &file : files)
        if (list_of(file))
            owners.emplace(file.id(), &file);
    for (Inner &inner : inners) {
        auto owner = owners.find(inner.id());
        if (owner == owners.end())
            return base::bad_image(fmt::format("{}: file {} does not exist", image_file_name(kind, 0), inner.id()));
        list_of(*owner->second)->Add(std::move(inner));
    }
    return {};
}

template <class M, class List>
base::Result<void> fill_list(const ImageDir &dir, ImageKind kind, uint64_t id, List *list) {
    if (list->empty())
        for (M &entry : TRY(dir.read_as_stored<M>(kind, id)))
            list->Add(std::move(entry));
    return {};
}

base::Result<void> fill_timers(const ImageDir &dir, uint64_t pid, img::task_core_entry &tc) {
    if (tc.has_timers())
        return {};
    auto interval = TRY(dir.read_as_stored<img::itimer_entry>(ImageKind::Itimers, pid));
    auto posix = TRY(dir.read_as_stored<img::posix_timer_entry>(ImageKind::PosixTimers, pid));
    if (interval.empty() && posix.empty())
        return {};
    if (interval.size() != 3)
        return base::bad_image(
            fmt::format("{}: has {} timers, expected 3", image_file_name(ImageKind::Itimers, pid), interval.size()));
    *tc.mutable_timers()->mutable_real() = std::move(interval[0]);
    *tc.mutable_timers()->mutable_virt() = std::move(interval[1]);
    *tc.mutable_timers()->mutable_prof() = std::move(interval[2]);
    for (auto &timer : posix)
        *tc.mutable_timers()->add_posix() = std::move(timer);
    return {};
}

base::Result<void> fill_task(const ImageDir &dir, uint64_t pid, img::task_core_entry &tc) {
    TRY(fill_list<img::sa_entry>(dir, ImageKind::Sigact, pid, tc.mutable_sigactions()));
    TRY(fill_timers(dir, pid, tc));
    if (!tc.has_rlimits())
        for (auto &limit : TRY(dir.read_as_stored<img::rlimit_entry>(ImageKind::Rlimit, pid)))
            *tc.mutable_rlimits()->add_rlimits() = std::move(limit);
    if (!tc.has_signals_s())
        for (auto &info : TRY(dir.read_as_stored<img::siginfo_entry>(ImageKind::Signal, pid)))
            *tc.mutable_signals_s()->add_signals() = std::move(info);
    return {};
}

base::Result<void> fill_thread(const ImageDir &dir, uint64_t tid, img::thread_core_entry &thread) {
    if (!thread.has_creds()) {
        auto creds = TRY(dir.read_as_stored<img::creds_entry>(ImageKind::Creds, tid));
        if (creds.size() > 1)
            return base::bad_image(image_file_name(ImageKind::Creds, tid) + ": has more than one entry");
        if (!creds.empty())
            *thread.mutable_creds() = std::move(creds.front());
    }
    if (!thread.has_signals_p())
        for (auto &info : TRY(dir.read_as_stored<img::siginfo_entry>(ImageKind::Psignal, tid)))
            *thread.mutable_signals_p()->add_signals() = std::move(info);
    return {};
}

} // namespace

std::span<const SplitFileKind> split_file_kinds() {
    return kSplitFileKinds;
}

const SplitFileKind *find_split_file_kind(img::fd_types type) {
    auto found = std::ranges::find(kSplitFileKinds, type, &SplitFileKind::type);
    return found == kSplitFileKinds.end() ? nullptr : &*found;
}

const Message *inner_message(const File &file, const SplitFileKind &kind) {
    const auto *reflection = file.GetReflection();
    return reflection->HasField(file, member(kind)) ? &reflection->GetMessage(file, member(kind)) : nullptr;
}

base::Result<void> to_current(const ImageDir &dir, uint64_t id, std::vector<img::core_entry> &cores) {
    for (img::core_entry &core : cores) {
        if (core.has_tc())
            TRY(fill_task(dir, id, *core.mutable_tc()));
        if (core.has_thread_core())
            TRY(fill_thread(dir, id, *core.mutable_thread_core()));
    }
    return {};
}

base::Result<void> to_current(const ImageDir &dir, uint64_t id, std::vector<img::mm_entry> &mms) {
    for (img::mm_entry &mm : mms)
        TRY(fill_list<img::vma_entry>(dir, ImageKind::Vmas, id, mm.mutable_vmas()));
    return {};
}

base::Result<void> to_current(const ImageDir &dir, uint64_t, std::vector<File> &files) {
    std::unordered_set<uint32_t> known;
    for (const File &file : files)
        known.insert(file.id());
    for (const SplitFileKind &kind : kSplitFileKinds)
        TRY(append_files(dir, kind, known, files));

    TRY(attach<img::eventpoll_tfd_entry>(dir, ImageKind::EventpollTfd, files, [](File &f) {
        return f.has_epfd() ? f.mutable_epfd()->mutable_tfd() : nullptr;
    }));
    TRY(attach<img::inotify_wd_entry>(dir, ImageKind::InotifyWd, files,
                                      [](File &f) { return f.has_ify() ? f.mutable_ify()->mutable_wd() : nullptr; }));
    return attach<img::fanotify_mark_entry>(dir, ImageKind::FanotifyMark, files, [](File &f) {
        return f.has_ffy() ? f.mutable_ffy()->mutable_mark() : nullptr;
    });
}

} // namespace image
