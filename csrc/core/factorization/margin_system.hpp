// Matrix factorisation under a margin loss, sum_n l(y_n <X_n, M>), as the integrators see it.
//
// In the time tau of margin/clock.hpp the factor moves with W' = 2 sum_n y_n p_n A_n W, where p is
// -l'(m) over its sum: the velocity of the squared loss (factor_system.hpp) with y p for the
// residuals.  M grows like the logarithm of 1 / L, and W with a rate of order one.
#pragma once

#include "../margin/run.hpp"
#include "../ode/smooth_flow.hpp"
#include "factor_state.hpp"
#include "margin_tangent.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class FactorMarginSystem : public SmoothFlow {
public:
  using TeamType = TeamT;
  using Value = typename TeamT::Value;
  using T = Value;
  using Problem = FactorProblem;
  using Output = FactorFlowOutput;

  // As for the squared loss: part of the Jacobian is missing in Newton's matrix.
  static constexpr double kNewtonShare = 0.05;
  static constexpr int kStandstill = 100; // steps between two looks whether the loss still falls

  TeamT &team;
  int length;
  double *field;
  double *dense; // of W, inside the last step, relative to its start

  KRF_HD FactorMarginSystem(TeamT &team_, const FactorProblem &p, Arena &arena)
      : team(team_), length(p.n * padded(p.r)), field(arena.take(length)),
        dense(arena.take(length)), state_(team_, p, arena), ldn_(state_.sensing.ldn),
        y_(arena.take(ldn_)), to_field_(team_, ldn_, y_, p.margin_loss), run_(p.by_time),
        tangent_(team_, state_.sensing, y_, length, arena), pull_(arena.take(ldn_)),
        stage_pull_(arena.take(ldn_)), end_pull_(arena.take(ldn_)), curvature_(arena.take(ldn_)),
        margins_(arena.take(3LL * ldn_)), along_(arena.take(ldn_)) {}

  KRF_HD static constexpr bool stiff_available() { return true; }
  KRF_HD static constexpr bool starts_stiff() { return true; }
  KRF_HD static constexpr double cost_ratio() { return 1.0; }
  KRF_HD static constexpr double largest_eigenvalue() { return -1.0; }

  KRF_HD void set_accuracy(double rtol) {
    run_.set_accuracy(rtol, Radau5<FactorMarginSystem>::tolerance(rtol));
    to_field_.smoothing = margin_rules::kSmoothing * rtol;
  }
  KRF_HD KRF_APART bool start(const FactorProblem &p) {
    copy(team, p.y, y_, ldn_);
    x_norm_ = p.X_norm;
    fill(team, 0.0, field, length);
    fill(team, 0.0, margins_, 3 * ldn_);
    tangent_.start();
    state_.start(p, field, tangent_.at.W);
    run_.start(pull_at(state_.W, pull_, end_margins()));
    field_of(state_.W, pull_, field);
    to_field_.curvature(end_margins(), curvature_);
    start_speed_ = speed(curvature_, state_.W, pull_, field);
    run_.start_speed(start_speed_);
    return state_.finite(team.dot(state_.W, state_.W, length)) && state_.finite(loss());
  }
  KRF_HD static void start_stiff() {}
  KRF_HD void begin_step(double, double h) {
    state_.rows.step = h;
    run_.begin_step(h);
  }

  // ln L stands for the loss: what a run is asked for is a value of its clock.
  KRF_HD double loss() const { return run_.log_loss; }
  KRF_HD double predictor_norm() { return state_.predictor_norm(); }
  KRF_HD double rate() {
    return larger(absolute(start_speed_), state_.columns.change(field, state_.W));
  }
  KRF_HD double step_cap() { return smaller(state_.step_cap(field), run_.cap()); }
  KRF_HD bool decreases(const double *) const { return run_.decreases(); }

  // At a minimum, which labels that no M fits may have, or at a saddle the velocity is rounding,
  // each row's its own: where the loss falls towards infinity, a row that grows like ln t keeps a
  // velocity far below the others', but above its rounding.  Or the loss no longer falls, and the
  // motion over all the time there has been is less than rtol.
  KRF_HD KRF_APART Rest rest(const FactorProblem &, double *, const Progress &now) {
    const double size =
        1.0 + state_.rows.measure_pulled(state_.W, pull_, 1.0 / run_.width, x_norm_);
    run_.noise = kRounding * size;
    if (run_.is_lost_in_rounding())
      return Rest::kRounding;
    if (to_field_.is_separated(run_.log_loss))
      return Rest::kNone;
    state_.columns.measure(state_.W, field);
    bool rests = state_.slower_than(2.0 * run_.noise * x_norm_, true, field);
    if (standstill_.is_due(now)) {
      const double value = std::exp(run_.log_loss);
      rests = rests || (standstill_.stands_still(value) &&
                        state_.slower_than(now.rtol / larger(1.0, now.t), false, field));
      standstill_.mark(now, value);
    }
    return rests ? Rest::kStationary : Rest::kNone;
  }

  KRF_HD bool evaluate(const double *shift, double *out) {
    add(team, state_.W, shift, state_.end(), length);
    run_.show_stage(2, pull_at(state_.end(), end_pull_, end_margins()));
    field_of(state_.end(), end_pull_, out);
    return state_.finite(team.dot(out, out, length));
  }

  KRF_HD KRF_APART bool move_stages(const double *N, const double *V, bool add_V, double *F,
                                    ErrorNorm &change) {
    change = {};
    double moved = 0.0, sizes = 0.0;
    for (int j = 0; j < 3; ++j) {
      double *at = state_.stages + j * length, *F_j = F + j * length;
      double *pull = j == 2 ? end_pull_ : stage_pull_;
      add(team, state_.W, N + j * length, at, length);
      const MarginSums sums = pull_at(at, pull, margins_ + j * ldn_);
      run_.show_stage(j, sums);
      moved = larger(moved, sums.moved);
      field_of(at, pull, F_j);
      sizes += team.dot(F_j, F_j, length);
      change.componentwise = larger(change.componentwise, state_.part_change(V + j * length, at));
    }
    if (!state_.finite(sizes) || !state_.finite(change.componentwise))
      return false;
    if (!add_V)
      return true;
    change.componentwise = larger(change.componentwise, run_.unsettled(moved));
    state_.measure_stages(V, change);
    return true;
  }

  KRF_HD KRF_APART bool prepare(double h, double, double *, bool &basis_changed) {
    basis_changed = false;
    return tangent_.prepare(h, state_.stages, pull_, curvature_, 1.0 / run_.width);
  }
  KRF_HD void solve(double *b) { tangent_.solve(b); }
  KRF_HD void solve_stages(double *b) { tangent_.solve_stages(b); }

  KRF_HD ErrorNorm error_norm_at_end(const double *V, const double *end_field) {
    to_field_.curvature(end_margins(), curvature_of_end());
    const ErrorNorm norm = state_.change_at_end(V);
    return run_.with_clock(norm, speed(curvature_of_end(), state_.end(), end_pull_, end_field));
  }
  KRF_HD void advance(const double *dW, const double *end_field) {
    run_.advance();
    copy(team, end_field, field, length);
    state_.advance(dW, field);
    copy(team, end_pull_, pull_, ldn_);
    to_field_.curvature(end_margins(), curvature_);
  }
  KRF_HD KRF_APART void renew_basis(double *history) {
    state_.clear_vanished(field, history);
    if (state_.has_drifted())
      state_.orthogonalise(field, tangent_.at.W, history);
  }

  // The clock: minus ln L, or ln t.
  KRF_HD bool passed(double value) const { return run_.passed(value); }
  KRF_HD bool reaches(double value) { return run_.reaches(value); }
  KRF_HD KRF_APART double fraction_at(double value) {
    return run_.fraction_at(value, [&](double x) {
      double w[3];
      radau5::dense_weights(x, w);
      const double own = 1.0 - (w[0] + w[1] + w[2]);
      const double *stages = state_.stages;
      team.for_each(length, [&](int i) {
        T at = own * read<T>(state_.W + i);
        for (int j = 0; j < 3; ++j)
          at += w[j] * read<T>(stages + j * length + i);
        write(state_.row + i, at);
      });
      return pull_at(state_.row, stage_pull_, nullptr);
    });
  }

  KRF_HD static void interpolate_stages(const double *) {}
  KRF_HD static void interpolate_state(const double *) {}
  KRF_HD void keep_in_domain(double x) { fraction_ = x; }

  KRF_HD void write_row(FactorFlowOutput &out, int row, double) {
    copy(team, state_.W, state_.row, length);
    write_balanced(out, row, false);
  }
  KRF_HD void write_dense_row(FactorFlowOutput &out, int row, double) {
    add(team, state_.W, dense, state_.row, length);
    write_balanced(out, row, true);
  }
  KRF_HD void write_unstarted(FactorFlowOutput &out, int row) {
    const auto &of = state_.sensing;
    double *to = out.W + static_cast<long long>(row) * of.n * of.r;
    team.each(of.n * of.r, [&](int e) { to[e] = 0.0; });
    team.once([&] {
      out.loss[row] = std::log(static_cast<double>(of.n_samples)), out.t[row] = -kInfinity;
    });
  }

