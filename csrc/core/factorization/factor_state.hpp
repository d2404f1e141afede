// A factorisation in the middle of its flow, whatever the loss: the factor W, the stages of a step,
// and how large a change of them is.
//
// Every stage of a Runge-Kutta step is some matrix times W, so errors are multiplicative: they are
// measured column by column, in a basis where every column is a direction of its own
// (one_sided_jacobi.hpp), row by row, and besides as changes of M, which in the kernel regime is a
// small difference of large parts.
#pragma once

#include "../linalg/one_sided_jacobi.hpp"
#include "../ode/error_norm.hpp"
#include "balance.hpp"
#include "column_motion.hpp"
#include "row_motion.hpp"

KRF_BEGIN_NAMESPACE

namespace factor_rules {
inline constexpr double kCosine = 0.1; // between columns, once they are orthogonal
inline constexpr double kDrift = 0.5;  // relative motion of a column until they are made so again
inline constexpr double kGrowth = 4.0; // longest step in units of relative motion
// A state has hardly moved if no column or row has changed by more than kMoved of its size, nor by
// more than a share of what the residual could have moved it by: kMovedShare, or kMovedPerRtol rtol
// where that is larger.  Its velocity is then at most kSlow, or rtol, of the fastest possible.
inline constexpr double kMoved = 1e-2, kMovedShare = 1e-8, kMovedPerRtol = 1e-4, kSlow = 1e-5;
} // namespace factor_rules

