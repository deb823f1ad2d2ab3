// What the state on the target says about the lanes: how many there are, where each stands, and how the rows
// of the tables are dealt to them.
//
//   walferry.lane     the position of each lane: moved by compare-and-set with the data; where it joined
//   walferry.dealing  per table, while there are several lanes: by which columns its rows are dealt
#pragma once

#include <string>
#include <vector>

#include "decoder/lsn.h"
#include "stream/connection.h"
#include "stream/publication.h"

namespace walferry {

// Sets the position of lanes [0, lanes) where there is none yet.
absl::Status InitializeLanes(Connection& target, const std::string& name, int lanes, Lsn position);
absl::StatusOr<std::vector<Lsn>> LoadLanes(Connection& target, const std::string& name);

// A second lane, at `position`: what commits before `joined` the first one applies alone. Does not wait for
// what the first one is doing.
absl::Status AddLane(Connection& target, const std::string& name, Lsn position, Lsn joined);
// Takes it back.
absl::Status RemoveLane(Connection& target, const std::string& name);
// Where the last one joined.
absl::StatusOr<Lsn> LoadJoined(Connection& target, const std::string& name);

struct LaneTerms {
  int lanes = 1;
  bool binary = false;  // Rows are dealt by binary values.
  friend bool operator==(const LaneTerms&, const LaneTerms&) = default;
};
// The terms of this run: as wanted if all lanes stand at the same position, else those of the run before. Not
// inside a transaction; waits for those that still move a lane. The caller is the migration's only writer.
absl::StatusOr<LaneTerms> AgreeOnLanes(Connection& target, const std::string& name, const LaneTerms& wanted);

struct DealtTable {
  Oid source_oid = 0;            // Names may be others on the source, or by the time that it is asked for.
  TableName table;               // As the target calls it when this is decided: the hash begins with it.
  std::vector<std::string> key;  // The columns whose values decide; empty: all rows go to one lane.
  bool binary = false;           // As which values they were taken.
  friend bool operator==(const DealtTable&, const DealtTable&) = default;
};
// One statement without parameters, for the pipeline of the transaction in which it begins to hold.
std::string RecordDealingSql(const std::string& name, const DealtTable& dealt);
absl::StatusOr<std::vector<DealtTable>> LoadDealing(Connection& target, const std::string& name);
absl::Status ClearDealing(Connection& target, const std::string& name);

}  // namespace walferry