private:
  // The margins at the end of the last step, or of the step under way.
  KRF_HD double *end_margins() const { return margins_ + 2LL * ldn_; }
  KRF_HD double *curvature_of_end() const { return stage_pull_; } // which is free then

  // y p at a factor, and the sums that belong to it.
  KRF_HD MarginSums pull_at(const double *at, double *pull, double *margins) {
    const int n = state_.sensing.n_samples;
    team.each(ldn_ - n, [&](int i) { pull[n + i] = 0.0; });
    state_.sensing.predict(at, pull);
    return to_field_.evaluate(pull, margins);
  }
  KRF_HD void field_of(const double *at, const double *pull, double *out) {
    fill(team, 0.0, out, length);
    state_.sensing.subtract_adjoint(pull, -2.0, at, out);
  }
  // d(-ln S) / d tau: the sum of p c times the velocities of the margins.
  KRF_HD double speed(const double *c, const double *at, const double *pull,
                      const double *velocity) {
    fill(team, 0.0, along_, ldn_);
    state_.sensing.linearise(at, velocity, along_);
    T sum = splat<T>(0.0);
    team.for_each(ldn_,
                  [&](int i) { sum += read<T>(pull + i) * read<T>(c + i) * read<T>(along_ + i); });
    return team.sum(sum);
  }

  KRF_HD KRF_APART void write_balanced(FactorFlowOutput &out, int row, bool at_dense) {
    const auto &of = state_.sensing;
    state_.balance_row();
    const MarginSums size = pull_at(state_.row, stage_pull_, nullptr);
    const double log_t = at_dense ? run_.log_time(fraction_, size) : run_.clock.log_t;
    state_.write_row(out.W + static_cast<long long>(row) * of.n * of.r);
    team.once([&] { out.loss[row] = size.log_loss, out.t[row] = log_t; });
  }

  FactorState<TeamT> state_;
  int ldn_;
  double *y_;
  MarginField<TeamT> to_field_;
  MarginRun run_;
  MarginTangent<TeamT> tangent_;
  double *pull_, *stage_pull_, *end_pull_; // y p at the state, at a stage, at the trial end
  double *curvature_;                      // c at the state
  double *margins_;                        // at the stages
  double *along_;                          // of the predictions
  double x_norm_ = 0, start_speed_ = 0, fraction_ = 0;
  Standstill standstill_{kStandstill, 0.0};
};

KRF_END_NAMESPACE
