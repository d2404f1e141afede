// Matrix factorisation as the integrators see it: W' = S W, S = 2 sum_i r_i A_i with residuals
// r = y - f, for a factor W of the lifted Gram matrix W W^T.
//
// W has at most n columns however wide the network is (the flow of W W^T closes), and keeping a
// factor keeps W W^T positive semidefinite and of its rank.
//
// The Jacobian is S - 2 J^T J.  Newton keeps the second part alone: it has rank n_samples, so a
// solve is one with the tangent kernel J J^T (Sherman-Morrison-Woodbury).  S bounds the step by
// accuracy anyway while sleeping directions grow and shrink at its eigenvalues; where none are
// left, at a stationary point with a residual, `stands_still` ends the run.
#pragma once

#include "../ode/smooth_flow.hpp"
#include "factor_state.hpp"
#include "tangent_solver.hpp"

KRF_BEGIN_NAMESPACE

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
  static constexpr int kStandstill = 100;    // steps between two looks whether the loss still falls
  static constexpr double kUnresolved = 4.0; // is_cancelled, for a noise that is a bound
  static constexpr double kEFolds = 50.0;    // has_stayed: growth the residual could have caused

  TeamT &team;
  int length;
  double *field;
  double *dense; // of W, inside the last step, relative to its start

  KRF_HD FactorSystem(TeamT &team_, const FactorProblem &p, Arena &arena)
      : team(team_), length(p.n * padded(p.r)), field(arena.take(length)),
        dense(arena.take(length)), state_(team_, p, arena),
        tangent_(team_, state_.sensing, length, arena), samples_(state_.sensing.ldn, arena),
        power_(arena.take(length)) {}

  KRF_HD bool stiff_available() const { return tangent_.kernel.n_samples > 0; }
  KRF_HD static bool starts_stiff() { return false; }
  // About four Newton iterations of three fields, their solves and a share of the factorisation,
  // against six fields; both measure changes of M.
  KRF_HD double cost_ratio() const {
    const double f = state_.sensing.work();
    const double change = 2.0 * state_.sensing.p * state_.sensing.q * state_.sensing.ldr;
    return (4.0 * (7.0 * f + tangent_.kernel.solve_work() + change) +
            tangent_.kernel.factor_work() + change) /
           (6.0 * f + 1.5 * change);
  }
  KRF_HD static void set_accuracy(double) {}

  KRF_HD KRF_APART bool start(const FactorProblem &p) {
    copy(team, p.y, samples_.y, state_.sensing.ldn);
    run_.y_norm2 = team.dot(samples_.y, samples_.y, state_.sensing.ldn);
    run_.X_norm = p.X_norm;
    fill(team, 0.0, power_, length);
    fill(team, 0.0, field, length);
    tangent_.start();
    state_.start(p, field, tangent_.at.W);
    residual_of(state_.W, samples_.residual);
    field_of(state_.W, samples_.residual, field);
    return finite(team.dot(state_.W, state_.W, length)) && finite(loss());
  }
  KRF_HD void start_stiff() { tangent_.forget(); }
  KRF_HD void begin_step(double, double h) { state_.rows.step = h; }

  KRF_HD double loss() {
    return team.dot(samples_.residual, samples_.residual, state_.sensing.ldn);
  }
  KRF_HD double predictor_norm() { return state_.predictor_norm(); }
  // Relative rate of change of the loss or of a column.
  KRF_HD double rate() {
    const double slope = team.dot(field, field, length) / larger(loss(), 1e-300);
    return larger(slope, state_.columns.change(field, state_.W));
  }
  KRF_HD double step_cap() { return state_.step_cap(field); }
  KRF_HD bool decreases(const double *) {
    return falls(loss(), norm(team, samples_.next_residual, state_.sensing.ldn), run_.noise);
  }

  // A velocity of rounding is the end; and so is one that no longer lowers the loss.
  KRF_HD Rest rest(const FactorProblem &, double *, const Progress &now) {
    bool rests = moves_by_rounding();
    if (run_.standstill.is_due(now)) {
      rests = rests || (run_.standstill.stands_still(loss()) && stands_still(now.rtol));
      run_.standstill.mark(now, loss());
      rests = rests || has_stayed(now);
    }
    if (!rests)
      return Rest::kNone;
    const double size = std::sqrt(run_.y_norm2);
    return is_cancelled(std::sqrt(loss()), run_.noise, kUnresolved, size) ? Rest::kRounding
                                                                          : Rest::kStationary;
  }

  // The field at W + shift, which becomes the trial end.
  KRF_HD bool evaluate(const double *shift, double *out) {
    add(team, state_.W, shift, state_.end(), length);
    residual_of(state_.end(), samples_.next_residual);
    field_of(state_.end(), samples_.next_residual, out);
    return finite(team.dot(samples_.next_residual, samples_.next_residual, state_.sensing.ldn));
  }

  KRF_HD KRF_APART bool move_stages(const double *N, const double *V, bool add_V, double *F,
                                    ErrorNorm &change) {
    change = {};
    for (int j = 0; j < 3; ++j) {
      double *at = state_.stages + j * length;
      double *residual = j == 2 ? samples_.next_residual : samples_.scratch;
      add(team, state_.W, N + j * length, at, length);
      residual_of(at, residual);
      field_of(at, residual, F + j * length);
      change.componentwise = larger(change.componentwise, state_.part_change(V + j * length, at));
    }
    if (!finite(team.dot(samples_.next_residual, samples_.next_residual, state_.sensing.ldn)) ||
        !finite(change.componentwise))
      return false;
    if (!add_V)
      return true;
    state_.measure_stages(V, change);
    return true;
  }

  KRF_HD KRF_APART bool prepare(double h, double newton_rate, double *, bool &basis_changed) {
    basis_changed = false;
    return tangent_.prepare(h, newton_rate, state_.stages);
  }
  KRF_HD void solve(double *b) { tangent_.solve(b); }
  KRF_HD void solve_stages(double *b) {
    tangent_.solve(b);
    tangent_.solve(b + length, b + 2LL * length);
  }

  KRF_HD ErrorNorm error_norm_at_end(const double *V, const double *) {
    return state_.change_at_end(V);
  }

  KRF_HD void advance(const double *dW, const double *end_field) {
    copy(team, end_field, field, length);
    state_.advance(dW, field);
    copy(team, samples_.next_residual, samples_.residual, state_.sensing.ldn);
  }
  // Makes the columns orthogonal again where they may have become dependent.
  KRF_HD KRF_APART void renew_basis(double *history) {
    state_.clear_vanished(field, history);
    if (state_.has_drifted())
      state_.orthogonalise(field, tangent_.at.W, history);
  }

  KRF_HD static void interpolate_stages(const double *) {}
  KRF_HD static void interpolate_state(const double *) {}
  KRF_HD static void keep_in_domain(double) {}

  // Power method on 2 J^T J.
  KRF_HD KRF_APART double largest_eigenvalue() {
    const double size = norm(team, power_, length);
    if (!(size > 0.0)) {
      team.each(length, [&](int e) {
        const int i = e / state_.sensing.ldr, c = e % state_.sensing.ldr;
        power_[e] = c < state_.sensing.r ? 1.0 + 0.1 * ((i + 3 * c) % 7) : 0.0;
      });
      return kInfinity;
    }
    state_.sensing.linearise(state_.W, power_, samples_.scratch);
    fill(team, 0.0, power_, length);
    state_.sensing.subtract_adjoint(samples_.scratch, -LossT::kCurvature / size, state_.W, power_);
    return norm(team, power_, length);
  }

  KRF_HD void write_row(FactorFlowOutput &out, int row, double t) {
    copy(team, state_.W, state_.row, length);
    write_balanced(out, row, t);
  }
  KRF_HD void write_dense_row(FactorFlowOutput &out, int row, double t) {
    add(team, state_.W, dense, state_.row, length);
    write_balanced(out, row, t);
  }
  KRF_HD void write_unstarted(FactorFlowOutput &out, int row) {
    double *to = out.W + static_cast<long long>(row) * state_.sensing.n * state_.sensing.r;
    team.each(state_.sensing.n * state_.sensing.r, [&](int e) { to[e] = 0.0; });
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
    double noise = 0; // rounding of the residual's norm
    Standstill standstill{kStandstill, 0.0}, last_place{kStandstill, 0.0};
  };
  static_assert(__is_trivially_copyable(RunScalars));

  KRF_HD static bool finite(double x) { return FactorState<TeamT>::finite(x); }

  // Whether every velocity is rounding, or that of a column or row at its rest.
  KRF_HD KRF_APART bool moves_by_rounding() {
    const double prediction = state_.rows.measure(state_.W, samples_.y, run_.X_norm);
    run_.noise = kRounding * (std::sqrt(run_.y_norm2) + prediction);
    state_.columns.measure(state_.W, field);
    return state_.slower_than(2.0 * run_.noise * run_.X_norm, true, field);
  }
  // Whether the velocity is no more than what rtol allows the state to be off, at the rates S could
  // give it: near a stationary point with a residual the steps see no more than that.
  KRF_HD KRF_APART bool stands_still(double rtol) {
    const double force = state_.sensing.adjoint_norm(samples_.residual);
    return state_.slower_than(rtol * LossT::kCurvature * force, state_.sensing.scale, field);
  }

  // Whether W and the loss have not moved for so long that what grows would have become visible.
  // At rest steps become so long that Newton's errors, of which the loss sees only the squares,
  // keep the velocity far above its rounding.
  KRF_HD KRF_APART bool has_stayed(const Progress &now) {
    const double rate = LossT::kCurvature * state_.sensing.adjoint_norm(samples_.residual);
    const double passed = now.t - run_.last_place.t;
    if (!(rate * passed > kEFolds))
      return false;
    const bool stayed = run_.last_place.stands_still(loss()) &&
                        state_.has_hardly_moved(passed, rate, now.rtol, samples_.residual, field);
    run_.last_place.mark(now, loss());
    state_.remember();
    return stayed;
  }

  KRF_HD void residual_of(const double *at, double *out) {
    team.each(state_.sensing.ldn - state_.sensing.n_samples,
              [&](int i) { out[state_.sensing.n_samples + i] = 0.0; });
    state_.sensing.predict(at, out);
    team.for_each(state_.sensing.ldn, [&](int i) {
      write(out + i, LossT::residual(read<T>(out + i), read<T>(samples_.y + i)));
    });
  }
  KRF_HD void field_of(const double *at, const double *residual, double *out) {
    fill(team, 0.0, out, length);
    state_.sensing.subtract_adjoint(residual, -LossT::kCurvature, at, out);
  }

  // The factor in the row, and its loss.
  KRF_HD KRF_APART void write_balanced(FactorFlowOutput &out, int row, double t) {
    const auto &of = state_.sensing;
    state_.balance_row();
    residual_of(state_.row, samples_.scratch);
    const double loss_here = team.dot(samples_.scratch, samples_.scratch, of.ldn);
    state_.write_row(out.W + static_cast<long long>(row) * of.n * of.r);
    team.once([&] { out.loss[row] = loss_here, out.t[row] = t; });
  }

  FactorState<TeamT> state_;
  TangentSolver<TeamT, LossT, KernelT> tangent_;
  SampleArrays samples_;
  double *power_; // of the power method
  RunScalars run_;
};

KRF_END_NAMESPACE
