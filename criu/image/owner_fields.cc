#include "criu/image/owner_fields.hh"

#include <algorithm>
#include <string_view>

namespace image {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

struct Owners {
    std::string_view message;
    std::string_view users[4], groups[5];
};

constexpr Owners kOwners[] = {
    {"creds_entry", {"uid", "euid", "suid", "fsuid"}, {"gid", "egid", "sgid", "fsgid", "groups"}},
    {"ext_credentials", {"uid"}, {"gid", "groups"}},
    {"file_perms_entry", {"uid"}, {"gid"}},
    {"ipc_desc_entry", {"uid", "cuid"}, {"gid", "cgid"}},
    {"ghost_file_entry", {"uid"}, {"gid"}},
    {"memfd_inode_entry", {"uid"}, {"gid"}},
    {"tty_info_entry", {"uid"}, {"gid"}},
    {"ext_mqueue", {"uid"}, {"gid"}},
    {"tun_link_entry", {"owner"}, {"group"}},
    {"autofs_entry", {"uid"}, {"gid"}},
};

void translate(Message &message, const FieldDescriptor &field, const base::IdMap &map) {
    const auto *reflection = message.GetReflection();
    const bool is_signed = field.cpp_type() == FieldDescriptor::CPPTYPE_INT32;
    if (field.is_repeated()) {
        for (int i = 0; i < reflection->FieldSize(message, &field); i++)
            reflection->SetRepeatedUInt32(&message, &field, i,
                                          map.inside(reflection->GetRepeatedUInt32(message, &field, i)));
    } else if (!reflection->HasField(message, &field)) {
        return;
    } else if (is_signed) { // -1: none
        const auto id = static_cast<uint32_t>(reflection->GetInt32(message, &field));
        reflection->SetInt32(&message, &field, static_cast<int32_t>(map.inside(id)));
    } else {
        reflection->SetUInt32(&message, &field, map.inside(reflection->GetUInt32(message, &field)));
    }
}

void translate_own(Message &message, const Owners &owners, const base::OwnerMaps &maps) {
    for (int i = 0; i < message.GetDescriptor()->field_count(); i++) {
        const FieldDescriptor &field = *message.GetDescriptor()->field(i);
        if (std::ranges::find(owners.users, std::string_view(field.name())) != std::end(owners.users))
            translate(message, field, maps.users);
        else if (std::ranges::find(owners.groups, std::string_view(field.name())) != std::end(owners.groups))
            translate(message, field, maps.groups);
    }
}

/// Of who has logged in outside the tree cannot say who that was.
void translate_login(Message &message, const base::IdMap &users) {
    const auto *reflection = message.GetReflection();
    const FieldDescriptor *field = message.GetDescriptor()->FindFieldByName("loginuid");
    if (!field || !reflection->HasField(message, field))
        return;
    if (const auto id = users.find(reflection->GetUInt32(message, field)))
        reflection->SetUInt32(&message, field, *id);
    else
        reflection->ClearField(&message, field);
}

} // namespace

void translate_owners(Message &message, const base::OwnerMaps &maps) {
    const std::string_view name = message.GetDescriptor()->name();
    if (auto own = std::ranges::find(kOwners, name, &Owners::message); own != std::end(kOwners))
        translate_own(message, *own, maps);
    // Without a process that gets signals there are no ids, and what stands for them is 0.
    if (name == "fown_entry") {
        const auto *reflection = message.GetReflection();
        const FieldDescriptor *pid = message.GetDescriptor()->FindFieldByName("pid");
        if (pid && reflection->GetUInt32(message, pid))
            translate_own(message, {"fown_entry", {"uid", "euid"}, {}}, maps);
    }
    if (name == "task_core_entry")
        translate_login(message, maps.users);
    const auto *reflection = message.GetReflection();
    std::vector<const FieldDescriptor *> fields;
    reflection->ListFields(message, &fields);
    for (const FieldDescriptor *field : fields) {
        if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
            continue;
        if (!field->is_repeated()) {
            translate_owners(*reflection->MutableMessage(&message, field), maps);
            continue;
        }
        for (int i = 0; i < reflection->FieldSize(message, field); i++)
            translate_owners(*reflection->MutableRepeatedMessage(&message, field, i), maps);
    }
}

} // namespace image
