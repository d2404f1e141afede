// Matrix factorisation as the integrators see it: W' = S W, S = 2 sum_i r_i A_i with residuals
// r = y - f, for a factor W of the lifted Gram matrix W W^T.
//
// W has at most n columns however wide the network is (the flow of W W^T closes), and keeping a
// factor keeps W W^T positive semidefinite and of its rank.  Every stage of a Runge-Kutta step is
// some matrix times W, so errors are multiplicative: they are measured column by column, in a basis
// where every column is a direction of its own (one_sided_jacobi.hpp), and besides as changes of M,
// which in the kernel regime is a small difference of large parts.
//
// The Jacobian is S - 2 J^T J.  Newton keeps the second part alone: it has rank n_samples, so a
// solve is one with the tangent kernel J J^T (Sherman-Morrison-Woodbury).  S bounds the step by
// accuracy anyway while sleeping directions grow and shrink at its eigenvalues; where none are
// left, at a stationary point with a residual, `stands_still` ends the run.
#pragma once

#include "../linalg/one_sided_jacobi.hpp"
#include "../ode/smooth_flow.hpp"
#include "balance.hpp"
#include "column_motion.hpp"
#include "row_motion.hpp"
#include "tangent_solver.hpp"

KRF_BEGIN_NAMESPACE

namespace factor_rules {
inline constexpr double kCosine = 0.1; // between columns, once they are orthogonal
inline constexpr double kDrift = 0.5;  // relative motion of a column until they are made so again
inline constexpr double kGrowth = 4.0; // longest step in units of relative motion
} // namespace factor_rules

template <Team TeamT, TangentKernel KernelT = DenseKernel<TeamT>, QuadraticLoss LossT = SquaredLoss>
class FactorSystem : public SmoothFlow {
public:
  using TeamType = TeamT;
  using Value = typename TeamT::Value;
  using T = Value;
  using Problem = FactorProblem;
  using Output = FactorFlowOutput;

  // Newton converges linearly here (S is missing in its matrix), with errors of one sign.
  static constexpr double kNewtonShare = 0.05;
  static constexpr int kStandstill = 100; // steps between two looks whether the loss still falls

  TeamT &team;
  int length;
  double *field;
  double *dense; // of W, inside the last step, relative to its start

  KRF_HD FactorSystem(TeamT &team_, const FactorProblem &p, Arena &arena)
      : team(team_), length(p.n * padded(p.r)), field(arena.take(length)),
        dense(arena.take(length)), sensing_(team_, p, arena),
        tangent_(team_, sensing_, length, arena), basis_(team_, p.n, p.r, arena),
        columns_(team_, p.n, p.r, arena), rows_(team_, sensing_, arena),
        balance_(team_, p.n, p.r, p.c0, arena), W_(arena.take(length)),
        stages_(arena.take(3LL * length)), samples_(sensing_.ldn, arena),
        M_(arena.take(sensing_.entries)), row_W_(arena.take(length)), power_(arena.take(length)) {}

  KRF_HD bool stiff_available() const { return tangent_.kernel.n_samples > 0; }
  KRF_HD static bool starts_stiff() { return false; }
  // About four Newton iterations of three fields, their solves and a share of the factorisation,
  // against six fields; both measure changes of M.
  KRF_HD double cost_ratio() const {
    const double f = sensing_.work();
    const double change = 2.0 * sensing_.p * sensing_.q * sensing_.ldr;
    return (4.0 * (7.0 * f + tangent_.kernel.solve_work() + change) +
            tangent_.kernel.factor_work() + change) /
           (6.0 * f + 1.5 * change);
  }
  KRF_HD static void set_accuracy(double) {}

  KRF_HD KRF_APART bool start(const FactorProblem &p) {
    copy(team, p.y, samples_.y, sensing_.ldn);
    run_.y_norm2 = team.dot(samples_.y, samples_.y, sensing_.ldn);
    run_.X_norm = p.X_norm;
    copy(team, p.W0, W_, length);
    fill(team, 0.0, power_, length);
    fill(team, 0.0, field, length);
    fill(team, 0.0, stages_, 3 * length);
    tangent_.start();
    columns_.remember_smallest(W_);
    balance_.start(W_);
    basis_.start();
    orthogonalise(stages_);
    // What rounding leaves of dependent columns is not a direction.
    columns_.clear_rounding(W_);
    residual_of(W_, samples_.residual);
    field_of(W_, samples_.residual, field);
    return finite(team.dot(W_, W_, length)) && finite(loss());
  }
  KRF_HD void start_stiff() { tangent_.forget(); }
  KRF_HD void begin_step(double, double h) { rows_.step = h; }

