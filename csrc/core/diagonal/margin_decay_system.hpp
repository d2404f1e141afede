// Diagonal networks under a margin loss and weight decay, as the integrators see them.
//
// Weight decay is a function of time, and it keeps the loss from falling far, so the time of the
// methods is time itself, as in dual_system.hpp: nu_n' = exp(-2 (D - 2) Lambda) y_n (-l'(m_n)) / 2.
// Rows are at values of ln t.  A run that is asked for a loss ends with the first step after which
// decay is over and the loss as low as that.
#pragma once

#include "../margin/run.hpp"
#include "../margin/solver.hpp"
#include "../ode/smooth_flow.hpp"
#include "decay_run.hpp"
#include "mirror_stages.hpp"
#include "scaled_gram.hpp"

KRF_BEGIN_NAMESPACE

namespace margin_rules {
// ln S, S the sum of -l', beyond which a step fails: its square would overflow.
inline constexpr double kSteepest = 330.0;
// What rounding of X' dnu makes of beta counts as no error, in units of epsilon: samples that
// cancel each other leave nothing else.
inline constexpr double kRoundedStage = 4.0;
// A Newton correction that moves a margin by more than this shows no rate of convergence.  Where
// margins are far below zero the matrix is exponentially too large, so that corrections are small.
inline constexpr double kTooFar = 1.0;
} // namespace margin_rules

