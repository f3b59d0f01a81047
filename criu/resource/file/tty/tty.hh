// Terminals: what the dump and the restore of them share.
//
// A terminal's state is a message of its own (tty-info.img); each open description of it is a file entry that names it.
// The two ends of a pseudo terminal are two such messages: CRIU numbers the slave of /dev/pts/N 2N, its master 2N + 1.
#pragma once

#include "criu/resource/file/file.hh"

#include <asm/termbits.h>

namespace resource::tty {

constexpr uint32_t slave_id(uint32_t index) {
    return index << 1;
}
constexpr uint32_t master_id(uint32_t index) {
    return index << 1 | 1;
}
/// Terminals that are no pseudo terminals have their device number on top of all those.
constexpr uint32_t other_id(dev_t rdev) {
    return 0x100000 + static_cast<uint32_t>(rdev);
}

/// What a device number stands for.
enum class Device : uint8_t { Master, Slave, Controlling, Console, Virtual, Other };
struct Identity {
    Device device = Device::Other;
    uint32_t index = 0; ///< of a pseudo or virtual terminal
};
/// The kind of a terminal by its device number; the index of a master must be asked for.
Identity identify(dev_t rdev);
bool is_pty_slave(uint32_t tty_nr, uint32_t &index); ///< tty_nr: as in /proc/PID/stat

/// Index of an open master. Errors: System.
Result<uint32_t> index_of_master(int fd);

// The message keeps the control characters as CRIU does: the bytes of the kernel's array, four to a word.
void write_termios(const termios2 &settings, img::termios_entry *entry);
termios2 read_termios(const img::termios_entry &entry);

/// Makes bytes go through unchanged for as long as it lives, in both directions; then everything is as before, unless
/// keep() is called. In canonical mode the input stays canonical: lines stay lines. Packet mode is off meanwhile.
class Quiet {
public:
    static Result<Quiet> make(int master, int slave, bool canonical_input);
    Quiet(Quiet &&other) noexcept;
    Quiet &operator=(Quiet &&) = delete;
    ~Quiet();

private:
    Quiet(int master, int slave) : master_(master), slave_(slave) {}
    int master_, slave_;
    termios2 settings_{};
    int packets_ = 0;
    bool active_ = false;
};

/// Everything that can be read from one end, without waiting. The other side's mode must be quiet.
Result<std::string> take(int fd);
/// Puts bytes back where take() got them from: `fd` is the opposite end.
Result<void> give(int fd, const std::string &data);

// What the restore does in several places.
/// Some file of the image that is open on the terminal of that id; null if there is none.
const img::file_entry *file_of(const ImageFiles &files, uint32_t info_id);
std::string path_of(const ImageFiles &files, const img::tty_file_entry &terminal, const char *otherwise);
int opening_flags(uint32_t flags);
/// Opens the slave of a master.
Result<base::UniqueFd> open_peer(int master, int flags);

// The verbs.
Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry);
Result<void> finish(FileDumpContext &context);
Result<bool> destructive_step(FileDumpContext &context);
Result<base::UniqueFd> open(FileOpenContext &context, const img::file_entry &entry);
Result<std::string> inherit_key(FileOpenContext &context, const img::file_entry &entry);
Result<void> complete(FileOpenContext &context, int fd, const img::file_entry &entry);
Result<void> lead_session(FileSettleContext &context, const image::ImageDir &images);
Result<void> settle_session(FileSettleContext &context, const image::ImageDir &images);
Result<void> settle(FileSettleContext &context, int fd, const img::file_entry &entry);
bool is_controlling(const img::file_entry &entry, const ImageFiles &files, const Remaps &remaps);
Result<plan::OpRef> open_late(LatePlan &late, const img::file_entry &entry);

} // namespace resource::tty
