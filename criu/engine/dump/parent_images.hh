// The images that a dump builds on.
#pragma once

#include "base/log.hh"
#include "criu/pages/chain.hh"
#include "criu/pages/extents.hh"

#include <map>
#include <optional>
#include <string>

namespace dump {

using base::Result;

/// Read before the tree is stopped.
class ParentImages {
public:
    /// `previous`: relative to the images; empty for a dump that builds on nothing. What the directory lacks only makes
    /// the new images larger. Errors: Usage if there is no such directory, or if the images build on another already.
    static Result<ParentImages> open(int images_dir_fd, const std::string &previous, base::Log &log);

    /// Makes the link that a restore follows.
    Result<void> link(int images_dir_fd);
    /// Removes the link if it was made here.
    void unlink(int images_dir_fd) const;

    explicit operator bool() const { return chain_.has_value(); }
    const pages::Chain &chain() const { return *chain_; }
    const std::string &run_id() const { return run_id_; }
    /// Pages of the task that can be found there, by its number in the images.
    const std::vector<pages::Extent> &covered(uint64_t vpid) const;
    /// Whether a task that was started at this clock tick is one that the directory knows.
    bool knows_of(uint64_t start_ticks) const;

private:
    Result<void> read_inventory(base::Log &log);
    void read_pagemaps(base::Log &log);

    std::string target_; ///< of the link
    bool linked_ = false;
    std::optional<pages::Chain> chain_;
    std::string run_id_;
    std::optional<uint64_t> uptime_us_; ///< when they were made; absent for those that no dump was meant to build on
    std::map<uint64_t, std::vector<pages::Extent>> covered_;
};

} // namespace dump
