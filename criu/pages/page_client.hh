// Messages over a page connection, and the side of it that sends the memory of a dump.
#pragma once

#include "criu/pages/channel.hh"
#include "criu/pages/compression.hh"
#include "criu/pages/sink.hh"
#include "criu/pages/wire.hh"

#include <memory>

namespace pages {

/// How the connection ends: one made for this run is closed behind it, a given one goes on (FORCE_CLOSE).
enum class Ending : uint8_t { Close, ForceClose };

/// Sends the memory of a dump to the other end of `channel`. Errors, of all calls: System when the other end has gone,
/// or says that it could not write.
std::unique_ptr<PageSink> page_server_sink(std::unique_ptr<Channel> channel, Ending ending,
                                           const Compression &how = {});

/// Sends one message.
Result<void> send_message(Channel &channel, const wire::Message &message, wire::Form form = wire::Form::Wide);

/// Receives one message; nothing if the other end has closed before it. `form`: found out by the first message of the
/// connection, for the following ones.
Result<std::optional<wire::Message>> receive_message(Channel &channel, std::optional<wire::Form> &form);

} // namespace pages