template <Team TeamT, Mirror MirrorT> class MarginDecaySystem : public SmoothFlow {
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
  double *field; // nu'
  double *dense; // of nu, inside the last step, relative to its start
  DecayRun<TeamT> decayed;

  KRF_HD MarginDecaySystem(TeamT &team_, const DiagonalProblem &p, Arena &arena)
      : team(team_), length(padded(p.n)), state(team_, p, arena), field(arena.take(length)),
        dense(arena.take(length)), decayed(p, length, state.ldd, arena), by_time_(p.by_time),
        to_slopes_(team_, length, state.y, p.margin_loss), stages_(state, arena),
        scaled_gram_(state.basis, arena), solver_(team_, p.n, arena), weight_(arena.take(length)),
        curvature_(arena.take(length)), margins_(arena.take(3LL * length)),
        row_(arena.take(2LL * state.ldd)), scratch_(arena.take(length)) {}

  KRF_HD static constexpr bool stiff_available() { return true; }
  KRF_HD static constexpr bool starts_stiff() { return true; }
  KRF_HD static constexpr double cost_ratio() { return 1.0; }
  KRF_HD static constexpr double largest_eigenvalue() { return -1.0; }

  KRF_HD void set_accuracy(double rtol) {
    state.mirror.set_accuracy(rtol);
    rtol_ = rtol, tolerance_ = Radau5<MarginDecaySystem>::tolerance(rtol);
  }
  KRF_HD bool start(const DiagonalProblem &p) {
    // No beta is the largest: every weight keeps its own accuracy.
    state.start_mirror(p, [](int) { return 0.0; });
    if (!state.refresh_mirror())
      return false;
    decayed.start(state, p);
    predict(team, state.X(), length, state.ldd, state.here.beta, field);
    const MarginSums at = to_field(field, margins_, DecayFactors{});
    log_loss_ = at.log_loss, slope_ = 0.5 * std::exp(at.log_slope);
    state.renew_velocity(field);
    state.velocity_is_known = true;
    renew_reach();
    return at.log_slope < margin_rules::kSteepest;
  }
  KRF_HD void start_stiff() { scaled_gram_.clear(); }
  KRF_HD void begin_step(double t, double h) {
    decayed.begin_step(t, h);
    least_norm_ = margin_rules::kRoundedStage * kEpsilon * reach_ * h / rtol_;
  }
  KRF_HD void set_fraction(double x) { decayed.set_fraction(x); }
  KRF_HD double own_fraction(double x) const { return decayed.step.to_own(x); }
  KRF_HD double next_break(double t) const { return decayed.decay.next_break(t); }
  KRF_HD bool loss_counts(double t) const { return decayed.decay.is_over(t); }
  KRF_HD static constexpr bool ends_at_times() { return false; }
  KRF_HD void renew_basis(double *history) { decayed.renew_units(team, history); }

  KRF_HD double loss() const { return log_loss_; }
  KRF_HD double predictor_norm() { return state.beta_norm(); }
  KRF_HD double step_cap() {
    return smaller(state.step_cap(std::log(kFelt)), decayed.decay.longest_step(time_));
  }
  // It is L + lambda |w|^2 that falls.
  KRF_HD static constexpr bool decreases(const double *) { return true; }
  // Relative rate at which the loss falls, and that of decay; where classes overlap the gradient is
  // small from the start and says little of how fast it relaxes.
  KRF_HD double rate() {
    const T zero = splat<T>(0.0);
    T falls = zero, relaxes = zero;
    team.for_each(state.ldd, [&](int i) {
      const T v = read<T>(state.velocity + i), most = read<T>(state.feature_norm + i);
      falls += read<T>(state.here.slope + i) * v * v;
      relaxes += read<T>(state.here.slope + i) * most * most;
    });
    T pull = zero;
    team.for_each(length, [&](int i) { pull = greater_of(pull, absolute(read<T>(field + i))); });
    return team.sum(falls) / larger(slope_, 1e-300) + team.sum(relaxes) * team.max(pull) +
           decayed.rate();
  }

  // Under constant decay by what moves; once decay is over as in MarginSystem, the field S / 2 as
  // large.
  KRF_HD KRF_APART Rest rest(const DiagonalProblem &, double *, const Progress &now) {
    time_ = now.t;
    state.renew_velocity(field);
    const double scale = std::sqrt(static_cast<double>(state.n())); // margins of one
    if (!decayed.decay.is_over(now.t)) {
      const bool rests = decayed.rests(state, now, scale, std::exp(log_loss_));
      return rests ? Rest::kStationary : Rest::kNone;
    }
    if (to_slopes_.is_separated(log_loss_))
      return Rest::kNone;
    const double still = margin_rules::still(rtol_, 1.0 + state.prediction_size());
    const bool rests = !state.moves_faster_than(slope_ * still) ||
                       decayed.rests_with_one_sign(state, now, scale, field, slope_ * still);
    return rests ? Rest::kStationary : Rest::kNone;
  }

  KRF_HD KRF_APART bool evaluate(const double *shift, double *out) {
    PassSums<T, 0, 1> bad;
    team.template map_features<1>(
        state.X(), length, state.ldd, decayed.in_units(team, shift, 1), out, bad,
        [&](int i, const T *z, T *o, auto &own) { o[0] = stages_.map_end(i, z[0], own.parts[0]); });
    return !(team.max(bad.parts[0]) > 0.0) && keep_end(to_field(out, end_margins(), decayed.now));
  }

  KRF_HD KRF_APART bool move_stages(const double *, const double *V, bool add, double *F,
                                    ErrorNorm &change) {
    typename Stages::Sums sums;
    const auto pass = stages_.pass();
    team.template map_features<3>(state.X(), length, state.ldd, decayed.in_units(team, V, 3), F,
                                  sums, [&](int i, const T *z, T *out, auto &own) {
                                    pass.map_stages(i, z, add, out, own, [](int) { return 1.0; });
                                  });
    double of[7];
    team.template reduce<5, 2>(sums.parts, of);
    if (of[6] > 0.0)
      return false;
    double moved = 0.0;
    for (int j = 0; j < 3; ++j) {
      const DecayFactors &at = decayed.of_stage[j];
      const MarginSums size = to_field(F + j * length, margins_ + j * length, at);
      if (!keep_end(size))
        return false;
      moved = larger(moved, size.moved);
      if (!add)
        weigh_stage(j, F + j * length, at);
      of[j] *= at.predictor * at.predictor;
    }
    const double end = decayed.of_stage[2].predictor;
    const double unsettled = margin_rules::kSettled * tolerance_ * moved;
    change = {larger(of[5], add ? unsettled : 0.0),
              std::sqrt(larger(of[0], larger(of[1], of[2]))),
              larger(end * std::sqrt(of[3]), least_norm_),
              end * std::sqrt(of[4]),
              end,
              moved > margin_rules::kTooFar};
    return true;
  }

  // What of the Gram matrix counts depends on the largest weight of a sample.
  KRF_HD KRF_APART bool prepare(double h, double, double *, bool &basis_changed) {
    basis_changed = false;
    T most = splat<T>(0.0);
    team.for_each(length, [&](int i) { most = greater_of(most, read<T>(weight_ + i)); });
    const double shift = radau5::kGamma / h / larger(team.max(most), 1e-280);
    scaled_gram_.shed_rounding(stages_.mean_slope);
    scaled_gram_.update(stages_.mean_slope, shift, scaled_gram_.kDrift);
    return solver_.prepare(scaled_gram_.matrix, h, [&](int i) { return read<T>(weight_ + i); });
  }
  KRF_HD void solve(double *b) { solver_.solve(b); }
  KRF_HD void solve_stages(double *b) {
    solver_.solve(b);
    solver_.solve(b + length, b + 2LL * length);
  }

  KRF_HD ErrorNorm error_norm_at_end(const double *dnu, const double *end_field) {
    ErrorNorm norm = state.error_norm_at_end(decayed.in_units(team, dnu, 1), end_field);
    const double end = decayed.of_stage[2].predictor;
    norm.predictor *= margin_rules::kCautious * end;
    norm.predictor_norm = larger(end * norm.predictor_norm, least_norm_);
    norm.componentwise *= margin_rules::kCautious;
    norm.left = end;
    return norm;
  }
  KRF_HD void advance(const double *dnu, const double *end_field) {
    copy(team, end_field, field, length);
    state.advance_by(stages_.end(), dnu, decayed.nu_scale * decayed.step.unit);
    state.take_velocity_of_end();
    // The field of the next step has units of its own.
    log_loss_ = end_log_loss_, slope_ = end_slope_;
    decayed.shrink(state, field);
    renew_reach();
  }

  // The clock: ln t, or minus ln L once decay is over.
  KRF_HD bool passed(double value) const {
    return by_time_ ? std::log(time_) >= value
                    : decayed.decay.is_over(time_) && -log_loss_ >= value;
  }
  KRF_HD bool reaches(double value) const {
    return by_time_ && std::log(decayed.step.t + decayed.step.h) >= value;
  }
  // The interpolant of a step on which small weights still move, while the others rest, is less
  // accurate than its end.
  KRF_HD double until(double value) const {
    // A value that rounding has put at the end of the last step is in the next one.
    return by_time_ ? larger(std::exp(value) - time_, 1e-9 * time_) : kInfinity;
  }
  // Of the time of the methods.
  KRF_HD double fraction_at(double value) {
    const double x = (std::exp(value) - decayed.step.t) / decayed.step.h;
    const double own = own_fraction(smaller(1.0, larger(0.0, x)));
    set_fraction(own);
    return own;
  }

  KRF_HD void interpolate_stages(const double w[3]) { stages_.interpolate(w); }
  KRF_HD void interpolate_state(const double *dnu) {
    project(team, state.X(), length, state.ldd, decayed.in_units(team, dnu, 1), stages_.dense_z);
  }
  KRF_HD void keep_in_domain(double x) { stages_.keep_in_domain(x), fraction_ = x; }

  // A row at a later ln t is of a state at rest.
  KRF_HD void write_row(DiagonalFlowOutput &out, int row, double log_t) {
    const bool later = by_time_ && log_t > std::log(time_);
    write_state(out, row, false, later ? log_t : std::log(time_));
  }
  KRF_HD void write_dense_row(DiagonalFlowOutput &out, int row, double) {
    const DecayStep &step = decayed.step;
    write_state(out, row, true, std::log(step.t + step.from_own(fraction_) * step.h));
  }
  KRF_HD void write_unstarted(DiagonalFlowOutput &out, int row) {
    state.write_unstarted(out, row, std::log(static_cast<double>(state.n())), -kInfinity);
  }

private:
  using Stages = MirrorStages<TeamT, MirrorT>;

  // The margins at the end of the last step, or of the step under way.
  KRF_HD double *end_margins() const { return margins_ + 2LL * length; }
  // Predictions of the mirror become nu'.
  KRF_HD MarginSums to_field(double *f, double *margins, const DecayFactors &at) {
    scale(team, at.predictor, f, length);
    const MarginSums size = to_slopes_.evaluate(f, margins);
    scale(team, 0.5 * std::exp(size.log_slope) * at.field, f, length);
    return size;
  }
  // Of the stage that is the end of the trial step, the last one looked at.
  KRF_HD bool keep_end(const MarginSums &size) {
    end_log_loss_ = size.log_loss, end_slope_ = 0.5 * std::exp(size.log_slope);
    return size.log_slope < margin_rules::kSteepest;
  }
  // How fast beta would move if the terms of X' nu' did not cancel.
  KRF_HD KRF_APART void renew_reach() {
    T sum = splat<T>(0.0);
    team.for_each(state.ldd, [&](int i) {
      const T most = read<T>(state.here.slope + i) * read<T>(state.feature_norm + i);
      sum += most * most;
    });
    reach_ = std::sqrt(team.sum(sum)) * norm(team, field, length);
  }
  // Adds what stage j with the field f says of a, minus the derivative of nu' by the predictions
  // of the mirror in units of the step: Newton's matrices are those of the mean over the stages.
  KRF_HD void weigh_stage(int j, const double *f, const DecayFactors &at) {
    to_slopes_.curvature(margins_ + j * length, curvature_);
    const double share = decayed.step.unit * at.predictor / 3.0;
    team.for_each(length, [&](int i) {
      const T before = j > 0 ? read<T>(weight_ + i) : splat<T>(0.0);
      write(weight_ + i, before + share * (absolute(read<T>(f + i)) * read<T>(curvature_ + i)));
    });
  }

  // The position, or the dense state, at ln t.
  KRF_HD KRF_APART void write_state(DiagonalFlowOutput &out, int row, bool at_dense, double log_t) {
    const int d = state.d, n = state.n(), ldd = state.ldd;
    const T zero = splat<T>(0.0);
    const DecayFactors factors = at_dense ? decayed.now : DecayFactors{};
    const double left = std::exp(factors.log_weight);
    const double nu_unit = at_dense ? decayed.nu_scale * decayed.step.unit : 0.0;
    const double gain = at_dense ? 0.0 : decayed.gain_at_rest(std::exp(log_t), false);
    const auto dz = [&](int i) { return at_dense ? read<T>(stages_.dense_z + i) : zero; };
    double *predictor = row_;
    team.for_each(ldd, [&](int i) {
      auto good = zero < zero;
      write(predictor + i, factors.predictor * state.mirror.evaluate(i, dz(i), good).beta);
    });
    predict(team, state.X(), length, ldd, predictor, scratch_);
    const MarginSums size = to_field(scratch_, nullptr, DecayFactors{});
    const long long at = static_cast<long long>(row) * d;
    team.each(d, [&](int i) { out.beta[at + i] = predictor[i]; });
    state.write_weights(out, row, at_dense ? stages_.dense_z : nullptr, left, row_);
    team.each(n, [&](int i) {
      out.nu[static_cast<long long>(row) * n + i] =
          state.nu[i] + gain * scratch_[i] + (at_dense ? nu_unit * dense[i] : 0.0);
    });
    team.once([&] { out.loss[row] = size.log_loss, out.t[row] = log_t; });
  }

  bool by_time_;
  MarginField<TeamT> to_slopes_;
  Stages stages_;
  ScaledGram<TeamT> scaled_gram_;
  WeightedSolver<TeamT> solver_;
  double *weight_; // a of Newton's matrices
  double *curvature_;
  double *margins_; // at the stages
  double *row_;     // of results, 2 ldd
  double *scratch_; // of predictions
  double rtol_ = 0, tolerance_ = 0;
  double time_ = 0;                 // when the last step ended
  double log_loss_ = 0, slope_ = 0; // ln L and S / 2 there
  double end_log_loss_ = 0, end_slope_ = 0;
  double reach_ = 0;
  double least_norm_ = 0; // of the predictor, against which its errors count
  double fraction_ = 0;   // of the last step, at which dense rows are
};

KRF_END_NAMESPACE
