// Diagonal networks under a margin loss, sum_n l(y_n x_n . beta), as the integrators see it.
//
// Half the integral of -l'(m_n) y_n is the dual nu of the squared loss: the mirror of z = X' nu is
// the same.  In the time tau of margin/clock.hpp its velocity is nu_n' = y_n p_n, where p is
// -l'(m) over its sum: of order one while the loss falls to exp(-1e12), and defined by ln(-l')
// alone.
#pragma once

#include "../margin/run.hpp"
#include "../margin/solver.hpp"
#include "../ode/smooth_flow.hpp"
#include "mirror_stages.hpp"
#include "scaled_gram.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, Mirror MirrorT> class MarginSystem : public SmoothFlow {
public:
  using TeamType = TeamT;
  using Value = typename TeamT::Value;
  using T = Value;
  using Problem = DiagonalProblem;
  using Output = DiagonalFlowOutput;

  static constexpr double kNewtonShare = 0.3;

  TeamT &team;
  int length;
  MirrorState<TeamT, MirrorT> state;
  double *field; // y p
  double *dense; // of nu, inside the last step, relative to its start

  KRF_HD MarginSystem(TeamT &team_, const DiagonalProblem &p, Arena &arena)
      : team(team_), length(padded(p.n)), state(team_, p, arena), field(arena.take(length)),
        dense(arena.take(length)), run_(p.by_time),
        to_field_(team_, length, state.y, p.margin_loss), stages_(state, arena),
        scaled_gram_(state.basis, arena), solver_(team_, state.y, p.n, arena),
        curvature_(arena.take(length)), end_curvature_(arena.take(length)),
        margins_(arena.take(3LL * length)), scratch_(arena.take(length)),
        row_(arena.take(2LL * state.ldd)), along_z_(arena.take(state.ldd)) {}

  KRF_HD static constexpr bool stiff_available() { return true; }
  KRF_HD static constexpr bool starts_stiff() { return true; }
  KRF_HD static constexpr double cost_ratio() { return 1.0; }
  KRF_HD static constexpr double largest_eigenvalue() { return -1.0; }

  KRF_HD void set_accuracy(double rtol) {
    state.mirror.set_accuracy(rtol);
    run_.set_accuracy(rtol, Radau5<MarginSystem>::tolerance(rtol));
    to_field_.smoothing = margin_rules::kSmoothing * rtol;
  }
  KRF_HD bool start(const DiagonalProblem &p) {
    // No beta is the largest: every weight keeps its own accuracy.
    state.start_mirror(p, [](int) { return 0.0; });
    if (!state.refresh_mirror())
      return false;
    predict(team, state.X(), length, state.ldd, state.here.beta, field);
    run_.start(to_field_.evaluate(field, end_margins()));
    to_field_.curvature(end_margins(), curvature_);
    state.renew_velocity(field);
    state.velocity_is_known = true;
    run_.start_speed(speed(field, curvature_, state.velocity, state.here.slope));
    return true;
  }
  KRF_HD void start_stiff() { scaled_gram_.clear(); }
  KRF_HD void begin_step(double, double h) { run_.begin_step(h); }
  KRF_HD static void renew_basis(double *) {}

  // ln L stands for the loss: what a run is asked for is a value of its clock.
  KRF_HD double loss() { return run_.log_loss; }
  KRF_HD double predictor_norm() { return state.beta_norm(); }
  KRF_HD double step_cap() {
    return smaller(smaller(state.step_cap(std::log(kFelt)), cap_of_rounding()), run_.cap());
  }
  // At rest nu still moves, along what X' does not see.
  KRF_HD double cap_of_rounding() {
    T most = splat<T>(0.0);
    team.for_each(state.ldd, [&](int i) {
      most = greater_of(most,
                        read<T>(state.here.relative_slope + i) * read<T>(state.feature_norm + i));
    });
    return margin_rules::kRoundedStep * run_.rtol / (kEpsilon * team.max(most));
  }
  KRF_HD double rate() {
    T sum = splat<T>(0.0);
    team.for_each(state.ldd, [&](int i) {
      const T v = read<T>(state.velocity + i);
      sum += read<T>(state.here.slope + i) * v * v;
    });
    return team.sum(sum);
  }
  KRF_HD bool decreases(const double *) const { return run_.decreases(); }

  // A convex flow rests where its velocity is rounding: at the minimum, which classes that are not
  // separable have.
  KRF_HD KRF_APART Rest rest(const DiagonalProblem &, double *, const Progress &) {
    state.renew_velocity(field);
    const double size = 1.0 + state.prediction_size();
    run_.noise = kRounding * size;
    const bool moves = state.moves_faster_than(margin_rules::still(run_.rtol, size));
    return moves || to_field_.is_separated(run_.log_loss) ? Rest::kNone : Rest::kStationary;
  }

  KRF_HD KRF_APART bool evaluate(const double *shift, double *out) {
    PassSums<T, 0, 1> bad;
    team.template map_features<1>(
        state.X(), length, state.ldd, shift, out, bad,
        [&](int i, const T *z, T *o, auto &own) { o[0] = stages_.map_end(i, z[0], own.parts[0]); });
    if (team.max(bad.parts[0]) > 0.0)
      return false;
    run_.show_stage(2, to_field_.evaluate(out, end_margins()));
    return true;
  }

  KRF_HD KRF_APART bool move_stages(const double *, const double *V, bool add, double *F,
                                    ErrorNorm &change) {
    typename Stages::Sums sums;
    const auto pass = stages_.pass();
    team.template map_features<3>(state.X(), length, state.ldd, V, F, sums,
                                  [&](int i, const T *z, T *out, auto &own) {
                                    pass.map_stages(i, z, add, out, own, [](int) { return 1.0; });
                                  });
    double of[7];
    team.template reduce<5, 2>(sums.parts, of);
    if (of[6] > 0.0)
      return false;
    double moved = 0.0;
    for (int j = 0; j < 3; ++j) {
      const MarginSums size = to_field_.evaluate(F + j * length, margins_ + j * length);
      moved = larger(moved, size.moved);
      run_.show_stage(j, size);
    }
    change = {larger(of[5], add ? run_.unsettled(moved) : 0.0),
              std::sqrt(larger(of[0], larger(of[1], of[2]))), std::sqrt(of[3]), std::sqrt(of[4])};
    return true;
  }

  KRF_HD KRF_APART bool prepare(double h, double, double *, bool &basis_changed) {
    basis_changed = false;
    scaled_gram_.shed_rounding(stages_.mean_slope);
    scaled_gram_.update(stages_.mean_slope, radau5::kGamma / h, scaled_gram_.kDrift);
    return solver_.prepare(scaled_gram_.matrix, field, curvature_, 1.0 / run_.width, h);
  }
  KRF_HD void solve(double *b) { solver_.solve(b); }
  KRF_HD void solve_stages(double *b) { solver_.solve_stages(b); }

  KRF_HD ErrorNorm error_norm_at_end(const double *dnu, const double *end_field) {
    const ErrorNorm norm = state.error_norm_at_end(dnu, end_field);
    to_field_.curvature(end_margins(), end_curvature_);
    return run_.with_clock(norm,
                           speed(end_field, end_curvature_, state.next_velocity, state.next.slope));
  }
  KRF_HD void advance(const double *dnu, const double *end_field) {
    run_.advance();
    copy(team, end_field, field, length);
    state.advance_by(stages_.end(), dnu);
    state.take_velocity_of_end();
    to_field_.curvature(end_margins(), curvature_);
  }

  // The clock: minus ln L, or ln t.
  KRF_HD bool passed(double value) const { return run_.passed(value); }
  KRF_HD bool reaches(double value) { return run_.reaches(value); }
  KRF_HD KRF_APART double fraction_at(double value) {
    return run_.fraction_at(value, [&](double x) {
      double w[3];
      radau5::dense_weights(x, w);
      stages_.interpolate(w);
      stages_.keep_in_domain(x);
      return size_at(stages_.dense_z);
    });
  }

  KRF_HD void interpolate_stages(const double w[3]) { stages_.interpolate(w); }
  KRF_HD void interpolate_state(const double *dnu) {
    project(team, state.X(), length, state.ldd, dnu, stages_.dense_z);
  }
  KRF_HD void keep_in_domain(double x) { stages_.keep_in_domain(x), fraction_ = x; }

  KRF_HD void write_row(DiagonalFlowOutput &out, int row, double) { write_state(out, row, false); }
  KRF_HD void write_dense_row(DiagonalFlowOutput &out, int row, double) {
    write_state(out, row, true);
  }
  KRF_HD void write_unstarted(DiagonalFlowOutput &out, int row) {
    state.write_unstarted(out, row, std::log(static_cast<double>(state.n())), -kInfinity);
  }

