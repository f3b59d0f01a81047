// Both layouts hold the same: what is written in either is read back as the current one.
#include "criu/image/layout.hh"

#include "core.pb.h"
#include "criu/image/image_dir.hh"
#include "criu/image/image_writer.hh"
#include "criu/image/pagemap.hh"
#include "fs.pb.h"
#include "inventory.pb.h"
#include "mm.pb.h"
#include "pstree.pb.h"
#include "support.hh"

#include <google/protobuf/util/message_differencer.h>

using namespace image;
using google::protobuf::util::MessageDifferencer;
using test::must;

namespace {

ImageDir golden(const char *name) {
    return must(ImageDir::open(test::open_dir(test::golden() / name).get()));
}

template <class M>
void copy(const ImageDir &from, ImageDirWriter &to, ImageKind kind, uint64_t from_id, uint64_t to_id) {
    for (const M &entry : must(from.read<M>(kind, from_id)))
        must(to.add(kind, to_id, entry));
}

/// The images of a one-thread program with three descriptors on one regular file, put together from a golden one.
void write_simplest(const test::TempDir &dir, Layout layout) {
    auto from = golden("net");
    auto to = must(ImageDirWriter::open(dir.fd(), layout));
    copy<img::core_entry>(from, to, ImageKind::Core, 925, 7);
    copy<img::mm_entry>(from, to, ImageKind::Mm, 925, 7);
    copy<img::fs_entry>(from, to, ImageKind::Fs, 925, 7);
    copy<img::task_kobj_ids_entry>(from, to, ImageKind::Ids, 925, 7);
    copy<img::pstree_entry>(from, to, ImageKind::Pstree, 0, 0);
    copy<img::inventory_entry>(from, to, ImageKind::Inventory, 0, 0);
    for (const auto &file : must(from.read<img::file_entry>(ImageKind::Files)))
        if (file.type() == img::REG)
            must(to.add(ImageKind::Files, 0, file));
    for (auto fd : must(from.read<img::fdinfo_entry>(ImageKind::Fdinfo, 2)))
        must(to.add(ImageKind::Fdinfo, 2, fd));
    must(to.add(ImageKind::Pagemap, 7, must(from.read_pagemap(ImageKind::Pagemap, 925)).head));
    must(to.raw(ImageKind::Pages, 1));
    must(to.finish());
}

} // namespace

TEST_CASE("the table of split files fits the schema and the registry", "[image]") {
    for (const SplitFileKind &kind : split_file_kinds()) {
        const auto *member = img::file_entry::descriptor()->FindFieldByNumber(kind.field);
        REQUIRE(member);
        INFO(member->name());
        CHECK(member->message_type() == image_info(kind.kind).entry().GetDescriptor());
        const auto *id = member->message_type()->FindFieldByName("id");
        REQUIRE(id);
        CHECK(id->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT32);
        CHECK(find_split_file_kind(kind.type) == &kind);
    }
    CHECK_FALSE(find_split_file_kind(img::MEMFD));
}

TEST_CASE("the split layout of the simplest program is twelve files", "[image]") {
    test::TempDir dir;
    write_simplest(dir, Layout::Split);
    CHECK(test::list(dir.path()) == std::vector<std::string>{"core-7.img", "creds-7.img", "fdinfo-2.img", "fs-7.img",
                                                             "ids-7.img", "inventory.img", "mm-7.img", "pagemap-7.img",
                                                             "pages-1.img", "pstree.img", "reg-files.img",
                                                             "sigacts-7.img"});
}

TEST_CASE("the current layout of the simplest program is ten files", "[image]") {
    test::TempDir dir;
    write_simplest(dir, Layout::Current);
    CHECK(test::list(dir.path()) == std::vector<std::string>{"core-7.img", "fdinfo-2.img", "files.img", "fs-7.img",
                                                             "ids-7.img", "inventory.img", "mm-7.img", "pagemap-7.img",
                                                             "pages-1.img", "pstree.img"});
}

TEST_CASE("tasks and files of the golden trees survive the split layout", "[image]") {
    for (const char *name : {"sampler", "net", "container"}) {
        INFO(name);
        auto from = golden(name);
        test::TempDir dir;
        auto to = must(ImageDirWriter::open(dir.fd(), Layout::Split));
        std::map<uint64_t, img::core_entry> cores;
        for (const auto &file : test::list(test::golden() / name))
            if (auto found = match_image_name(file); found && found->kind == ImageKind::Core) {
                cores[found->id] = must(from.read_one<img::core_entry>(ImageKind::Core, found->id)).value();
                must(to.add(ImageKind::Core, found->id, cores[found->id]));
            }
        auto files = must(from.read<img::file_entry>(ImageKind::Files));
        for (const auto &file : files)
            must(to.add(ImageKind::Files, 0, file));
        must(to.finish());

        auto back = must(ImageDir::open(dir.fd()));
        for (const auto &[id, core] : cores) {
            INFO("core " << id);
            auto stored = must(back.read_as_stored<img::core_entry>(ImageKind::Core, id)).at(0);
            CHECK(stored.tc().sigactions().empty());
            CHECK(MessageDifferencer::Equals(core, must(back.read_one<img::core_entry>(ImageKind::Core, id)).value()));
        }
        auto read = must(back.read<img::file_entry>(ImageKind::Files));
        CHECK(read.size() == files.size());
        std::ranges::sort(files, {}, &img::file_entry::id);
        std::ranges::sort(read, {}, &img::file_entry::id);
        for (size_t i = 0; i < std::min(files.size(), read.size()); i++)
            CHECK(MessageDifferencer::Equals(files[i], read[i]));
    }
}

