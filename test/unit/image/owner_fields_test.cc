// Images say users and groups as the tree calls them.
#include "criu/image/owner_fields.hh"

#include "cgroup.pb.h"
#include "core.pb.h"
#include "fdinfo.pb.h"

#include <catch2/catch.hpp>

using namespace image;

namespace {

base::OwnerMaps maps() {
    return {base::IdMap({{0, 100000, 1000}, {1000, 5, 1}}), base::IdMap({{0, 200000, 1000}})};
}

} // namespace

TEST_CASE("ids inside of a user namespace", "[image]") {
    const base::IdMap map = maps().users;
    CHECK(map.inside(100000) == 0);
    CHECK(map.inside(100999) == 999);
    CHECK(map.inside(5) == 1000);
    CHECK(map.inside(101000) == 65534);
    CHECK(map.inside(~0u) == ~0u);
    CHECK_FALSE(map.find(6));
    CHECK(base::IdMap().inside(6) == 6);
}

TEST_CASE("owners in messages are translated, however deep", "[image]") {
    img::core_entry core;
    auto *creds = core.mutable_thread_core()->mutable_creds();
    creds->set_uid(100001), creds->set_euid(5), creds->set_gid(200003), creds->set_fsgid(7);
    creds->add_groups(200009);
    core.mutable_tc()->set_loginuid(100002);
    translate_owners(core, maps());
    CHECK(creds->uid() == 1);
    CHECK(creds->euid() == 1000);
    CHECK(creds->gid() == 3);
    CHECK(creds->fsgid() == 65534);
    CHECK(creds->groups(0) == 9);
    CHECK(core.tc().loginuid() == 2);
    core.mutable_tc()->set_loginuid(7); // somebody outside: not a user of the tree
    translate_owners(core, maps());
    CHECK_FALSE(core.tc().has_loginuid());
}

TEST_CASE("what is no owner stays", "[image]") {
    img::file_entry file;
    auto *owner = file.mutable_reg()->mutable_fown();
    owner->set_uid(0), owner->set_euid(0), owner->set_pid(0);
    translate_owners(file, maps());
    CHECK(owner->uid() == 0);
    owner->set_pid(7), owner->set_uid(100003);
    translate_owners(file, maps());
    CHECK(owner->uid() == 3);
    img::cgroup_perms group; // CRIU keeps the host's
    group.set_uid(100000), group.set_gid(200000);
    translate_owners(group, maps());
    CHECK(group.uid() == 100000);
}