  KRF_HD double loss() { return team.dot(samples_.residual, samples_.residual, sensing_.ldn); }
  // Also keeps M, against which a step's change is measured.
  KRF_HD double predictor_norm() {
    const double size = sensing_.image_norm(W_, W_, false);
    copy(team, sensing_.M, M_, sensing_.entries);
    return size;
  }
  // Relative rate of change of the loss or of a column.
  KRF_HD double rate() {
    const double slope = team.dot(field, field, length) / larger(loss(), 1e-300);
    return larger(slope, columns_.change(field, W_));
  }
  KRF_HD double step_cap() {
    const double speed = columns_.change(field, W_);
    return speed > 0 ? factor_rules::kGrowth / speed : kInfinity;
  }
  KRF_HD bool decreases(const double *) {
    return falls(loss(), norm(team, samples_.next_residual, sensing_.ldn), run_.noise);
  }

  // A velocity of rounding is the end; and so is one that no longer lowers the loss.
  KRF_HD Rest rest(const FactorProblem &, double *, const Progress &now) {
    bool rests = moves_by_rounding();
    if (run_.standstill.is_due(now)) {
      rests = rests || (run_.standstill.stands_still(loss()) && stands_still(now.rtol));
      run_.standstill.mark(now, loss());
    }
    return rests ? Rest::kStationary : Rest::kNone;
  }

  // The field at W + shift, which becomes the trial end.
  KRF_HD bool evaluate(const double *shift, double *out) {
    add(team, W_, shift, end(), length);
    residual_of(end(), samples_.next_residual);
    field_of(end(), samples_.next_residual, out);
    return finite(team.dot(samples_.next_residual, samples_.next_residual, sensing_.ldn));
  }

  KRF_HD KRF_APART bool move_stages(const double *N, const double *V, bool add_V, double *F,
                                    ErrorNorm &change) {
    change = {};
    for (int j = 0; j < 3; ++j) {
      double *at = stages_ + j * length;
      double *residual = j == 2 ? samples_.next_residual : samples_.scratch;
      add(team, W_, N + j * length, at, length);
      residual_of(at, residual);
      field_of(at, residual, F + j * length);
      change.componentwise = larger(change.componentwise, part_change(V + j * length, at));
    }
    if (!finite(team.dot(samples_.next_residual, samples_.next_residual, sensing_.ldn)) ||
        !finite(change.componentwise))
      return false;
    if (!add_V)
      return true;
    change.predictor = sensing_.image_norm(V + 2 * length, end(), true);
    change.predictor_norm = sensing_.image_norm(end(), end(), false);
    change.predictor_step = distance(team, sensing_.M, M_, sensing_.entries);
    return true;
  }

  KRF_HD KRF_APART bool prepare(double h, double newton_rate, double *, bool &basis_changed) {
    basis_changed = false;
    return tangent_.prepare(h, newton_rate, stages_);
  }
  KRF_HD void solve(double *b) { tangent_.solve(b); }
  KRF_HD void solve_stages(double *b) {
    tangent_.solve(b);
    tangent_.solve(b + length, b + 2LL * length);
  }

  // The change of M and of the columns along V, measured at the trial end.
  KRF_HD ErrorNorm error_norm_at_end(const double *V, const double *) {
    return {part_change(V, end()), sensing_.image_norm(V, end(), true),
            sensing_.image_norm(end(), end(), false), 0};
  }

  KRF_HD void advance(const double *dW, const double *end_field) {
    copy(team, end_field, field, length);
    run_.motion += columns_.change(dW, W_);
    copy(team, end(), W_, length);
    copy(team, samples_.next_residual, samples_.residual, sensing_.ldn);
  }
  // Makes the columns orthogonal again where they may have become dependent.
  KRF_HD KRF_APART void renew_basis(double *history) {
    if (run_.motion < factor_rules::kDrift)
      return;
    run_.motion = 0;
    orthogonalise(history);
  }

  KRF_HD static void interpolate_stages(const double *) {}
  KRF_HD static void interpolate_state(const double *) {}
  KRF_HD static void keep_in_domain(double) {}

  // Power method on 2 J^T J.
  KRF_HD KRF_APART double largest_eigenvalue() {
    const double size = norm(team, power_, length);
    if (!(size > 0.0)) {
      team.each(length, [&](int e) {
        const int i = e / sensing_.ldr, c = e % sensing_.ldr;
        power_[e] = c < sensing_.r ? 1.0 + 0.1 * ((i + 3 * c) % 7) : 0.0;
      });
      return kInfinity;
    }
    sensing_.linearise(W_, power_, samples_.scratch);
    fill(team, 0.0, power_, length);
    sensing_.subtract_adjoint(samples_.scratch, -LossT::kCurvature / size, W_, power_);
    return norm(team, power_, length);
  }

