// A model family: everything that executors and bindings know of it.
//
// A family is an empty struct (DiagonalFlowFamily and so on), a ModelFamily.  It names
//   Batch      what its runs share and what each has of its own, with a list of `fields`
//              (fields.hpp) and the members `count`, the number of runs, and `work`, by which they
//              are ordered: the most first
//   Settings   accuracy and stopping rules, with `fields`
//   Rows       the results, with `fields`
//   kName      what Python calls it
//   kVariants  into how many kernels it is compiled; variant(batch, run) says which serves a run
// and it has static functions.  Of a batch:
//   complete(batch, extents)   fills in what follows from the shapes; null, or what is wrong
//   refuse_values(batch)       null, or what is wrong with the entries, of arrays on the host
// Of data that runs share, rearranged once for core:
//   sets(batch)                how many sets there are
//   set_of(batch, run)         the one that a run uses
//   packed_doubles(batch)      how long a packed set is
//   lines(batch)               in how many parts it is packed, in any order
//   pack(batch, set, line, to)
// Of the shape by which a device lays out its teams:
//   rows_of_systems(batch)     the order of its linear systems
//   features(batch), samples(batch)   how many features, and how long, a pass visits
//
// Beside it, in the namespace of the instruction set, because their code depends on it:
//   problem(family, team, batch, run, packed, arena)
//                              what a solver is given; its sizes alone where run is kSizesOnly
//   Solver<Family, TeamT, Variant>
//                              the type of the solver
//   solve(family, solver, team, problem, batch, settings, rows, run)
#pragma once

#include "base/arena.hpp"
#include "fields.hpp"
#include "team.hpp"

namespace krf {

inline constexpr long long kSizesOnly = -1;

// The work of a run, for sorting: NaN counts as none.
inline double comparable(double work) { return work == work ? work : 0.0; }

template <class F>
concept ModelFamily = requires(typename F::Batch batch, const typename F::Batch &given, long long i,
                               double *to, Extents &extents) {
  { &F::Batch::template fields<int &> }; // of any visitor
  { &F::Settings::template fields<int &> };
  { &F::Rows::template fields<int &> };
  { F::kName };
  { F::kVariants };
  { F::variant(given, i) };
  { F::complete(batch, extents) };
  { F::refuse_values(given) };
  { F::sets(given) };
  { F::set_of(given, i) };
  { F::packed_doubles(given) };
  { F::lines(given) };
  F::pack(given, i, i, to);
  { F::rows_of_systems(given) };
  { F::features(given) };
  { F::samples(given) };
  { given.count };
  { given.work };
};

template <ModelFamily... Family> struct FamilyList {};
template <int Value> struct Constant {
  static constexpr int value = Value;
};

} // namespace krf

KRF_BEGIN_NAMESPACE

template <class Family, Team TeamT, int Variant> struct SolverOf;
template <class Family, Team TeamT, int Variant>
using Solver = typename SolverOf<Family, TeamT, Variant>::Type;

// Calls use(Constant<variant>{}).
template <int Count, class Use> auto with_variant(int variant, const Use &use) {
  if constexpr (Count > 1)
    if (variant < Count - 1)
      return with_variant<Count - 1>(variant, use);
  return use(Constant<Count - 1>{});
}

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