TEST_CASE("older images are completed from the files beside them", "[image]") {
    auto core = must(golden("sampler").read_one<img::core_entry>(ImageKind::Core, 883)).value();
    auto mm = must(golden("sampler").read_one<img::mm_entry>(ImageKind::Mm, 883)).value();
    auto file = must(golden("sampler").read<img::file_entry>(ImageKind::Files));
    auto epoll = *std::ranges::find(file, img::EVENTPOLL, &img::file_entry::type);

    test::TempDir dir;
    auto to = must(ImageDirWriter::open(dir.fd(), Layout::Split));
    auto old_core = core;
    auto &tc = *old_core.mutable_tc();
    must(to.add(ImageKind::Itimers, 1, tc.timers().real()));
    must(to.add(ImageKind::Itimers, 1, tc.timers().virt()));
    must(to.add(ImageKind::Itimers, 1, tc.timers().prof()));
    for (const auto &timer : tc.timers().posix())
        must(to.add(ImageKind::PosixTimers, 1, timer));
    for (const auto &limit : tc.rlimits().rlimits())
        must(to.add(ImageKind::Rlimit, 1, limit));
    for (const auto &info : tc.signals_s().signals())
        must(to.add(ImageKind::Signal, 1, info));
    for (const auto &info : old_core.thread_core().signals_p().signals())
        must(to.add(ImageKind::Psignal, 1, info));
    tc.clear_timers();
    tc.clear_rlimits();
    tc.clear_signals_s();
    old_core.mutable_thread_core()->clear_signals_p();
    must(to.add(ImageKind::Core, 1, old_core));
    auto old_mm = mm;
    for (const auto &vma : mm.vmas())
        must(to.add(ImageKind::Vmas, 1, vma));
    old_mm.clear_vmas();
    must(to.add(ImageKind::Mm, 1, old_mm));
    for (auto &target : *epoll.mutable_epfd()->mutable_tfd()) // CRIU leaves it 0 where it is not needed
        target.set_id(epoll.id());
    auto old_epoll = epoll;
    for (const auto &target : epoll.epfd().tfd())
        must(to.add(ImageKind::EventpollTfd, 0, target));
    old_epoll.mutable_epfd()->clear_tfd();
    must(to.add(ImageKind::Files, 0, old_epoll));
    must(to.finish());

    auto back = must(ImageDir::open(dir.fd()));
    auto read = must(back.read_one<img::core_entry>(ImageKind::Core, 1)).value();
    CHECK(read.tc().timers().posix_size() == core.tc().timers().posix_size());
    CHECK(MessageDifferencer::Equals(read.tc().timers(), core.tc().timers()));
    CHECK(MessageDifferencer::Equals(read.tc().rlimits(), core.tc().rlimits()));
    CHECK(read.tc().signals_s().signals_size() == core.tc().signals_s().signals_size());
    CHECK(MessageDifferencer::Equals(must(back.read_one<img::mm_entry>(ImageKind::Mm, 1)).value(), mm));
    CHECK(MessageDifferencer::Equals(must(back.read<img::file_entry>(ImageKind::Files)).at(0), epoll));

    epoll.mutable_epfd()->mutable_tfd(0)->set_id(4242);
    auto damaged = must(ImageDirWriter::open(dir.fd()));
    must(damaged.add(ImageKind::EventpollTfd, 0, epoll.epfd().tfd(0)));
    must(damaged.finish());
    auto dangling = back.read<img::file_entry>(ImageKind::Files);
    REQUIRE_FALSE(dangling);
    CHECK(dangling.error().message() == "eventpoll-tfd.img: file 4242 does not exist");
}

TEST_CASE("the id of a file that is in both layouts counts once", "[image]") {
    auto files = must(golden("net").read<img::file_entry>(ImageKind::Files));
    const auto &reg = *std::ranges::find(files, img::REG, &img::file_entry::type);
    test::TempDir dir;
    auto to = must(ImageDirWriter::open(dir.fd()));
    must(to.add(ImageKind::Files, 0, reg));
    must(to.add(ImageKind::RegFiles, 0, reg.reg()));
    must(to.finish());
    CHECK(must(must(ImageDir::open(dir.fd())).read<img::file_entry>(ImageKind::Files)).size() == 1);
}
