// A model family: everything the executors and the bindings know about it.
//
// A family is a struct without members of its own (DiagonalFlowFamily and so on).  It names
//   Batch      what its runs share and what each has of its own, with `fields` (fields.hpp);
//   `count`
//              runs, of which those with the most `work` begin first
//   Settings   accuracy and stopping rules, with `fields`
//   Rows       the results, with `fields`
//   kName      what Python calls it
//   kVariants  into how many kernels it is compiled; variant(batch, run) tells which one serves a
//              run, by its depth for instance
// and has, as static functions,
//   complete(batch, extents)      what of the batch follows from the shapes; null, or what is wrong
//   refuse_values(batch)          null, or what is wrong with the entries; arrays of the host only
//   sets(batch), set_of(batch, run), packed_doubles(batch), lines(batch), pack(batch, set, line,
//   to)
//                                 the data that runs share, rearranged once for core: how many
//                                 sets, which one a run uses, how long a packed one is, and its
//                                 parts, which may be packed in any order
//   rows_of_systems(batch), features(batch), samples(batch)
//                                 the order of its linear systems, and how many features of what
//                                 length a pass visits: by these a device lays out its teams
// Beside it, in the namespace of the instruction set, because their code depends on it:
//   problem(family, team, batch, run, packed, arena)   what a solver takes; for run = kSizesOnly
//   the
//                                                      sizes alone
//   Solver<Family, TeamT, Variant>                     the solver's type
//   solve(family, solver, team, problem, batch, settings, rows, run)
#pragma once

#include "base/arena.hpp"
#include "fields.hpp"
#include "team.hpp"

namespace krf {

inline constexpr long long kSizesOnly = -1;

// Of runs to start first; what is not a number orders nothing.
inline double comparable(double work) { return work == work ? work : 0.0; }

template <class... Family> struct FamilyList {};
template <int Value> struct Constant {
  static constexpr int value = Value;
};

} // namespace krf

KRF_BEGIN_NAMESPACE

template <class Family, Team TeamT, int Variant> struct SolverOf;
template <class Family, Team TeamT, int Variant>
using Solver = typename SolverOf<Family, TeamT, Variant>::Type;

// The arena that a run takes.
template <class Family, int Variant, Team TeamT>
KRF_HD long long arena_doubles(TeamT &team, const typename Family::Batch &batch) {
  Arena arena(nullptr);
  const auto sizes = problem(Family{}, team, batch, kSizesOnly, nullptr, arena);
  Solver<Family, TeamT, Variant> solver(team, sizes, arena);
  return arena.used();
}

template <class Family, int Variant, Team TeamT>
KRF_HD void run_family(TeamT &team, const typename Family::Batch &batch,
                       const typename Family::Settings &settings, const typename Family::Rows &rows,
                       long long run, const double *packed, Arena &arena) {
  const auto given = problem(Family{}, team, batch, run, packed, arena);
  Solver<Family, TeamT, Variant> solver(team, given, arena);
  solve(Family{}, solver, team, given, batch, settings, rows, run);
}

KRF_END_NAMESPACE
