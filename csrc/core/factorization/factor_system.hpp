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
// left, at a stationary point with a residual, `at_rest` ends the run.
#pragma once

#include "../linalg/one_sided_jacobi.hpp"
#include "../linalg/shifted_factors.hpp"
#include "../loss.hpp"
#include "../ode/dopri5.hpp"
#include "../ode/radau5.hpp"
#include "balance.hpp"
#include "row_motion.hpp"

KRF_BEGIN_NAMESPACE

namespace factor_rules {
inline constexpr int kMaxStiffSamples = 4096; // memory of the factors: 32 n_samples^2 bytes
inline constexpr double kCosine = 0.1;        // between columns, once they are turned
inline constexpr double kDrift = 0.5;         // relative motion of a column between two turns
inline constexpr double kSlowRate = 0.1;      // Newton rate that asks for a new tangent kernel
inline constexpr double kGrowth = 4.0;        // longest step in units of relative motion
} // namespace factor_rules

template <Team TeamT, QuadraticLoss LossT = SquaredLoss> struct FactorSystem {
  using TeamType = TeamT;
  using Value = typename TeamT::Value;
  using T = Value;
  using Problem = FactorProblem;
  using Output = FactorFlowOutput;

  // Newton converges linearly here (S is missing in its matrix), with errors of one sign.
  static constexpr double kNewtonShare = 0.05;
  static constexpr double kFirstStepPower = 0.2, kMaxGrowth = 10.0;
  static constexpr int kMaxFailures = 100;
  static constexpr int kStandstill = 100; // steps between two looks whether the loss still falls

  TeamT &team;
  Measurements<TeamT> sensing;
  OneSidedJacobi<TeamT> basis;
  int n, r, ldr, n_samples, length;
  bool has_stiff;
  double *y, *W, *field, *residual, *next_residual, *stage_residual;
  double *stage;               // W + N, three of them; the third is the end of a step
  double *norm2, *moved2;      // per column
  double *jacobian_W, *kernel; // where the tangent kernel was taken, and K
  double *sample, *sample_i;   // n_samples each
  double *power, *M, *dense, *row_W;
  double *column_rate; // W . field, column by column
  RowMotion<TeamT> rows;
  Balance<TeamT> balance;
  ShiftedFactors<TeamT> factors;
  double gamma_h = 0, alpha_h = 0, beta_h = 0;
  double y_norm2 = 0, noise = 0, motion = 0;
  Standstill standstill{kStandstill, 0.0};

  KRF_HD FactorSystem(TeamT &team_, const FactorProblem &p, Arena &arena)
      : team(team_), sensing(team_, p, arena), basis(team_, p.n, p.r, arena), n(p.n), r(p.r),
        ldr(padded(p.r)), n_samples(p.n_samples), length(p.n * ldr),
        has_stiff(p.n_samples <= factor_rules::kMaxStiffSamples), y(arena.take(sensing.ldn)),
        W(arena.take(length)), field(arena.take(length)), residual(arena.take(sensing.ldn)),
        next_residual(arena.take(sensing.ldn)), stage_residual(arena.take(sensing.ldn)),
        stage(arena.take(3LL * length)), norm2(arena.take(ldr)), moved2(arena.take(ldr)),
        jacobian_W(arena.take(length)),
        kernel(arena.take(has_stiff ? static_cast<long long>(sensing.ldn) * sensing.ldn : 0)),
        sample(arena.take(sensing.ldn)), sample_i(arena.take(sensing.ldn)),
        power(arena.take(length)), M(arena.take(sensing.entries)), dense(arena.take(length)),
        row_W(arena.take(length)), column_rate(arena.take(ldr)), rows(team_, sensing, arena),
        balance(team_, p.n, p.r, p.c0, arena), factors(team_, has_stiff ? p.n_samples : 0, arena) {}

  KRF_HD bool stiff_available() const { return has_stiff; }
  KRF_HD static bool starts_stiff() { return false; }

  // About four Newton iterations of three fields, their solves and a share of the factorisation,
  // against six fields; both measure changes of M.
  KRF_HD double cost_ratio() const {
    const double f = sensing.work(), N = n_samples, change = 2.0 * sensing.p * sensing.q * ldr;
    return (4.0 * (7.0 * f + 5.0 * N * N + change) + 0.9 * N * N * N + change) /
           (6.0 * f + 1.5 * change);
  }

  KRF_HD KRF_APART bool start(const FactorProblem &p) {
    // Solves touch the padding of samples.
    team.for_each(sensing.ldn, [&](int i) {
      write(y + i, read<T>(p.y + i));
      write(sample + i, splat<T>(0.0));
      write(sample_i + i, splat<T>(0.0));
    });
    y_norm2 = team.dot(y, y, sensing.ldn);
    copy(team, p.W0, W, length);
    fill(team, 0.0, power, length);
    fill(team, 0.0, jacobian_W, length);
    fill(team, 0.0, field, length);
    column_norms(W, norm2);
    double least = kInfinity; // of the columns that are not zero
    for (int c = 0; c < r; ++c)
      if (norm2[c] > 0)
        least = smaller(least, norm2[c]);
    balance.start(W);
    basis.start();
    double *const part[] = {W, field, jacobian_W, stage, stage + length, stage + 2 * length};
    for (int j = 0; j < 3; ++j)
      fill(team, 0.0, stage + j * length, length);
    basis.orthogonalise(part, factor_rules::kCosine);
    // What rounding leaves of dependent columns is not a direction.
    column_norms(W, norm2);
    for (int c = 0; c < r; ++c)
      if (norm2[c] < 1e-28 * least)
        team.each(n, [&](int i) { W[static_cast<long long>(i) * ldr + c] = 0.0; });
    residual_of(W, residual);
    field_of(W, residual, field);
    x_norm = p.X_norm;
    return finite(team.dot(W, W, length)) && finite(loss());
  }
  KRF_HD void start_stiff() { factors.h_factored = 0, fresh = false; }

  KRF_HD double loss() { return team.dot(residual, residual, sensing.ldn); }
  // Also keeps M, against which a step's change is judged.
  KRF_HD double predictor_norm() {
    const double norm = sensing.image_norm(W, W, false);
    copy(team, sensing.M, M, sensing.entries);
    return norm;
  }

  // Relative rate of change of the loss or of a column.
  KRF_HD double rate() {
    const double slope = team.dot(field, field, length) / larger(loss(), 1e-300);
    return larger(slope, relative_speed());
  }
  KRF_HD double step_cap() {
    const double speed = relative_speed();
    return speed > 0 ? factor_rules::kGrowth / speed : kInfinity;
  }

  // Returns true at rest: every column's velocity is rounding, or the column is negligible and
  // shrinks.
  KRF_HD KRF_APART bool measure_velocity() {
    const double size = team.dot(W, W, length);
    const double prediction = rows.measure(W, y, x_norm);
    noise = 32.0 * kEpsilon * (std::sqrt(y_norm2) + prediction);
    column_norms(W, norm2);
    column_norms(field, moved2);
    column_cross(W, field, column_rate);
    return slower_than(2.0 * noise * (sensing.dense ? x_norm : 1.0), size);
  }

  KRF_HD static void set_accuracy(double) {}
  KRF_HD void begin_step(double h) { rows.step = h; }

  KRF_HD static double explicit_tolerance(double rtol) { return dopri5::step_tolerance(rtol); }
  // A velocity of rounding is the end; and so is one that no longer lowers the loss.
  KRF_HD Rest rest(const FactorProblem &, double *, const Progress &now) {
    bool rests = measure_velocity();
    if (standstill.is_due(now)) {
      rests = rests || (standstill.stands_still(loss()) && at_rest(now.rtol));
      standstill.mark(now, loss());
    }
    return rests ? Rest::kStationary : Rest::kNone;
  }

  // Whether the velocity is no more than what rtol allows the state to be off, at the rates S could
  // give it: near a stationary point with a residual the steps see no more than that.
  KRF_HD KRF_APART bool at_rest(double rtol) {
    return slower_than(rtol * LossT::kCurvature * sensing.adjoint_norm(residual),
                       team.dot(W, W, length));
  }

  KRF_HD bool decreases(const double *) {
    const double bound = std::sqrt(loss()) * (1.0 + 1e-9) + 2.0 * noise;
    return std::sqrt(team.dot(next_residual, next_residual, sensing.ldn)) <= bound;
  }

  // The field at W + at, which becomes the end of the step.
  KRF_HD bool evaluate(const double *at, double *out) {
    double *end = stage + 2 * length;
    add(team, W, at, end, length);
    residual_of(end, next_residual);
    field_of(end, next_residual, out);
    return finite(team.dot(next_residual, next_residual, sensing.ldn));
  }

  KRF_HD KRF_APART bool move_stages(const double *N, const double *V, bool add_V, double *F,
                                    ErrorNorm &change) {
    change = {};
    for (int j = 0; j < 3; ++j) {
      double *at = stage + j * length;
      double *res = j == 2 ? next_residual : stage_residual;
      add(team, W, N + j * length, at, length);
      residual_of(at, res);
      field_of(at, res, F + j * length);
      change.componentwise = larger(change.componentwise, part_change(V + j * length, at));
    }
    if (!finite(team.dot(next_residual, next_residual, sensing.ldn)) ||
        !finite(change.componentwise))
      return false;
    if (!add_V)
      return true;
    const double *end = stage + 2 * length;
    change.predictor = sensing.image_norm(V + 2 * length, end, true);
    change.predictor_norm = sensing.image_norm(end, end, false);
    change.predictor_step = distance(team, sensing.M, M, sensing.entries);
    return true;
  }

  // Tangent kernel and factors for a step h.
  KRF_HD KRF_APART bool prepare(double h, double newton_rate, double *, bool &basis_changed) {
    using namespace factor_rules;
    basis_changed = false;
    const double N = n_samples;
    const bool cheap = 0.9 * N * N * N < 3.0 * (7.0 * sensing.work() + 5.0 * N * N);
    const bool renew = !fresh || cheap || newton_rate > kSlowRate;
    if (!renew && h == factors.h_factored)
      return true;
    if (renew) {
      team.for_each(length, [&](int i) {
        write(jacobian_W + i,
              (read<T>(stage + i) + read<T>(stage + length + i) + read<T>(stage + 2 * length + i)) *
                  (1.0 / 3.0));
      });
      sensing.tangent_kernel(jacobian_W, kernel);
      fresh = true;
    }
    gamma_h = radau5::kGamma / h, alpha_h = radau5::kAlpha / h, beta_h = radau5::kBeta / h;
    const double kept =
        factors.factor(kernel, h, radau5::kGamma / LossT::kCurvature,
                       radau5::kAlpha / LossT::kCurvature, radau5::kBeta / LossT::kCurvature);
    if (!(kept > 0.0))
      factors.h_factored = 0;
    return kept > 0.0;
  }
  // b <- (gamma / h + 2 J^T J)^-1 b
  KRF_HD void solve(double *b) {
    sensing.linearise(jacobian_W, b, sample);
    factors.solve(sample);
    sensing.subtract_adjoint(sample, 1.0, jacobian_W, b);
    scale(team, 1.0 / gamma_h, b, length);
  }
  KRF_HD void solve_stages(double *b) {
    solve(b);
    solve(b + length, b + 2LL * length);
  }
  KRF_HD void solve(double *b_r, double *b_i) {
    sensing.linearise(jacobian_W, b_r, sample);
    sensing.linearise(jacobian_W, b_i, sample_i);
    factors.solve(sample, sample_i);
    sensing.subtract_adjoint(sample, 1.0, jacobian_W, b_r);
    sensing.subtract_adjoint(sample_i, 1.0, jacobian_W, b_i);
    const double scale = 1.0 / (alpha_h * alpha_h + beta_h * beta_h);
    const double a = alpha_h * scale, b = beta_h * scale;
    team.for_each(length, [&](int i) {
      const T u = read<T>(b_r + i), v = read<T>(b_i + i);
      write(b_r + i, a * u + b * v);
      write(b_i + i, a * v - b * u);
    });
  }

  // The change of M and of the columns along V, measured at the end of the step.
  KRF_HD ErrorNorm error_norm_at_end(const double *V, const double *) {
    const double *end = stage + 2 * length;
    return {part_change(V, end), sensing.image_norm(V, end, true),
            sensing.image_norm(end, end, false), 0};
  }

  KRF_HD void advance(const double *dW, const double *end_field) {
    copy(team, end_field, field, length);
    motion += column_change(dW, W);
    copy(team, stage + 2 * length, W, length);
    copy(team, next_residual, residual, sensing.ldn);
  }

  // Makes the columns orthogonal again where they may have become dependent.
  KRF_HD KRF_APART void renew_basis(double *history) {
    if (motion < factor_rules::kDrift)
      return;
    motion = 0;
    double *const part[] = {W, field, jacobian_W, history, history + length, history + 2 * length};
    basis.orthogonalise(part, factor_rules::kCosine);
  }

  KRF_HD void interpolate_stages(const double *) {}
  KRF_HD void interpolate_state(const double *) {}
  KRF_HD static void keep_in_domain(double) {}

  // Power method on 2 J^T J.
  KRF_HD KRF_APART double largest_eigenvalue() {
    const double size = std::sqrt(team.dot(power, power, length));
    if (!(size > 0.0)) {
      team.each(length, [&](int e) {
        const int i = e / ldr, c = e % ldr;
        power[e] = c < r ? 1.0 + 0.1 * ((i + 3 * c) % 7) : 0.0;
      });
      return kInfinity;
    }
    sensing.linearise(W, power, sample);
    fill(team, 0.0, power, length);
    sensing.subtract_adjoint(sample, -LossT::kCurvature / size, W, power);
    return std::sqrt(team.dot(power, power, length));
  }

  KRF_HD void write_row(FactorFlowOutput &out, int row, double t) {
    copy(team, W, row_W, length);
    write_balanced(out, row, t);
  }
  KRF_HD void write_dense_row(FactorFlowOutput &out, int row, double t) {
    add(team, W, dense, row_W, length);
    write_balanced(out, row, t);
  }
  // The factor row_W, with U^T U - V^T V put back to what it was, in the basis of the caller's
  // columns.
  KRF_HD KRF_APART void write_balanced(FactorFlowOutput &out, int row, double t) {
    balance.restore(row_W, basis.Q.data);
    residual_of(row_W, stage_residual);
    const double loss_here = team.dot(stage_residual, stage_residual, sensing.ldn);
    // W = (columns basis_changed) Q^T
    double *to = out.W + static_cast<long long>(row) * n * r;
    team.products(row_W, ldr, n, basis.Q.data, ldr, r, ldr, to, r, false);
    team.once([&] { out.loss[row] = loss_here, out.t[row] = t; });
  }

  KRF_HD void write_unstarted(FactorFlowOutput &out, int row) {
    double *to = out.W + static_cast<long long>(row) * n * r;
    team.each(n * r, [&](int e) { to[e] = 0.0; });
    team.once([&] { out.loss[row] = y_norm2, out.t[row] = 0.0; });
  }

private:
  bool fresh = false;
  double x_norm = 0;

  // From the column norms of the last measure_velocity.
  KRF_HD bool slower_than(double speed, double size) {
    using namespace factor_rules;
    for (int c = 0; c < r; ++c) {
      if (std::sqrt(moved2[c]) <= speed * std::sqrt(norm2[c]))
        continue;
      if (norm2[c] <= rows.kAsleep * rows.kAsleep * size && column_rate[c] < 0)
        continue;
      return false;
    }
    return rows.slower_than(speed, W, field, size);
  }
  KRF_HD double part_change(const double *V, const double *at) {
    return larger(column_change(V, at), rows.change(V, at));
  }
  KRF_HD static bool finite(double x) { return x - x == 0.0; }

  KRF_HD void residual_of(const double *at, double *out) {
    team.each(sensing.ldn - n_samples, [&](int i) { out[n_samples + i] = 0.0; });
    sensing.predict(at, out);
    team.for_each(sensing.ldn, [&](int i) {
      write(out + i, LossT::residual(read<T>(out + i), read<T>(y + i)));
    });
  }
  KRF_HD void field_of(const double *at, const double *res, double *out) {
    fill(team, 0.0, out, length);
    sensing.subtract_adjoint(res, -LossT::kCurvature, at, out);
  }

  // Inner products of the columns of A with those of B, one by one.
  KRF_HD void column_cross(const double *A, const double *B, double *out) {
    team.for_each(ldr, [&](int c) {
      T sum = splat<T>(0.0);
      for (int i = 0; i < n; ++i)
        sum += read<T>(A + static_cast<long long>(i) * ldr + c) *
               read<T>(B + static_cast<long long>(i) * ldr + c);
      write(out + c, sum);
    });
  }
  KRF_HD void column_norms(const double *A, double *out) { column_cross(A, A, out); }

  // Worst ratio of a column's norm in V to that in `at`; columns that are zero do not count.
  KRF_HD double column_change(const double *V, const double *at) {
    T worst = splat<T>(0.0);
    team.for_each(ldr, [&](int c) {
      T v = splat<T>(0.0), w = splat<T>(0.0);
      for (int i = 0; i < n; ++i) {
        const T a = read<T>(V + static_cast<long long>(i) * ldr + c);
        const T b = read<T>(at + static_cast<long long>(i) * ldr + c);
        v += a * a;
        w += b * b;
      }
      worst = greater_of(worst, select(w > 0.0, v / w, splat<T>(0.0)));
    });
    return std::sqrt(team.max(worst));
  }
  KRF_HD double relative_speed() { return column_change(field, W); }
};

KRF_END_NAMESPACE
