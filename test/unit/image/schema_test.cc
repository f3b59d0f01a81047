// The compiled schema against the reference, field by field, in both directions; our own additions are listed here.
#include "opts.pb.h"
#include "support.hh"

#include "criu/image/registry.hh"
#include "img-streamer.pb.h"
#include "rpc.pb.h"

#include <google/protobuf/descriptor.h>
#include <set>

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

namespace {

// message, number, type, name
const std::vector<std::vector<std::string>> kOurFields{
    {"userns_entry", "1000", "ext_user_namespace", "extension"},
    {"pidns_entry", "1000", "ext_pid_namespace", "extension"},
    {"task_core_entry", "1000", "ext_task_core", "ext"},
    {"thread_core_entry", "1000", "ext_thread_core", "ext"},
    {"vma_entry", "1000", "ext_vma", "ext"},
    {"mm_entry", "1000", "ext_mm", "ext"},
    {"pagemap_head", "1000", "uint64", "object_size"},
    {"reg_file_entry", "1000", "ext_reg_file", "extension"},
    {"pipe_entry", "1000", "ext_pipe", "ext"},
    {"fifo_entry", "1000", "ext_pipe", "ext"},
    {"eventpoll_tfd_entry", "1000", "uint32", "target"},
    {"eventpoll_tfd_entry", "1001", "uint32", "added"},
    {"eventpoll_file_entry", "1000", "ext_epoll", "ext"},
    {"memfd_inode_entry", "1000", "bool", "secret"},
    {"inotify_file_entry", "1000", "ext_inotify", "ext"},
    {"fanotify_mark_entry", "1000", "bool", "file_system"},
    {"unix_sk_entry", "1000", "ext_unix_sk", "ext"},
    {"netlink_sk_entry", "1000", "ext_netlink_sk", "ext"},
    {"sk_packet_entry", "1000", "ext_sk_packet", "ext"},
    {"tty_info_entry", "1000", "ext_tty", "ext"},
    {"eventfd_file_entry", "1000", "bool", "semaphore"},
    {"ext_file_entry", "1000", "ext_io_uring", "io_uring"},
    {"sk_opts_entry", "1000", "ext_sk_opts", "ext"},
    {"inet_sk_entry", "1000", "ext_inet_sk", "ext"},
    {"packet_sock_entry", "1000", "ext_packet_sk", "ext"},
    {"tunfile_entry", "1000", "ext_tunfile", "ext"},
    {"net_device_entry", "1000", "ext_net_device", "ext"},
    {"netns_entry", "1000", "ext_net_namespace", "ext"},
    {"ghost_file_entry", "1000", "uint32", "atim_nsec"},
    {"ghost_file_entry", "1001", "uint32", "mtim_nsec"},
};

// What CRIU has added since, in the same form; of pagemap_blocks all but 1000, which is ours.
const std::vector<std::vector<std::string>> kNewerFields{
    {"pagemap_entry", "6", "pagemap_blocks", "blocks"},      {"pagemap_entry", "7", "uint64", "total_compressed_size"},
    {"pagemap_entry", "8", "uint32", "region_pages"},        {"pagemap_blocks", "1", "uint32", "block_sizes"},
    {"pagemap_blocks", "2", "uint64", "total_payload_size"}, {"pagemap_blocks", "3", "uint32", "pages_per_block"},
    {"pagemap_blocks", "1000", "uint32", "codec"},           {"criu_opts", "73", "uint32", "compress"},
    {"criu_opts", "74", "uint32", "compress_acceleration"},  {"criu_opts", "75", "uint32", "compress_block_size"},
    {"criu_opts", "76", "uint32", "decompress_threads"},
};

const char *label_of(const FieldDescriptor &field) {
    return field.is_required() ? "required" : field.is_repeated() ? "repeated" : "optional";
}

std::string local_name(const std::string &full) {
    return full.substr(std::string("img.").size());
}

std::string type_of(const FieldDescriptor &field) {
    if (field.message_type())
        return local_name(field.message_type()->full_name());
    if (field.enum_type())
        return local_name(field.enum_type()->full_name());
    return field.type_name();
}

std::string default_of(const FieldDescriptor &field) {
    if (!field.has_default_value())
        return "";
    switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
        return field.default_value_bool() ? "true" : "false";
    case FieldDescriptor::CPPTYPE_INT32:
        return std::to_string(field.default_value_int32());
    case FieldDescriptor::CPPTYPE_INT64:
        return std::to_string(field.default_value_int64());
    case FieldDescriptor::CPPTYPE_UINT32:
        return std::to_string(field.default_value_uint32());
    case FieldDescriptor::CPPTYPE_UINT64:
        return std::to_string(field.default_value_uint64());
    case FieldDescriptor::CPPTYPE_ENUM:
        return field.default_value_enum()->name();
    case FieldDescriptor::CPPTYPE_STRING:
        return field.default_value_string();
    default:
        return "?";
    }
}

