// The arrays and numbers that a family's native call takes and returns, listed once.
//
// A struct of them has a member template `fields(visit)` that names every member with what must
// hold for it.  The bindings read it three times over: to check and take what Python hands over, to
// allocate results, and to tell Python (its backends, and the fuzzer) what there is.
//
//   visit.array(name, member, axes)               an array of that shape
//   visit.optional(name, member, axes)            the same, or none: a null pointer
//   visit.index(name, member, axes, into)         entries that count along the axis `into`
//   visit.integers(name, member, axes, low, high) entries from low to high
//   visit.extent(member, axis, low, high)         set to the extent of an axis
//   visit.number(name, member)                    a number
//   visit.integer(name, member, low, high)        a whole number from low to high
//   visit.list(name, member, count, low, high)    a short list of whole numbers, and its length
//   visit.output(name, member, axes)              an array of results
#pragma once

#include "base/config.hpp"

namespace krf {

// The meaning of an axis.  Arrays of one call that name an axis have the same extent along it.
enum class Axis : int {
  kNone,
  kRuns,
  kTimes,
  kRows, // of results: one per evaluation time, or one
  kProblems,
  kTargets,
  kStarts,
  kEntrySets,
  kSamples,
  kFeatures,
  kFactorRows,
  kFactorColumns,
  kMatrixRows,
  kMatrixColumns,
  kWeights,
  kOutputs,
  kModes,
  kSchedules,
  kPieces,
  kAveraged, // features of which a mean is wanted
  kCount
};
inline constexpr int kAxisCount = static_cast<int>(Axis::kCount);

constexpr const char *name_of(Axis axis) {
  constexpr const char *names[kAxisCount] = {
      "none",      "runs",      "times",      "rows",      "problems", "targets",  "starts",
      "sets",      "n_samples", "n_features", "n_factor",  "columns",  "n_matrix", "m_matrix",
      "n_weights", "n_outputs", "n_modes",    "schedules", "pieces",   "averaged"};
  return names[static_cast<int>(axis)];
}

inline constexpr int kMaxRank = 4;
struct Axes {
  Axis axis[kMaxRank] = {};
  constexpr int rank() const {
    int count = 0;
    while (count < kMaxRank && axis[count] != Axis::kNone)
      ++count;
    return count;
  }
};

// How long each axis is; -1 where no array has named it yet.
struct Extents {
  long long of[kAxisCount];
  constexpr Extents() : of{} {
    for (long long &extent : of)
      extent = -1;
  }
  constexpr long long &operator[](Axis axis) { return of[static_cast<int>(axis)]; }
  constexpr long long operator[](Axis axis) const { return of[static_cast<int>(axis)]; }
};

} // namespace krf