private:
  using Stages = MirrorStages<TeamT, MirrorT>;

  // The margins at the end of the last step, or of the step under way.
  KRF_HD double *end_margins() const { return margins_ + 2LL * length; }
  // d(-ln S) / d tau where the field, c, the velocity of z and the slopes are these.
  KRF_HD KRF_APART double speed(const double *of, const double *c, const double *velocity,
                                const double *slope) {
    const double *along = velocity;
    if (to_field_.loss != MarginLossKind::kExponential) {
      team.for_each(length, [&](int i) { write(scratch_ + i, read<T>(of + i) * read<T>(c + i)); });
      project(team, state.X(), length, state.ldd, scratch_, along_z_);
      along = along_z_;
    }
    T sum = splat<T>(0.0);
    team.for_each(state.ldd, [&](int i) {
      sum += read<T>(slope + i) * read<T>(velocity + i) * read<T>(along + i);
    });
    return team.sum(sum);
  }
  // Of the predictor where z is moved by dz, which is left in row_.
  KRF_HD KRF_APART MarginSums size_at(const double *dz) {
    team.for_each(state.ldd, [&](int i) {
      const T move = dz ? read<T>(dz + i) : splat<T>(0.0);
      auto good = move < move;
      write(row_ + i, state.mirror.evaluate(i, move, good).beta);
    });
    predict(team, state.X(), length, state.ldd, row_, scratch_);
    return to_field_.evaluate(scratch_, nullptr);
  }

  // The position, or the dense state.
  KRF_HD KRF_APART void write_state(DiagonalFlowOutput &out, int row, bool at_dense) {
    const int d = state.d, n = state.n();
    const double *dz = at_dense ? stages_.dense_z : nullptr;
    const MarginSums size = size_at(dz);
    const double log_t = at_dense ? run_.log_time(fraction_, size) : run_.clock.log_t;
    const long long at = static_cast<long long>(row) * d;
    team.each(d, [&](int i) { out.beta[at + i] = row_[i]; });
    state.write_weights(out, row, dz, 1.0, row_);
    team.each(n, [&](int i) {
      out.nu[static_cast<long long>(row) * n + i] = state.nu[i] + (at_dense ? dense[i] : 0.0);
    });
    team.once([&] { out.loss[row] = size.log_loss, out.t[row] = log_t; });
  }

  MarginRun run_;
  MarginField<TeamT> to_field_;
  Stages stages_;
  ScaledGram<TeamT> scaled_gram_;
  MarginSolver<TeamT> solver_;
  double *curvature_, *end_curvature_; // c, and at the trial end
  double *margins_;                    // at the stages
  double *scratch_;                    // of predictions
  double *row_;                        // of results, 2 ldd
  double *along_z_;                    // X' y a
  double fraction_ = 0;                // of the last step, at which dense rows are
};

KRF_END_NAMESPACE