std::string hint_of(const FieldDescriptor &field) {
    const img::CRIU_Opts &opts = field.options().GetExtension(img::criu);
    if (opts.hex())
        return "hex";
    if (opts.ipadd())
        return "ipadd";
    if (opts.dev())
        return "dev";
    if (opts.odev())
        return "odev";
    if (opts.has_flags())
        return "flags=" + opts.flags();
    if (opts.has_dict())
        return "dict=" + opts.dict();
    return opts.has_conv() ? "conv=" + opts.conv() : "";
}

// The files that belong to no image kind have to be linked in by name.
const DescriptorPool &pool() {
    img::criu_req::descriptor();
    img::CRIU_Opts::descriptor();
    img::img_streamer_request_entry::descriptor();
    return *DescriptorPool::generated_pool();
}

void collect(const Descriptor &message, std::set<std::string> &fields) {
    for (int i = 0; i < message.field_count(); i++)
        fields.insert(local_name(message.full_name()) + "." + std::to_string(message.field(i)->number()));
}

} // namespace

TEST_CASE("the schema has every row of the reference", "[image]") {
    for (const auto &row : test::read_tsv(test::golden() / "reference/image-schema.tsv")) {
        INFO(row[2] << " " << row[3] << " " << row[6]);
        if (row[0] == "enum") {
            const EnumDescriptor *type = pool().FindEnumTypeByName("img." + row[2]);
            REQUIRE(type);
            REQUIRE(type->file()->name() == row[1]);
            const auto *value = type->FindValueByName(row[6]);
            REQUIRE(value);
            CHECK(std::to_string(value->number()) == row[3]);
            continue;
        }
        const Descriptor *message = pool().FindMessageTypeByName("img." + row[2]);
        REQUIRE(message);
        CHECK(message->file()->name() == row[1]);
        const FieldDescriptor *field = message->FindFieldByNumber(std::stoi(row[3]));
        REQUIRE(field);
        CHECK(label_of(*field) == row[4]);
        CHECK(type_of(*field) == row[5]);
        CHECK(field->name() == row[6]);
        CHECK(default_of(*field) == row[7]);
        CHECK(hint_of(*field) == row[8]);
        CHECK_FALSE(field->is_packed());
    }
}

TEST_CASE("the schema has nothing beyond the reference but our listed fields", "[image]") {
    std::set<std::string> known, files, compiled;
    for (const auto &row : test::read_tsv(test::golden() / "reference/image-schema.tsv")) {
        files.insert(row[1]);
        if (row[0] == "field")
            known.insert(row[2] + "." + row[3]);
    }
    for (const auto &own : kOurFields) {
        INFO(own[0]);
        const auto *field = pool().FindMessageTypeByName("img." + own[0])->FindFieldByNumber(std::stoi(own[1]));
        REQUIRE(field);
        CHECK(field->is_optional());
        CHECK(type_of(*field) == own[2]);
        CHECK(field->name() == own[3]);
        CHECK(field->number() >= 1000);
        known.insert(own[0] + "." + own[1]);
    }
    for (const auto &newer : kNewerFields) {
        INFO(newer[0]);
        const auto *field = pool().FindMessageTypeByName("img." + newer[0])->FindFieldByNumber(std::stoi(newer[1]));
        REQUIRE(field);
        CHECK(type_of(*field) == newer[2]);
        CHECK(field->name() == newer[3]);
        known.insert(newer[0] + "." + newer[1]);
    }
    for (const auto &name : files) {
        INFO(name);
        const FileDescriptor *file = pool().FindFileByName(name);
        REQUIRE(file);
        for (int i = 0; i < file->message_type_count(); i++)
            collect(*file->message_type(i), compiled);
    }
    CHECK(compiled == known);
}

TEST_CASE("fields that this program does not know survive reading and writing", "[image]") {
    img::criu_version future;
    future.set_major_number(4);
    future.set_minor_number(9);
    auto *unknown = future.GetReflection()->MutableUnknownFields(&future);
    unknown->AddVarint(900, 77);
    unknown->AddLengthDelimited(901, "later");
    std::string bytes = future.SerializeAsString();
    img::criu_version now;
    REQUIRE(now.ParseFromString(bytes));
    CHECK(now.SerializeAsString() == bytes);
}
