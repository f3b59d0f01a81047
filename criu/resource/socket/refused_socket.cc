// Sockets of families that no other kind takes: refused by name, with what there is to do.
#include "criu/resource/file/file.hh"
#include "criu/resource/socket/option_list.hh"

#include <fmt/format.h>
#include <sys/socket.h>

namespace resource::refused_socket {
namespace {

struct Family {
    int number;
    const char *name;
    const char *hint;
};
constexpr const char *kCloseIt =
    "close it before the dump, or leave it out with --skip-fd if the program can do without";
constexpr Family kFamilies[] = {
    {40, "AF_VSOCK", "connections to the hypervisor or a guest end with the machine: close it before the dump"},
    {38, "AF_ALG", "the kernel does not give the keys of its cryptography back: use a library in the program"},
    {44, "AF_XDP", "its rings belong to a device: close it before the dump"},
    {29, "AF_CAN", kCloseIt},
    {30, "AF_TIPC", kCloseIt},
    {31, "AF_BLUETOOTH", kCloseIt},
    {43, "AF_SMC", "start the program without SMC (smc_run), so that it uses TCP"},
    {21, "AF_RDS", kCloseIt},
    {41, "AF_KCM", kCloseIt},
    {39, "AF_NFC", kCloseIt},
    {42, "AF_QIPCRTR", kCloseIt},
    {24, "AF_PPPOX", kCloseIt},
    {15, "AF_KEY", kCloseIt},
    {27, "AF_IB", kCloseIt},
    {45, "AF_MCTP", kCloseIt},
};

bool matches(const OpenFile &file) {
    return file.family >= 0; // a name in the file system that was opened with O_PATH is no socket
}

Result<void> refuse(const OpenFile &file) {
    for (const Family &family : kFamilies)
        if (family.number == file.family)
            return base::fail(
                base::Error(base::ErrorKind::Unsupported, fmt::format("{} sockets cannot be checkpointed", family.name))
                    .hint(family.hint));
    return base::fail(base::Error(base::ErrorKind::Unsupported,
                                  fmt::format("sockets of the family {} cannot be checkpointed", file.family))
                          .hint(kCloseIt));
}

Result<void> examine(const OpenFile &file, const Examined &) {
    return refuse(file);
}

Result<void> dump(FileDumpContext &, const OpenFile &file, img::file_entry &) {
    return refuse(file);
}

} // namespace

extern const FileKind kKind{.name = "socket",
                            .type = img::UND,
                            .about = {.saved = "nothing: refused by name (AF_VSOCK, AF_ALG, AF_XDP, AF_CAN, AF_TIPC, "
                                               "AF_BLUETOOTH, AF_SMC, AF_RDS and the like)",
                                      .limits = "`--skip-fd N` leaves a descriptor out"},
                            .matches = matches,
                            .dump = dump,
                            .examine = examine};

} // namespace resource::refused_socket
