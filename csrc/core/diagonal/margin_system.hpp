// Diagonal networks under a margin loss, sum_n l(y_n x_n . beta), as the integrators see it.
//
// Half the integral of -l'(m_n) y_n is the dual nu of the squared loss: the mirror of z = X' nu is
// the same.  In the time tau of margin_clock.hpp its velocity is nu_n' = y_n p_n, where p is
// -l'(m) over its sum: of order one while the loss falls to exp(-1e12), and defined by ln(-l')
// alone.
#pragma once

#include "../ode/smooth_flow.hpp"
#include "margin_clock.hpp"
#include "margin_field.hpp"
#include "margin_solver.hpp"
#include "mirror_stages.hpp"
#include "scaled_gram.hpp"

KRF_BEGIN_NAMESPACE

namespace margin_rules {
inline constexpr double kGramDrift = 0.2;
// Newton's iteration has to settle the margins of the samples that matter: a change of one by
// kSettled of the tolerance counts like one of beta.
inline constexpr double kSettled = 0.1;
// Once -ln L is kLate, a step multiplies it by at most kMostGrowth: at its end errors made on the
// way are small against a predictor that has grown.
inline constexpr double kLate = 100.0, kMostGrowth = 10.0;
// What rounding may change of a weight in a step, relative to it and to rtol.  A velocity this
// small, relative to what one sample alone would cause, times the size of the predictions is none;
// of at most kMostStill.
inline constexpr double kRoundedStep = 1e-3, kMostStill = 1e-9;
// What the interpolation of -ln S may leave of an error of ln t in a step, in units of rtol and,
// where that is more than one, of |ln L|.
inline constexpr double kClock = 10.0;
// Errors of steps count so many times: samples that come and go leave errors of one sign.
inline constexpr double kCautious = 5.0;
// The step after one that failed is no longer than the one that then succeeded; the longest allowed
// grows by this factor with every further step.
inline constexpr double kRecovery = 5.0;
inline constexpr int kSearch = 40;
} // namespace margin_rules

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
        dense(arena.take(length)), by_time_(p.by_time),
        to_field_(team_, length, state.y, p.margin_loss), stages_(state, arena),
        scaled_gram_(state.basis, arena), solver_(team_, state.y, p.n, arena),
        curvature_(arena.take(length)), margins_(arena.take(3LL * length)),
        scratch_(arena.take(length)), row_(arena.take(2LL * state.ldd)),
        along_z_(arena.take(state.ldd)) {}

  KRF_HD static constexpr bool stiff_available() { return true; }
  KRF_HD static constexpr bool starts_stiff() { return true; }
  KRF_HD static constexpr double cost_ratio() { return 1.0; }
  KRF_HD static constexpr double largest_eigenvalue() { return -1.0; }

  KRF_HD void set_accuracy(double rtol) {
    state.mirror.set_accuracy(rtol);
    rtol_ = rtol;
    tolerance_ = Radau5<MarginSystem>::tolerance(rtol);
    to_field_.smoothing = margin_rules::kSmoothing * rtol;
  }
  KRF_HD bool start(const DiagonalProblem &p) {
    // No beta is the largest: every weight keeps its own accuracy.
    state.start_mirror(p, [](int) { return 0.0; });
    if (!state.refresh_mirror())
      return false;
    predict(team, state.X(), length, state.ldd, state.here.beta, field);
    const MarginSums size = to_field_.evaluate(field, end_margins());
    log_loss_ = size.log_loss;
    clock_.value[0] = -size.log_slope;
    width_ = end_width_ = size.width;
    to_field_.curvature(end_margins(), curvature_);
    state.renew_velocity(field);
    state.velocity_is_known = true;
    speed_ = speed(field, state.velocity, state.here.slope);
    return true;
  }
  KRF_HD void start_stiff() { scaled_gram_.clear(); }
  KRF_HD void begin_step(double, double h) {
    failures_ = begun_ ? failures_ + 1 : 0;
    begun_ = true;
    h_ = h;
  }
  KRF_HD static void renew_basis(double *) {}

  // ln L stands for the loss: what a run is asked for is a value of its clock.
  KRF_HD double loss() { return log_loss_; }
  KRF_HD double predictor_norm() { return state.beta_norm(); }
  KRF_HD double step_cap() {
    return smaller(smaller(state.step_cap(std::log(kFelt)), cap_of_rounding()),
                   begun_ ? kInfinity : after_failure_);
  }
  // At rest nu still moves, along what X' does not see.
  KRF_HD double cap_of_rounding() {
    T most = splat<T>(0.0);
    team.for_each(state.ldd, [&](int i) {
      most = greater_of(most,
                        read<T>(state.here.relative_slope + i) * read<T>(state.feature_norm + i));
    });
    return margin_rules::kRoundedStep * rtol_ / (kEpsilon * team.max(most));
  }
  KRF_HD double rate() {
    T sum = splat<T>(0.0);
    team.for_each(state.ldd, [&](int i) {
      const T v = read<T>(state.velocity + i);
      sum += read<T>(state.here.slope + i) * v * v;
    });
    return team.sum(sum);
  }
  KRF_HD bool decreases(const double *) {
    const double slack = end_width_ > 1.0 ? margin_rules::kSpread * end_width_ : 0.0;
    return end_log_loss_ <= log_loss_ + 2.0 * noise_ + slack &&
           -end_log_loss_ < margin_rules::kMostGrowth * larger(-log_loss_, margin_rules::kLate);
  }

  // A convex flow rests where its velocity is rounding: at the minimum, which classes that are not
  // separable have.
  KRF_HD KRF_APART Rest rest(const DiagonalProblem &, double *, const Progress &) {
    state.renew_velocity(field);
    T prediction = splat<T>(0.0);
    team.for_each(state.ldd, [&](int i) {
      prediction += absolute(read<T>(state.here.beta + i)) * read<T>(state.feature_norm + i);
    });
    const double size = 1.0 + team.sum(prediction);
    noise_ = kRounding * size;
    T above = splat<T>(0.0);
    const double still =
        smaller(margin_rules::kRoundedStep * rtol_ * size, margin_rules::kMostStill);
    team.for_each(state.ldd, [&](int i) {
      above = greater_of(above, absolute(read<T>(state.velocity + i)) -
                                    still * read<T>(state.feature_norm + i));
    });
    const bool moves = team.max(above) > 0.0;
    return moves || to_field_.is_separated(log_loss_) ? Rest::kNone : Rest::kStationary;
  }

  KRF_HD KRF_APART bool evaluate(const double *shift, double *out) {
    PassSums<T, 0, 1> bad;
    team.template map_features<1>(
        state.X(), length, state.ldd, shift, out, bad,
        [&](int i, const T *z, T *o, auto &own) { o[0] = stages_.map_end(i, z[0], own.parts[0]); });
    if (team.max(bad.parts[0]) > 0.0)
      return false;
    const MarginSums size = to_field_.evaluate(out, end_margins());
    end_log_loss_ = size.log_loss, end_width_ = size.width;
    clock_.value[3] = -size.log_slope;
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
      clock_.value[j + 1] = -size.log_slope;
      end_log_loss_ = size.log_loss, end_width_ = size.width;
    }
    const double settled = add ? margin_rules::kSettled * tolerance_ * moved : 0.0;
    change = {larger(of[5], settled), std::sqrt(larger(of[0], larger(of[1], of[2]))),
              std::sqrt(of[3]), std::sqrt(of[4])};
    return true;
  }

  KRF_HD KRF_APART bool prepare(double h, double, double *, bool &basis_changed) {
    basis_changed = false;
    scaled_gram_.update(stages_.mean_slope, radau5::kGamma / h, margin_rules::kGramDrift);
    return solver_.prepare(scaled_gram_.matrix, field, curvature_, 1.0 / width_, h);
  }
  KRF_HD void solve(double *b) { solver_.solve(b); }
  KRF_HD void solve_stages(double *b) { solver_.solve_stages(b); }

  KRF_HD ErrorNorm error_norm_at_end(const double *dnu, const double *end_field) {
    end_field_ = end_field;
    ErrorNorm norm = state.error_norm_at_end(dnu, end_field);
    norm.predictor *= margin_rules::kCautious;
    norm.componentwise *= margin_rules::kCautious;
    renew_end_speed();
    const double allowed = margin_rules::kClock * rtol_ * larger(1.0, absolute(log_loss_));
    norm.componentwise =
        larger(norm.componentwise, tolerance_ * (clock_.uncertainty(h_) / allowed));
    return norm;
  }
  KRF_HD void advance(const double *dnu, const double *end_field) {
    clock_.log_t = log_time(1.0, clock_.end());
    clock_.value[0] = clock_.end();
    speed_ = end_speed_;
    log_loss_ = end_log_loss_, width_ = end_width_;
    copy(team, end_field, field, length);
    state.advance_by(stages_.end(), dnu);
    state.take_velocity_of_end();
    to_field_.curvature(end_margins(), curvature_);
    after_failure_ = failures_ > 0 ? h_ : margin_rules::kRecovery * after_failure_;
    begun_ = false;
  }

  // The clock: minus ln L, or ln t.
  KRF_HD bool passed(double value) const { return (by_time_ ? clock_.log_t : -log_loss_) >= value; }
  KRF_HD bool reaches(double value) {
    return (by_time_ ? log_time(1.0, clock_.end()) : -end_log_loss_) >= value;
  }
  // By regula falsi (Illinois) on what the interpolated predictor shows.
  KRF_HD KRF_APART double fraction_at(double value) {
    double low = 0.0, high = 1.0;
    double below = (by_time_ ? clock_.log_t : -log_loss_) - value;
    double above = (by_time_ ? log_time(1.0, clock_.end()) : -end_log_loss_) - value;
    const double enough = 1e-12 * (1.0 + absolute(value)) + 2.0 * noise_;
    for (int k = 0, side = 0; k < margin_rules::kSearch; ++k) {
      const double secant = low - below * (high - low) / (above - below);
      const double x = below > -kInfinity ? secant : 0.5 * (low + high); // ln t = -inf at first
      if (!(x > low && x < high))
        return high;
      const double gap = shown_at(x) - value;
      if (absolute(gap) <= enough)
        return x;
      if (gap < 0) {
        low = x, below = gap;
        above *= side < 0 ? 0.5 : 1.0;
        side = -1;
      } else {
        high = x, above = gap;
        below *= side > 0 ? 0.5 : 1.0;
        side = 1;
      }
    }
    return high;
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
  KRF_HD KRF_APART void write_unstarted(DiagonalFlowOutput &out, int row) {
    const int d = state.d, n = state.n();
    const long long at = static_cast<long long>(row) * d, at_nu = static_cast<long long>(row) * n;
    team.each(d, [&](int i) { out.beta[at + i] = out.w_plus[at + i] = out.w_minus[at + i] = 0.0; });
    team.each(n, [&](int i) { out.nu[at_nu + i] = 0.0; });
    team.once([&] { out.loss[row] = std::log(static_cast<double>(n)), out.t[row] = -kInfinity; });
  }

private:
  using Stages = MirrorStages<TeamT, MirrorT>;

  // The margins at the end of the last step, or of the step under way.
  KRF_HD double *end_margins() const { return margins_ + 2LL * length; }
  // d(-ln S) / d tau where the field, the velocity of z and the slopes are these.
  KRF_HD KRF_APART double speed(const double *of, const double *velocity, const double *slope) {
    const double *along = velocity;
    if (to_field_.loss != MarginLossKind::kExponential) {
      to_field_.curvature(end_margins(), curvature_);
      team.for_each(length,
                    [&](int i) { write(scratch_ + i, read<T>(of + i) * read<T>(curvature_ + i)); });
      project(team, state.X(), length, state.ldd, scratch_, along_z_);
      along = along_z_;
    }
    T sum = splat<T>(0.0);
    team.for_each(state.ldd, [&](int i) {
      sum += read<T>(slope + i) * read<T>(velocity + i) * read<T>(along + i);
    });
    return team.sum(sum);
  }
  // Of a trial step that has succeeded.
  KRF_HD double log_time(double x, double there) { return clock_.log_time(x, h_, there); }
  KRF_HD void renew_end_speed() {
    end_speed_ = speed(end_field_, state.next_velocity, state.next.slope);
    clock_.slope_start = h_ * speed_, clock_.slope_end = h_ * end_speed_;
  }

  // What the clock shows at a fraction of the last step.
  KRF_HD double shown_at(double x) {
    double w[3];
    radau5::dense_weights(x, w);
    stages_.interpolate(w);
    stages_.keep_in_domain(x);
    const MarginSums size = size_at(stages_.dense_z);
    return by_time_ ? log_time(x, -size.log_slope) : -size.log_loss;
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
    const int d = state.d, n = state.n(), ldd = state.ldd;
    const double *dz = at_dense ? stages_.dense_z : nullptr;
    const MarginSums size = size_at(dz);
    const double log_t = at_dense ? log_time(fraction_, -size.log_slope) : clock_.log_t;
    const long long at = static_cast<long long>(row) * d;
    team.each(d, [&](int i) { out.beta[at + i] = row_[i]; });
    double *w_plus = row_, *w_minus = row_ + ldd;
    team.for_each(ldd, [&](int i) {
      T plus, minus;
      state.mirror.weights(i, dz ? read<T>(dz + i) : splat<T>(0.0), plus, minus);
      write(w_plus + i, plus);
      write(w_minus + i, minus);
    });
    team.each(d, [&](int i) {
      out.w_plus[at + i] = w_plus[i];
      out.w_minus[at + i] = w_minus[i];
    });
    team.each(n, [&](int i) {
      out.nu[static_cast<long long>(row) * n + i] = state.nu[i] + (at_dense ? dense[i] : 0.0);
    });
    team.once([&] { out.loss[row] = size.log_loss, out.t[row] = log_t; });
  }

  bool by_time_; // which of the two clocks results are asked for at
  MarginClock clock_;
  MarginField<TeamT> to_field_;
  Stages stages_;
  ScaledGram<TeamT> scaled_gram_;
  MarginSolver<TeamT> solver_;
  double *curvature_; // c
  double *margins_;   // at the stages
  double *scratch_;   // of predictions
  double *row_;       // of results, 2 ldd
  double *along_z_;   // X' y a
  double log_loss_ = 0, end_log_loss_ = 0, noise_ = 0, rtol_ = 0, tolerance_ = 0;
  double width_ = 1, end_width_ = 1;  // MarginSums::width
  const double *end_field_ = nullptr; // of the trial step
  double speed_ = 0, end_speed_ = 0;  // d(-ln S) / d tau at its start and at its end
  double h_ = 0, fraction_ = 0, after_failure_ = kInfinity;
  int failures_ = 0;   // in a row, of the step under way
  bool begun_ = false; // an attempt that no step has followed
};

KRF_END_NAMESPACE
