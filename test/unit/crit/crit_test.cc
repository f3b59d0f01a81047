// The commands of crit, run in this process: errors, odd inputs, what the golden test does not reach.
#include "criu/crit/crit.hh"

#include "../image/support.hh"
#include "criu/crit/image_json.hh"
#include "fs.pb.h"
#include "utsns.pb.h"

#include <nlohmann/json.hpp>
#include <sys/mman.h>

using namespace crit;

namespace {

struct Outcome {
    int status;
    std::string out, err;
};

base::UniqueFd memory(std::string_view bytes = {}) {
    base::UniqueFd fd(memfd_create("crit-test", MFD_CLOEXEC));
    REQUIRE(write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    lseek(fd.get(), 0, SEEK_SET);
    return fd;
}

std::string contents(const base::UniqueFd &fd) {
    std::string bytes(static_cast<size_t>(lseek(fd.get(), 0, SEEK_END)), '\0');
    REQUIRE(pread(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    return bytes;
}

Outcome run(std::initializer_list<std::string_view> args, std::string_view input = {}) {
    auto in = memory(input), out = memory(), err = memory();
    int status = run_crit(std::span(args.begin(), args.size()), {in.get(), out.get(), err.get()});
    return {status, contents(out), contents(err)};
}

Outcome encode(std::string_view json) {
    return run({"encode"}, json);
}

std::string fs_image(std::string_view extra_field = {}) {
    img::fs_entry fs;
    fs.set_cwd_id(1);
    fs.set_root_id(2);
    fs.set_umask(3);
    std::string bytes = fs.SerializeAsString() + std::string(extra_field);
    std::string out = encode(R"({"magic": "FS", "entries": []})").out;
    auto length = static_cast<uint32_t>(bytes.size());
    return out + std::string(reinterpret_cast<const char *>(&length), 4) + bytes;
}

std::string golden(const char *name) {
    return test::golden() / name;
}

/// The error is one line without a trace of the inside.
void check_fails(const Outcome &outcome, const std::string &text) {
    CHECK(outcome.status == 1);
    CHECK(outcome.out.empty());
    CHECK(outcome.err == "crit: " + text + "\n");
}

} // namespace

TEST_CASE("crit tells how it is used", "[crit]") {
    CHECK(run({}).status == 1);
    CHECK_THAT(run({}).err, Catch::Matchers::StartsWith("usage: crit "));
    CHECK(run({"--version"}).out == "4.2\n");
    CHECK(run({"-h"}).status == 0);
    CHECK_THAT(run({"x", "--help"}).out, Catch::Matchers::StartsWith("usage: crit x "));
    for (auto args : {std::initializer_list<std::string_view>{"bogus"},
                      {"decode", "--colour"},
                      {"decode", "file"},
                      {"decode", "-i"},
                      {"decode", "--pretty=1"},
                      {"info"},
                      {"x", "dir"},
                      {"x", "dir", "bogus"},
                      {"show", "a", "b"}}) {
        INFO(*args.begin());
        CHECK(run(args).status == 2);
        CHECK(run(args).out.empty());
        CHECK_THAT(run(args).err, Catch::Matchers::StartsWith("usage: "));
    }
}

TEST_CASE("options may be shortened, joined and put anywhere", "[crit]") {
    std::string file = golden("sampler/fs-883.img"), joined = "-i" + file, equals = "--in=" + file;
    std::string text = run({"decode", "--pretty", "-i", file}).out;
    CHECK_FALSE(text.empty());
    CHECK(run({"decode", joined, "--pre"}).out == text);
    CHECK(run({"decode", equals, "--pretty"}).out == text);
    CHECK(run({"show", "--", file}).out == text);
}

TEST_CASE("a file gets no line feed at its end, standard output does", "[crit]") {
    test::TempDir dir;
    std::string out = dir.path() / "out.json", file = golden("sampler/fs-883.img");
    CHECK(run({"decode", "-i", file, "-o", out}).out.empty());
    CHECK(test::slurp(out) + "\n" == run({"decode", "-i", file}).out);
}

TEST_CASE("images that cannot be read are errors of one line", "[crit]") {
    check_fails(run({"decode", "-i", "/nonexistent"}), "/nonexistent: No such file or directory");
    check_fails(run({"decode"}, ""), "standard input: offset 0: truncated");
    check_fails(run({"decode"}, "garbage!"),
                "standard input: offset 0: unknown magic 0x62726167: not an image of entries");
    check_fails(run({"info", golden("sampler/json")}), golden("sampler/json") + ": Is a directory");
    check_fails(run({"decode"}, fs_image().substr(0, 15)),
                "standard input: offset 8: truncated: entry of 6 bytes, 3 left");
    std::string pages = golden("sampler/pages-1.img");
    check_fails(run({"show", pages}), pages + ": is a raw image (PAGES): pages of memory, without entries to show");
    check_fails(run({"x", "/nonexistent", "ps"}), "/nonexistent: No such file or directory");
    test::TempDir dir;
    std::string empty = dir.path();
    check_fails(run({"x", empty, "ps"}), empty + ": pstree.img: missing or empty: not a checkpoint");
}

TEST_CASE("JSON that is not an image is an error that names entry and field", "[crit]") {
    CHECK_THAT(encode("{").err,
               Catch::Matchers::StartsWith("crit: standard input: ") && Catch::Matchers::Contains("line 1"));
    check_fails(encode("[]"), "standard input: not an image in JSON: needs \"magic\" and a list of \"entries\"");
    check_fails(encode(R"({"magic": "NOPE", "entries": []})"), "standard input: no image of entries is called 'NOPE'");
    check_fails(encode(R"({"magic": "PAGES", "entries": []})"),
                "standard input: no image of entries is called 'PAGES'");
    auto fs = [](const std::string &entry) { return encode(R"({"magic": "FS", "entries": [)" + entry + "]}"); };
    check_fails(fs(R"({"cwd_id": 1})"), "standard input: entry 0: fs_entry needs root_id");
    check_fails(fs(R"({"bogus": 1})"), "standard input: entry 0: fs_entry has no field 'bogus'");
    check_fails(fs("7"), "standard input: entry 0: must be an object (fs_entry)");
    check_fails(fs(R"({"cwd_id": -1})"), "standard input: entry 0: cwd_id: -1 is not a number from 0 on");
    check_fails(fs(R"({"cwd_id": 4294967296})"),
                "standard input: entry 0: cwd_id: 4294967296 is not at most 4294967295");
    check_fails(fs(R"({"cwd_id": "x"})"), "standard input: entry 0: cwd_id: \"x\" is not a number");
    check_fails(fs(R"({"cwd_id": 1.5})"), "standard input: entry 0: cwd_id: 1.5 is not a number from 0 on");
    check_fails(fs(R"({"cwd_id": 1, "root_id": 2, "umask": 3, "extra": "YQ=="})"),
                "standard input: entry 0: extra: this kind of image has none");
    check_fails(encode(R"({"magic": "FDINFO", "entries": [{"id": 1, "flags": 0, "type": "SPOON", "fd": 1}]})"),
                "standard input: entry 0: type: \"SPOON\" is not one of fd_types");
    check_fails(encode(R"({"magic": "PIPES_DATA", "entries": [{"pipe_id": 1, "bytes": 2, "extra": "YQ=="}]})"),
                "standard input: entry 0: extra: has 1 bytes, but the entry says 2");
    check_fails(encode(R"({"magic": "GHOST_FILE", "entries": [{"uid":0,"gid":0,"mode":0}, {"len": 0, "off": 0}]})"),
                "standard input: entry 1: a ghost file without chunks has one entry");
    std::string deep = R"({"magic": "APPARMOR", "entries": [)";
    for (int i = 0; i < 200; i++)
        deep += i ? R"({"name": "n", "namespaces": [)" : R"({"namespaces": [)";
    for (int i = 0; i < 200; i++)
        deep += "]}";
    CHECK_THAT(encode(deep + "]}").err, Catch::Matchers::Contains("nested too deeply"));
}

TEST_CASE("payloads of every kind go to JSON and back", "[crit]") {
    const char *kDesc = R"("desc": {"key": 1, "uid": 0, "gid": 0, "cuid": 0, "cgid": 0, "mode": 420, "id": 0})";
    const std::string kImages[]{
        R"({"magic": "IPCNS_SHM", "entries": [{)" + std::string(kDesc) + R"(, "size": 6, "extra": "YWJjZGVm\n"}]})",
        R"({"magic": "IPCNS_SEM", "entries": [{)" + std::string(kDesc) + R"(, "nsems": 3, "extra": [1, 2, 65535]}]})",
        R"({"magic": "IPCNS_MSG", "entries": [{)" + std::string(kDesc) +
            R"(, "qbytes": 99, "qnum": 2, "extra": [{"mtype": 1, "msize": 3}, "YWJj\n", {"mtype": 1, "msize": 9}, )"
            R"("YWJjZGVmZ2hp\n"]}]})",
        R"({"magic": "BPFMAP_DATA", "entries": [{"map_id": 1, "keys_bytes": 3, "values_bytes": 2, "count": 1, )"
        R"("extra": "YWJjZGU=\n"}]})",
        R"({"magic": "GHOST_FILE", "entries": [{"uid": 0, "gid": 0, "mode": 1, "chunks": true}, )"
        R"({"len": 3, "off": 0, "extra": "YWJj\n"}, {"len": 1, "off": 8192, "extra": "YQ==\n"}]})",
        R"({"magic": "GHOST_FILE", "entries": [{"uid": 0, "gid": 0, "mode": 1, "extra": ""}]})",
    };
    for (const std::string &json : kImages) {
        INFO(json);
        auto image = encode(json);
        REQUIRE(image.err == "");
        CHECK(run({"decode"}, image.out).out == json + "\n");
    }
}

TEST_CASE("what the python crit loses survives", "[crit]") {
    // Field 900 of a newer schema.
    std::string newer = fs_image(std::string("\xa0\x38\x05", 3));
    std::string json = run({"decode"}, newer).out;
    CHECK_THAT(json, Catch::Matchers::Contains("\"_unknown_fields\": \"oDgF\\n\""));
    CHECK(encode(json).out == newer);

    // A host name that is not UTF-8.
    std::string odd = R"({"magic": "UTSNS", "entries": [{"nodename": {"bytes": "//4=\n"}, "domainname": ""}]})";
    auto image = encode(odd);
    REQUIRE(image.err == "");
    CHECK(run({"decode"}, image.out).out == odd + "\n");
}

TEST_CASE("numbers may be written in any form", "[crit]") {
    auto image = [](const char *vma) {
        return encode(std::string(R"({"magic": "VMAS", "entries": [{"start": "0x1000", "end": 8192, "pgoff": "0", )") +
                      R"("shmid": 0, )" + vma + R"(, "status": "VMA_AREA_REGULAR | 0x200", "fd": -1}]})");
    };
    auto words = image(R"("prot": "PROT_READ | PROT_WRITE", "flags": "MAP_PRIVATE | MAP_ANON")");
    auto numbers = image(R"("prot": 3, "flags": "0x22")");
    CHECK(words.err == "");
    CHECK(words.out == numbers.out);
}