template <Team TeamT> class FactorState {
public:
  using T = typename TeamT::Value;

  TeamT &team;
  int length; // of W
  Measurements<TeamT> sensing;
  ColumnMotion<TeamT> columns;
  RowMotion<TeamT> rows;
  double *W;
  double *stages; // W + N_j; the third is the trial end
  double *row;    // W of results
  double *before; // W at an earlier step, in the present basis of columns

  KRF_HD FactorState(TeamT &team_, const FactorProblem &p, Arena &arena)
      : team(team_), length(p.n * padded(p.r)), sensing(team_, p, arena),
        columns(team_, p.n, p.r, arena), rows(team_, sensing, arena), W(arena.take(length)),
        stages(arena.take(3LL * length)), row(arena.take(length)), before(arena.take(length)),
        basis_(team_, p.n, p.r, arena), balance_(team_, p.n, p.r, p.c0, arena),
        M_(arena.take(sensing.entries)) {}

  // `field` and `tangent` are zero for now.
  KRF_HD void start(const FactorProblem &p, double *field, double *tangent) {
    copy(team, p.W0, W, length);
    has_mirror_ = halves_are_equal() && sensing.is_symmetric(p.y);
    fill(team, 0.0, stages, 3 * length);
    fill(team, 0.0, before, length);
    columns.remember_smallest(W);
    balance_.start(W);
    basis_.start();
    orthogonalise(field, tangent, stages);
    // What rounding leaves of dependent columns is not a direction.
    columns.clear_rounding(W);
  }

  KRF_HD double *end() const { return stages + 2LL * length; }
  KRF_HD static bool finite(double x) { return x - x == 0.0; }

  // The norm of M, which is kept: against it a step's change is measured.
  KRF_HD double predictor_norm() {
    const double size = sensing.image_norm(W, W, false);
    copy(team, sensing.M, M_, sensing.entries);
    return size;
  }
  KRF_HD double step_cap(const double *field) {
    const double speed = columns.change(field, W);
    return speed > 0 ? factor_rules::kGrowth / speed : kInfinity;
  }

  // Largest relative change of a column or a row at `at` along V.
  KRF_HD double part_change(const double *V, const double *at) {
    return larger(columns.change(V, at), rows.change(V, at));
  }
  // The change along V of M and of the parts at the trial end.
  KRF_HD ErrorNorm change_at_end(const double *V) {
    return {part_change(V, end()), sensing.image_norm(V, end(), true),
            sensing.image_norm(end(), end(), false), 0};
  }
  // The change of M where the stages have moved by V, and by how much the step moves it.
  KRF_HD void measure_stages(const double *V, ErrorNorm &change) {
    change.predictor = sensing.image_norm(V + 2LL * length, end(), true);
    change.predictor_norm = sensing.image_norm(end(), end(), false);
    change.predictor_step = distance(team, sensing.M, M_, sensing.entries);
  }

  // Whether every column and row moves at no more than `speed` times its size, by its rounding, or
  // to its rest; after `columns.measure` and `rows.measure`.  Weights may differ by orders of
  // magnitude: where `own_rows`, a row is at rest by its own rounding alone.
  KRF_HD bool slower_than(double speed, bool own_rows, const double *field) {
    return columns.slower_than(speed) && rows.slower_than(own_rows ? 0.0 : speed, W, field);
  }

  // Whether W has hardly moved since it was `before`, in the time `passed`.  Columns are compared
  // with the largest rate at which the residual could move them, and rows with one of their own,
  // because they may have other units.  A part that still grows counts once it shows in its column.
  KRF_HD KRF_APART bool has_hardly_moved(double passed, double rate, double rtol,
                                         const double *residual, const double *field) {
    using namespace factor_rules;
    const double share = larger(kMovedShare, kMovedPerRtol * rtol), slow = larger(kSlow, rtol);
    subtract(team, W, before, row, length);
    return columns.change(row, W) <= smaller(kMoved, share * rate * passed) &&
           columns.slower_than(slow * rate) &&
           rows.barely_move(row, kMoved, share * passed, slow, residual, field);
  }
  KRF_HD void remember() { copy(team, W, before, length); }

  // The trial end, dW from the state, becomes the state, with the field there.
  KRF_HD void advance(const double *dW, double *field) {
    motion_ += columns.change(dW, W);
    copy(team, end(), W, length);
    if (has_mirror_) {
      mirror(W);
      mirror(field);
    }
  }
  // Rows and columns that shrink for ever become zero before the squares of their entries
  // underflow, with their velocities and the three vectors of `history`.
  KRF_HD KRF_APART void clear_vanished(double *field, double *history) {
    double *const all[] = {W, field, history, history + length, history + 2LL * length};
    columns.clear_vanished(all);
    const auto is_small = [&](const double *entries) {
      double most = 0.0;
      for (int c = 0; c < sensing.r; ++c)
        most = larger(most, std::fabs(entries[c]));
      return most < ColumnMotion<TeamT>::kVanished;
    };
    team.each(sensing.n, [&](int i) {
      const long long at = static_cast<long long>(i) * sensing.ldr;
      if (!is_small(W + at) || !is_small(field + at))
        return;
      for (double *part : all)
        for (int c = 0; c < sensing.r; ++c)
          part[at + c] = 0.0;
    });
  }
  KRF_HD bool has_drifted() const { return motion_ >= factor_rules::kDrift; }
  // Makes the columns of W orthogonal; the field, the factor of the tangent kernel and the three
  // vectors of `history` turn along.
  KRF_HD void orthogonalise(double *field, double *tangent, double *history) {
    double *const part[] = {
        W, field, tangent, history, history + length, history + 2LL * length, before};
    basis_.orthogonalise(part, factor_rules::kCosine);
    motion_ = 0;
  }

  // Puts U^T U - V^T V in `row` back to what it was, before its loss is taken.
  KRF_HD void balance_row() { balance_.restore(row, basis_.Q); }
  // `row` in the basis of the caller's columns: (columns turned) Q^T.
  KRF_HD void write_row(double *to) {
    team.products(row, sensing.ldr, sensing.n, basis_.Q.data, sensing.ldr, sensing.r, sensing.ldr,
                  to, sensing.r, false);
  }

private:
  KRF_HD bool halves_are_equal() {
    const int half = sensing.c0 * sensing.ldr;
    return length == 2 * half && !team.any(half, [&](int e) { return W[e] != W[half + e]; });
  }
  // Makes U and V of a factor equal: both their mean.
  KRF_HD void mirror(double *factor) {
    const int half = length / 2;
    team.each(half,
              [&](int e) { factor[e] = factor[half + e] = 0.5 * (factor[e] + factor[half + e]); });
  }

  OneSidedJacobi<TeamT> basis_;
  Balance<TeamT> balance_;
  double *M_; // at W
  // Whether U = V for ever: they are equal at the start, and the loss is the same at M and at its
  // transpose. Where a negative eigenvalue is wanted of M = U U^T, what rounding leaves of U - V
  // would grow like e^(c t), and fit it.
  bool has_mirror_ = false;
  double motion_ = 0; // relative, of a column, since the columns were orthogonal
};

KRF_END_NAMESPACE