  KRF_HD void write_row(FactorFlowOutput &out, int row, double t) {
    copy(team, W_, row_W_, length);
    write_balanced(out, row, t);
  }
  KRF_HD void write_dense_row(FactorFlowOutput &out, int row, double t) {
    add(team, W_, dense, row_W_, length);
    write_balanced(out, row, t);
  }
  KRF_HD void write_unstarted(FactorFlowOutput &out, int row) {
    double *to = out.W + static_cast<long long>(row) * sensing_.n * sensing_.r;
    team.each(sensing_.n * sensing_.r, [&](int e) { to[e] = 0.0; });
    team.once([&] { out.loss[row] = run_.y_norm2, out.t[row] = 0.0; });
  }

private:
  struct SampleArrays {
    double *y, *residual, *next_residual; // the last one at the trial end
    double *scratch;
    KRF_HD SampleArrays(int ldn, Arena &arena)
        : y(arena.take(ldn)), residual(arena.take(ldn)), next_residual(arena.take(ldn)),
          scratch(arena.take(ldn)) {}
  };
  struct RunScalars {
    double X_norm = 0, y_norm2 = 0;
    double noise = 0;  // rounding of the residual's norm
    double motion = 0; // relative, of a column, since the columns were orthogonal
    Standstill standstill{kStandstill, 0.0};
  };
  static_assert(__is_trivially_copyable(RunScalars));

  KRF_HD double *end() const { return stages_ + 2LL * length; }
  KRF_HD static bool finite(double x) { return x - x == 0.0; }

  // The columns of W, and of what moves with it.
  KRF_HD void orthogonalise(double *history) {
    double *const part[] = {W_, field, tangent_.W, history, history + length, history + 2 * length};
    basis_.orthogonalise(part, factor_rules::kCosine);
  }

  // Whether every velocity is rounding, or that of a column or row at its rest.
  KRF_HD KRF_APART bool moves_by_rounding() {
    const double size2 = team.dot(W_, W_, length);
    const double prediction = rows_.measure(W_, samples_.y, run_.X_norm);
    run_.noise = kRounding * (std::sqrt(run_.y_norm2) + prediction);
    columns_.measure(W_, field);
    return slower_than(2.0 * run_.noise * run_.X_norm, size2);
  }
  // Whether the velocity is no more than what rtol allows the state to be off, at the rates S could
  // give it: near a stationary point with a residual the steps see no more than that.
  KRF_HD KRF_APART bool stands_still(double rtol) {
    return slower_than(rtol * LossT::kCurvature * sensing_.adjoint_norm(samples_.residual),
                       team.dot(W_, W_, length));
  }
  KRF_HD bool slower_than(double speed, double size2) {
    // Weights may differ by orders of magnitude: then a row is at rest by its own rounding alone.
    const double of_rows = sensing_.scale ? 0.0 : speed;
    return columns_.slower_than(speed, size2) && rows_.slower_than(of_rows, W_, field, size2);
  }
  KRF_HD double part_change(const double *V, const double *at) {
    return larger(columns_.change(V, at), rows_.change(V, at));
  }

  KRF_HD void residual_of(const double *at, double *out) {
    team.each(sensing_.ldn - sensing_.n_samples, [&](int i) { out[sensing_.n_samples + i] = 0.0; });
    sensing_.predict(at, out);
    team.for_each(sensing_.ldn, [&](int i) {
      write(out + i, LossT::residual(read<T>(out + i), read<T>(samples_.y + i)));
    });
  }
  KRF_HD void field_of(const double *at, const double *residual, double *out) {
    fill(team, 0.0, out, length);
    sensing_.subtract_adjoint(residual, -LossT::kCurvature, at, out);
  }

  // The factor row_W_, with U^T U - V^T V put back to what it was, in the basis of the caller's
  // columns.
  KRF_HD KRF_APART void write_balanced(FactorFlowOutput &out, int row, double t) {
    balance_.restore(row_W_, basis_.Q);
    residual_of(row_W_, samples_.scratch);
    const double loss_here = team.dot(samples_.scratch, samples_.scratch, sensing_.ldn);
    // W = (columns turned) Q^T
    double *to = out.W + static_cast<long long>(row) * sensing_.n * sensing_.r;
    team.products(row_W_, sensing_.ldr, sensing_.n, basis_.Q.data, sensing_.ldr, sensing_.r,
                  sensing_.ldr, to, sensing_.r, false);
    team.once([&] { out.loss[row] = loss_here, out.t[row] = t; });
  }

  Measurements<TeamT> sensing_;
  TangentSolver<TeamT, LossT, KernelT> tangent_;
  OneSidedJacobi<TeamT> basis_;
  ColumnMotion<TeamT> columns_;
  RowMotion<TeamT> rows_;
  Balance<TeamT> balance_;
  double *W_;
  double *stages_; // W + N_j; the third is the trial end
  SampleArrays samples_;
  double *M_;     // at W
  double *row_W_; // of results
  double *power_; // of the power method
  RunScalars run_;
};

KRF_END_NAMESPACE
