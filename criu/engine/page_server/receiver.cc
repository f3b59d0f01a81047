#include "criu/engine/page_server/receiver.hh"

#include "base/ids.hh"
#include "criu/image/pagemap.hh"
#include "criu/kernel/io.hh"
#include "criu/pages/page_client.hh"

#include <algorithm>
#include <fmt/format.h>
#include <unistd.h>

namespace page_server {
namespace {

using image::ImageKind;
using pages::wire::Command;
using pages::wire::Message;
using pages::wire::Object;

// CRIU's servers count from here, so that a dump and its server may write into one directory.
constexpr uint32_t kFirstPagesId = 65537;

ImageKind kind_of(Object object) {
    return object.type == pages::wire::ObjectType::Task ? ImageKind::Pagemap : ImageKind::ShmemPagemap;
}

std::string name_of(Object object) {
    return image::image_file_name(kind_of(object), object.id);
}

} // namespace

Result<void> ParentPages::look() {
    if (!looked_)
        dir_ = TRY(images_->parent());
    looked_ = true;
    return {};
}

Result<bool> ParentPages::has(Object object) {
    TRY(look());
    return dir_ && dir_->exists(kind_of(object), object.id);
}

Result<void> ParentPages::check_hole(Object object, uint64_t address, uint64_t pages) {
    TRY(look());
    if (!dir_)
        return base::bad_image(fmt::format("{}: pages at {:#x} are left to a parent, and this directory has none",
                                           name_of(object), address));
    const std::pair key{kind_of(object), object.id};
    auto found = read_.find(key);
    if (found == read_.end())
        found = read_.emplace(key, TRY_CTX(dir_->read_pagemap(key.first, key.second), "parent")).first;
    const auto &runs = found->second.entries;
    const uint64_t end = address + pages * base::kPageSize;
    auto run = std::ranges::partition_point(runs, [&](const auto &entry) { return image::end_of(entry) <= address; });
    uint64_t covered = address;
    for (; covered < end && run != runs.end() && run->vaddr() <= covered; ++run)
        covered = image::end_of(*run);
    if (covered >= end)
        return {};
    return base::bad_image(
        fmt::format("{}: the page at {:#x} is left to the parent, which does not have it", name_of(object), covered));
}

Receiver::Receiver(pages::Channel &channel, image::ImageDirWriter &writer, ParentPages parent)
    : channel_(channel), writer_(writer), parent_(std::move(parent)),
      sink_(pages::directory_sink(writer, kFirstPagesId)) {}

Result<Receiver> Receiver::open(pages::Channel &channel, const image::ImageDir &images, image::ImageDirWriter &writer) {
    return Receiver(channel, writer, ParentPages(images));
}

Result<void> Receiver::run() {
    for (;;) {
        const auto message = TRY(pages::receive_message(channel_, form_));
        if (!message) {
            (void)end_object(); // what there is stays
            return base::fail(base::ErrorKind::System,
                              "the sender has gone without saying that this was all: the pages may be incomplete");
        }
        if (!TRY(handle(*message)))
            return {};
    }
}

/// False after the last message.
Result<bool> Receiver::handle(const Message &message) {
    switch (static_cast<Command>(message.command)) {
    case Command::Open:
        TRY(begin(message.object));
        return true;
    case Command::Open2:
        TRY(begin(message.object));
        TRY(channel_.send_value<uint8_t>(TRY(parent_.has(object_))));
        return true;
    case Command::Parent:
        TRY(channel_.send_value<int32_t>(TRY(parent_.has(TRY(pages::wire::unpack(message.object))))));
        return true;
    case Command::Add:
    case Command::Hole:
    case Command::AddFlagged:
    case Command::AddCompressed:
        TRY(add(message));
        return true;
    case Command::Close:
    case Command::ForceClose:
        TRY(finish());
        return false;
    case Command::Get:
        return base::bad_image("page server: the other end asks for pages; this one takes some (--lazy-pages gives)");
    }
    return base::bad_image(fmt::format("page server: Unknown command {}", message.command));
}

Result<void> Receiver::begin(uint64_t packed) {
    const Object object = TRY(pages::wire::unpack(packed));
    TRY(end_object());
    // Its memory comes anew: what came before is not to be mixed with it.
    if (!seen_.insert(pages::wire::pack(object)).second)
        TRY(writer_.remove(kind_of(object), object.id));
    output_ = TRY(sink_->open(kind_of(object), object.id));
    object_ = object;
    packed_ = packed;
    end_ = offset_ = 0;
    return {};
}

Result<void> Receiver::end_object() {
    if (output_)
        TRY_CTX(output_->close(), name_of(object_));
    output_.reset();
    return {};
}

Result<void> Receiver::add(const Message &message) {
    const uint64_t pages = TRY(pages::wire::payload_pages(message));
    if (!output_ || message.object != packed_)
        TRY(begin(message.object));
    if (message.address < end_)
        return base::bad_image(fmt::format("{}: {} pages at {:#x} come behind others of higher addresses",
                                           name_of(object_), message.pages, message.address));
    img::pagemap_entry run = image::present_run(message.address, message.pages);
    run.set_flags(message.is(Command::Add)    ? uint32_t{pages::wire::kPresent}
                  : message.is(Command::Hole) ? uint32_t{pages::wire::kParent}
                                              : message.flags);
    if (run.flags() & pages::wire::kParent)
        TRY(parent_.check_hole(object_, message.address, message.pages));
    end_ = image::end_of(run);
    pages_ += pages;
    if (pages && message.is(Command::AddCompressed))
        return take_compressed(run);
    TRY(output_->add(run));
    return pages ? take_pages(pages * base::kPageSize) : Result<void>();
}

/// Keeps what comes as it comes. A run becomes several where its entry would get long.
Result<void> Receiver::take_compressed(const img::pagemap_entry &run) {
    constexpr uint64_t kPagesOfEntry = 512;
    for (uint64_t at = run.vaddr(), end = image::end_of(run); at < end;) {
        img::pagemap_entry part = run;
        part.MergeFrom(image::present_run(at, std::min(kPagesOfEntry, (end - at) / base::kPageSize)));
        part.set_flags(run.flags());
        at = image::end_of(part);
        const auto sizes = TRY(receive_compressed(part.nr_pages()));
        if (sizes.front() == base::kPageSize) {
            part.set_flags(part.flags() | image::kPeAligned);
            offset_ = base::page_up(offset_);
        }
        if (std::ranges::any_of(sizes, [](uint32_t size) { return size != base::kPageSize; })) {
            part.mutable_blocks()->mutable_block_sizes()->Add(sizes.begin(), sizes.end());
            part.mutable_blocks()->set_total_payload_size(buffer_.size());
            part.mutable_blocks()->set_pages_per_block(1);
        }
        TRY(kernel::write_at(TRY(output_->file()), buffer_, offset_));
        offset_ += buffer_.size();
        TRY(output_->add(part));
    }
    return {};
}

/// The sizes of compressed pages, which then lie in the buffer, one after the other.
Result<std::vector<uint32_t>> Receiver::receive_compressed(uint64_t pages) {
    std::vector<uint32_t> sizes;
    buffer_.clear();
    for (; pages; pages--) {
        const auto size = TRY(channel_.receive_value<uint32_t>());
        if (size > base::kPageSize)
            return base::bad_image(fmt::format("{}: a compressed page of {} bytes", name_of(object_), size));
        sizes.push_back(size);
        buffer_.resize(buffer_.size() + size);
        TRY(channel_.receive(std::span(buffer_).last(size)));
    }
    return sizes;
}

Result<void> Receiver::take_pages(uint64_t bytes) {
    const int file = TRY(output_->file());
    if (TRY(channel_.move_to_file(file, offset_, bytes))) {
        offset_ += bytes;
        return {};
    }
    constexpr size_t kBuffer = 256u << 10;
    buffer_.resize(kBuffer);
    while (bytes) {
        const auto piece = std::span(buffer_).first(std::min<uint64_t>(kBuffer, bytes));
        TRY(channel_.receive(piece));
        TRY(kernel::write_at(file, piece, offset_));
        offset_ += piece.size();
        bytes -= piece.size();
    }
    return {};
}

Result<void> Receiver::finish() {
    TRY(end_object());
    TRY(sink_->finish());
    TRY(writer_.finish());
    return channel_.send_value<int32_t>(0);
}

} // namespace page_server
