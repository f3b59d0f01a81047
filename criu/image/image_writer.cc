#include "criu/image/image_writer.hh"

#include "base/listing.hh"
#include "core.pb.h"
#include "criu/image/entry_reader.hh"
#include "criu/image/file_output.hh"
#include "criu/image/owner_fields.hh"
#include "criu/image/payload.hh"
#include "ghost-file.pb.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

namespace image {
namespace {

using google::protobuf::Message;

constexpr size_t kBuffer = 64 << 10;
constexpr size_t kMaxActive = 48;

void put_word(std::string &out, uint32_t word) {
    out.append(reinterpret_cast<const char *>(&word), sizeof word);
}

void put_head(std::string &out, const ImageInfo &info) {
    if (info.head == Head::Common)
        put_word(out, kCommonWord);
    if (info.head == Head::Service)
        put_word(out, kServiceWord);
    put_word(out, info.magic);
}

/// Written by other runs than a dump, or into the same directory after it: they say nothing about the checkpoint.
bool belongs_to_checkpoint(ImageKind kind) {
    return image_info(kind).head != Head::Service && kind != ImageKind::Cpuinfo;
}

/// For messages.
std::string path_of(int dir) {
    char path[4096];
    const ssize_t length = readlink(fmt::format("/proc/self/fd/{}", dir).c_str(), path, sizeof path);
    return length > 0 ? std::string(path, static_cast<size_t>(length)) : "the directory of images";
}

/// Names of files that belong to a checkpoint.
base::Result<std::vector<std::string>> images_in(int dir) {
    return base::list_names_if(dir, [](const dirent &entry) {
        const auto image = match_image_name(entry.d_name);
        return image && belongs_to_checkpoint(image->kind);
    });
}

bool accepts(const ImageInfo &info, const Message &message, bool first) {
    const auto *given = message.GetDescriptor();
    if (info.payload == Payload::Ghost && !first)
        return given == img::ghost_chunk_entry::descriptor();
    Prototype wanted = first && info.first_entry ? info.first_entry : info.entry;
    return wanted && given == wanted().GetDescriptor();
}

/// Padding behind the payload, after a check that its length is the one in the message.
base::Result<uint64_t> padding(const ImageInfo &info, const Message &message, std::span<const std::byte> payload) {
    MemorySource bytes(payload);
    PayloadShape shape{payload.size(), payload.size()};
    if (const auto *chunk = dynamic_cast<const img::ghost_chunk_entry *>(&message))
        shape.size = payload.empty() ? 0 : chunk->len(); // empty: the caller writes the data to raw()
    else
        shape = TRY(payload_shape(info.payload, message, bytes, 0));
    if (shape.size != payload.size())
        return base::fail(base::ErrorKind::Bug, fmt::format("{}: payload of {} bytes, the entry says {}", info.name,
                                                            payload.size(), shape.size));
    return shape.stored - shape.size;
}

} // namespace

base::Result<ImageDirWriter> ImageDirWriter::open(int dirfd, Layout layout) {
    base::UniqueFd dir(fcntl(dirfd, F_DUPFD_CLOEXEC, 3));
    if (!dir)
        return base::fail_sys("image directory");
    return ImageDirWriter(std::move(dir), layout);
}

base::Result<void> ImageDirWriter::add(ImageKind kind, uint64_t id, const Message &message,
                                       std::span<const std::byte> payload) {
    if (owners_.are_identity())
        return add_translated(kind, id, message, payload);
    const std::unique_ptr<Message> copy(message.New());
    copy->CopyFrom(message);
    translate_owners(*copy, owners_);
    return add_translated(kind, id, *copy, payload);
}

base::Result<void> ImageDirWriter::add_translated(ImageKind kind, uint64_t id, const Message &message,
                                                  std::span<const std::byte> payload) {
    if (layout_ == Layout::Split && message.GetDescriptor() == img::core_entry::descriptor())
        return add_split_core(id, message);
    if (layout_ == Layout::Split && message.GetDescriptor() == img::file_entry::descriptor())
        return add_split_file(id, message);
    return add_stored(kind, id, message, payload);
}

base::Result<void> ImageDirWriter::add_split_core(uint64_t id, const Message &message) {
    img::core_entry core = static_cast<const img::core_entry &>(message);
    if (core.has_tc()) { // of a leader; credentials of other threads have no image of their own
        if (core.has_thread_core() && core.thread_core().has_creds()) {
            TRY(add_stored(ImageKind::Creds, id, core.thread_core().creds(), {}));
            core.mutable_thread_core()->clear_creds();
        }
        for (const img::sa_entry &action : core.tc().sigactions())
            TRY(add_stored(ImageKind::Sigact, id, action, {}));
        core.mutable_tc()->clear_sigactions();
    }
    return add_stored(ImageKind::Core, id, core, {});
}

base::Result<void> ImageDirWriter::add_split_file(uint64_t id, const Message &message) {
    const auto &file = static_cast<const img::file_entry &>(message);
    const SplitFileKind *kind = find_split_file_kind(file.type());
    if (!kind)
        return add_stored(ImageKind::Files, id, message, {});
    const Message *inner = inner_message(file, *kind);
    if (!inner)
        return base::fail(base::ErrorKind::Bug, fmt::format("file {} has no message of its type", file.id()));
    return add_stored(kind->kind, 0, *inner, {});
}

base::Result<void> ImageDirWriter::add_stored(ImageKind kind, uint64_t id, const Message &message,
                                              std::span<const std::byte> payload) {
    const ImageInfo &info = image_info(kind);
    File &file = *TRY(use({kind, id}));
    if (!accepts(info, message, !file.started))
        return base::fail(base::ErrorKind::Bug,
                          fmt::format("{}: entries are not {}", file.name, message.GetDescriptor()->name()));
    if (!message.IsInitialized())
        return base::fail(base::ErrorKind::Bug, fmt::format("{}: entry lacks the required {}", file.name,
                                                            message.InitializationErrorString()));
    uint64_t pad = TRY(padding(info, message, payload));
    size_t length = message.ByteSizeLong();
    if (length > kMaxEntry)
        return base::unsupported(fmt::format("{}: an entry of {} bytes", file.name, length));

    size_t before = file.buffer.size();
    if (!file.started)
        put_head(file.buffer, info);
    file.started = true;
    put_word(file.buffer, static_cast<uint32_t>(length));
    message.AppendPartialToString(&file.buffer);
    count(file, file.buffer.size() - before);
    TRY(append({kind, id}, file, payload));
    constexpr std::byte kZeros[8]{};
    return append({kind, id}, file, std::span(kZeros, pad));
}

/// What goes into a file whose descriptor was handed out must not count again when its size is taken.
void ImageDirWriter::count(File &file, uint64_t bytes) {
    bytes_ += bytes;
    if (file.pinned)
        file.raw_from += bytes;
}

base::Result<void> ImageDirWriter::append(Key key, File &file, std::span<const std::byte> bytes) {
    count(file, bytes.size());
    bool large = bytes.size() > kBuffer;
    if (!large)
        file.buffer.append(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    if (key.kind != ImageKind::Inventory && (large || file.buffer.size() > kBuffer))
        TRY(flush(key, file));
    if (large)
        TRY_CTX(write_all(file.fd.get(), {reinterpret_cast<const char *>(bytes.data()), bytes.size()}), file.name);
    return {};
}

base::Result<int> ImageDirWriter::raw(ImageKind kind, uint64_t id) {
    Key key{kind, id};
    File &file = *TRY(use(key));
    TRY(flush(key, file));
    if (!file.pinned) {
        struct stat st {};
        if (fstat(file.fd.get(), &st) < 0)
            return base::fail_sys(file.name);
        file.raw_from = static_cast<uint64_t>(st.st_size);
        file.pinned = true;
    }
    return file.fd.get();
}

base::Result<ImageDirWriter::File *> ImageDirWriter::use(Key key) {
    if (finished_)
        return base::fail(base::ErrorKind::Bug, image_file_name(key.kind, key.id) + ": written after the end");
    File &file = files_[key];
    if (file.active) {
        active_.splice(active_.begin(), active_, file.place);
        return &file;
    }
    if (file.name.empty())
        file.name = image_file_name(key.kind, key.id);
    active_.push_front(key);
    file.place = active_.begin();
    file.active = true;
    TRY(make_room());
    return &file;
}

/// Closes the file that has not been used for the longest time, if too many are active.
base::Result<void> ImageDirWriter::make_room() {
    if (active_.size() <= kMaxActive)
        return {};
    for (auto it = std::prev(active_.end()); it != active_.begin(); --it) {
        Key key = *it;
        File &file = files_.at(key);
        if (!file.pinned && key.kind != ImageKind::Inventory)
            return close(key, file);
    }
    return {};
}

base::Result<bool> ImageDirWriter::remove_old(const std::string &name) {
    if (unlinkat(dir_.get(), name.c_str(), 0) == 0)
        return ++removed_ > 0;
    return errno == ENOENT || errno == ENOTDIR ? base::Result<bool>(false) : base::fail_sys("removing the old " + name);
}

// Images of another tree would pass for some of this one. Without an inventory they may be a page server's, which
// writes into the same directory; beside an unfinished one only memory may.
base::Result<void> ImageDirWriter::remove_old_images(Key key) {
    if (!belongs_to_checkpoint(key.kind) || old_images_gone_)
        return {};
    old_images_gone_ = true;
    const bool whole = TRY(remove_old(image_file_name(ImageKind::Inventory, 0)));
    if (whole || (marks_ && TRY(remove_old(kUnpublishedInventory))))
        for (const std::string &name : TRY(images_in(dir_.get())))
            if (whole || !(name.starts_with("pages-") || name.starts_with("pagemap-")))
                TRY(remove_old(name));
    if (marks_)
        TRY(create_file(dir_.get(), kUnpublishedInventory));
    return {};
}

base::Result<void> ImageDirWriter::create(Key key, File &file) {
    TRY(remove_old_images(key));
    auto created = create_file(dir_.get(), file.name);
    if (!created)
        return base::fail(std::move(created.error().ctx("images in " + path_of(dir_.get()))));
    file.fd = std::move(*created);
    file.created = true;
    return {};
}

/// Has a file made that is complete, most likely. A few are made at once: they are not worth a thread.
base::Result<void> ImageDirWriter::hand_over(Key key, File &file) {
    constexpr size_t kFew = 32;
    if (!scribe_ && ++complete_ > kFew)
        scribe_ = std::make_unique<Scribe>(dir_.get());
    if (!scribe_)
        return flush(key, file);
    TRY(remove_old_images(key));
    file.created = true;
    return scribe_->add(file.name, std::move(file.buffer));
}

base::Result<void> ImageDirWriter::await_scribe() {
    return scribe_ ? scribe_->wait() : base::Result<void>();
}

base::Result<void> ImageDirWriter::reopen(File &file) {
    TRY(await_scribe());
    file.fd.reset(openat(dir_.get(), file.name.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
    if (!file.fd)
        return base::fail_sys(file.name);
    return {};
}

base::Result<void> ImageDirWriter::flush(Key key, File &file) {
    if (!file.created)
        TRY(create(key, file));
    if (!file.fd)
        TRY(reopen(file));
    TRY_CTX(write_all(file.fd.get(), file.buffer), file.name);
    file.buffer.clear();
    return {};
}

base::Result<void> ImageDirWriter::close(Key key, File &file) {
    if (!file.active)
        return {};
    if (!file.buffer.empty())
        TRY(file.created || key.kind == ImageKind::Inventory ? flush(key, file) : hand_over(key, file));
    struct stat st {};
    if (file.pinned && fstat(file.fd.get(), &st) == 0)
        bytes_ += static_cast<uint64_t>(st.st_size) - file.raw_from;
    file.buffer = {};
    file.fd.reset();
    file.pinned = file.active = false;
    active_.erase(file.place);
    return {};
}

base::Result<void> ImageDirWriter::write_raw(ImageKind kind, uint64_t id, std::string_view bytes) {
    TRY_CTX(write_all(TRY(raw(kind, id)), bytes), image_file_name(kind, id));
    return close_file(kind, id);
}

base::Result<void> ImageDirWriter::close_file(ImageKind kind, uint64_t id) {
    auto found = files_.find({kind, id});
    return found == files_.end() ? base::Result<void>{} : close(found->first, found->second);
}

base::Result<void> ImageDirWriter::remove(ImageKind kind, uint64_t id) {
    auto found = files_.find({kind, id});
    if (found == files_.end())
        return {};
    TRY(close(found->first, found->second));
    TRY(await_scribe());
    if (found->second.created && unlinkat(dir_.get(), found->second.name.c_str(), 0) < 0)
        return base::fail_sys(found->second.name);
    files_.erase(found);
    return {};
}

base::Result<void> ImageDirWriter::secure(uint64_t more) {
    for (auto &[key, file] : files_)
        if (key.kind != ImageKind::Inventory && !file.buffer.empty())
            TRY(flush(key, file));
    TRY(await_scribe());
    base::UniqueFd room(openat(dir_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!room && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT))
        return {}; // a file system without nameless files: it will have to do
    if (!room)
        return base::fail_sys("image directory");
    if (int code = more ? posix_fallocate(room.get(), 0, static_cast<off_t>(more)) : 0; code != 0)
        return base::fail_sys(code, "image directory");
    return {};
}

/// What agents have written is in the page cache of the same files.
base::Result<void> ImageDirWriter::sync_all() const {
    for (const auto &[key, file] : files_)
        if (file.created)
            TRY(sync_file(dir_.get(), file.name));
    return {};
}

/// One step makes a checkpoint of the directory; whoever looks before sees none.
base::Result<void> ImageDirWriter::publish_inventory() {
    const Key key{ImageKind::Inventory, 0};
    const auto found = files_.find(key);
    if (found == files_.end())
        return {};
    const std::string name = std::exchange(found->second.name, kUnpublishedInventory);
    TRY(close(found->first, found->second));
    if (durable_)
        TRY(sync_file(dir_.get(), found->second.name));
    if (renameat(dir_.get(), found->second.name.c_str(), dir_.get(), name.c_str()) < 0)
        return base::fail_sys(name);
    found->second.name = name;
    return {};
}

base::Result<void> ImageDirWriter::finish() {
    for (auto &[key, file] : files_)
        if (key.kind != ImageKind::Inventory)
            TRY(close(key, file));
    TRY(await_scribe());
    if (durable_)
        TRY(sync_all());
    TRY(publish_inventory());
    if (durable_ && !files_.empty())
        TRY(sync_file(dir_.get(), "."));
    finished_ = true;
    return {};
}

void ImageDirWriter::discard() {
    (void)await_scribe(); // what it has not made cannot be removed
    for (auto &[key, file] : files_)
        if (file.created)
            unlinkat(dir_.get(), file.name.c_str(), 0);
    if (marks_ && old_images_gone_)
        unlinkat(dir_.get(), kUnpublishedInventory, 0);
    files_.clear();
    active_.clear();
    finished_ = true;
}

size_t ImageDirWriter::open_files() const {
    size_t n = 0;
    for (const Key &key : active_)
        n += files_.at(key).fd ? 1 : 0;
    return n;
}

} // namespace image
