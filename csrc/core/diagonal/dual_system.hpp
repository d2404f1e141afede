// The diagonal network as the integrators see it: the flow nu' = y - X beta(nu) of its dual.
//
// The Jacobian -X diag(s) X' is one Gram matrix, moved column by column (scaled_gram.hpp).  Its
// slopes are the mean over the predicted stages, so that an activation inside the step does not
// surprise Newton.
#pragma once

#include "../linalg/shifted_factors.hpp"
#include "../ode/radau5.hpp"
#include "beta_average.hpp"
#include "dual_state.hpp"
#include "mirror_stages.hpp"
#include "scaled_gram.hpp"

KRF_BEGIN_NAMESPACE

namespace dual_rules {
// After a Newton iteration slower than this the matrix is brought up to date more closely.
inline constexpr double kSlowRate = 0.1;
inline constexpr double kFineDrift = 0.02;
// From so many samples on, columns of the matrix cost more than the iterations that they save.
inline constexpr int kLarge = 1000;
inline constexpr double kLargeDrift = 0.8, kLargeSlowRate = 0.3;
inline constexpr int kStiffStart = 64; // samples from which method = "auto" starts with stiff steps
// Below this share of a diagonal entry, left by an elimination, stiff features are to come first:
// those with h s |x|^2 above kStiff.
inline constexpr double kGraded = 1e-8, kStiff = 1e3;
// A feature that came first is stiff no more below kSoft.  That matters where rounding moves the
// predictor by more than the part kSeen of rtol.
inline constexpr double kSoft = 1.0, kSeen = 1e-3;
} // namespace dual_rules

template <Team TeamT, Mirror MirrorT, QuadraticLoss LossT = SquaredLoss>
class DualSystem : public SmoothFlow {
public:
  using TeamType = TeamT;
  using Value = typename TeamT::Value;
  using T = Value;
  using Problem = DiagonalProblem;
  using Output = DiagonalFlowOutput;

  static constexpr double kNewtonShare = 0.3;

  TeamT &team;
  int length;
  DualState<TeamT, MirrorT, LossT> state;
  double *field; // nu' is the residual
  double *dense; // of nu, inside the last step, relative to its start
  DecayRun<TeamT> decayed;

  KRF_HD DualSystem(TeamT &team_, const DiagonalProblem &p, Arena &arena)
      : team(team_), length(padded(p.n)), state(team_, p, arena), field(state.residual),
        dense(arena.take(length)), decayed(p, length, state.ldd, arena),
        average_(p, state.ldd, arena), scaled_gram_(state.basis, arena), solver_(team_, p.n, arena),
        stages_(state, arena), scratch_(arena.take(state.ldd)), row_(arena.take(2LL * state.ldd)),
        power_(arena.take(length)), image_(arena.take(length)) {}

  KRF_HD static constexpr bool stiff_available() { return true; }
  // In passes of one vector over X: an explicit step costs 8; a stiff step costs its passes, the
  // update of the Gram matrix and its share of an inverse, and about forty products of an N x N
  // matrix and a vector.  From kLarge samples on no cache holds X, and a pass of three vectors
  // costs as much as a pass of one; columns of the Gram matrix are moved less often there.
  KRF_HD double cost_ratio() const {
    const double n = state.n(), d = state.d;
    const bool large = state.n() >= dual_rules::kLarge;
    const double passes = large ? 6.0 : 12.5, update = large ? 0.015 : 0.1;
    return (passes + update * n * n / d + 12.0 * n / d) / 8.0;
  }
  // From here on stiff steps are at most as expensive per unit of time, even while the flow is not
  // stiff yet.
  KRF_HD bool starts_stiff() const { return state.n() >= dual_rules::kStiffStart; }

  KRF_HD void set_accuracy(double rtol) { state.mirror.set_accuracy(rtol), rtol_ = rtol; }
  KRF_HD bool start(const DiagonalProblem &p) {
    if (!state.start(p))
      return false;
    problem_ = &p;
    decayed.start(state, p);
    if (average_.wanted)
      average_.start(team, state.ldd);
    return true;
  }
  KRF_HD void start_stiff() {
    scaled_gram_.clear();
    solver_.start();
    fill(team, 0.0, power_, length);
  }
  KRF_HD void begin_step(double t, double h) { decayed.begin_step(t, h), h_ = h; }
  KRF_HD void set_fraction(double x) { decayed.set_fraction(x); }
  KRF_HD double own_fraction(double x) const { return decayed.step.to_own(x); }
  KRF_HD double next_break(double t) const { return decayed.decay.next_break(t); }
  // Under decay a small loss says nothing of the end.
  KRF_HD bool loss_counts(double t) const { return decayed.decay.is_over(t); }
  // A mean is summed step by step; and under decay the interpolant of a step on which small weights
  // still move, while the others rest, is less accurate than its end.
  KRF_HD bool ends_at_times() const { return average_.wanted || decayed.exists(); }

  KRF_HD double loss() { return state.loss(); }
  KRF_HD double predictor_norm() { return state.beta_norm(); }
  KRF_HD double step_cap() {
    return smaller(state.step_cap(), decayed.decay.longest_step(end_time_));
  }
  // Under decay it is L + lambda |w|^2 that falls.
  KRF_HD bool decreases(const double *end_residual) {
    return decayed.exists() || state.decreases(end_residual);
  }
  // Relative rate at which the loss falls.
  KRF_HD double rate() {
    const double size2 = larger(loss(), 1e-300);
    double fall = fall_of(1.0) / size2;
    if (!(fall > 0.0 && fall < kInfinity)) // squares have left the doubles
      fall = fall_of(1.0 / std::sqrt(size2));
    return fall + decayed.rate();
  }

  // A convex flow rests nowhere but where its velocity is rounding: at a minimum, or where only
  // rounding is left of the residual (DualState::beyond_reach).
  KRF_HD Rest rest(const DiagonalProblem &p, double *history, const Progress &now) {
    end_time_ = now.t;
    const bool still = state.measure_velocity();
    const double scale = std::sqrt(state.y_norm2);
    if (decayed.decay.is_over(now.t)) {
      if (still)
        return rest_at_rounding(p, history);
      const bool rests = decayed.rests_with_one_sign(state, now, scale, field, state.noise);
      return rests ? Rest::kStationary : Rest::kNone;
    }
    const bool rests = decayed.rests(state, now, scale, state.loss());
    return rests ? Rest::kStationary : Rest::kNone;
  }
  // The basis changes in `prepare`.  Under decay nu of the next step has units of its own.
  KRF_HD void renew_basis(double *history) { decayed.renew_units(team, history); }

  // The field at nu + shift; keeps z and the mirror's values as those of the trial end.
  KRF_HD KRF_APART bool evaluate(const double *shift, double *out) {
    PassSums<T, 0, 1> bad;
    team.template map_features<1>(
        state.X(), length, state.ldd, decayed.in_units(team, shift, 1), out, bad,
        [&](int i, const T *z, T *o, auto &own) { o[0] = stages_.map_end(i, z[0], own.parts[0]); });
    decayed.to_field(state, out, decayed.now);
    return !(team.max(bad.parts[0]) > 0.0);
  }

  // One pass: Z (+)= X' V, fields F at the new stages, and the size of the change.  False where a
  // stage leaves the domain of the mirror.
  KRF_HD KRF_APART bool move_stages(const double *, const double *V, bool add, double *F,
                                    ErrorNorm &change) {
    typename Stages::Sums sums;
    const double shares[3] = {decayed.of_stage[0].kernel, decayed.of_stage[1].kernel,
                              decayed.of_stage[2].kernel};
    const auto share = [&](int j) { return shares[j]; };
    const auto pass = stages_.pass();
    team.template map_features<3>(
        state.X(), length, state.ldd, decayed.in_units(team, V, 3), F, sums,
        [&](int i, const T *z, T *out, auto &own) { pass.map_stages(i, z, add, out, own, share); });
    double of[7];
    team.template reduce<5, 2>(sums.parts, of);
    if (of[6] > 0.0)
      return false;
    const DecayFactors *at = decayed.of_stage;
    for (int j = 0; j < 3; ++j)
      decayed.to_field(state, F + j * length, at[j]);
    const double end = at[2].predictor;
    for (int j = 0; j < 3; ++j)
      of[j] *= at[j].predictor * at[j].predictor;
    change = {of[5], std::sqrt(larger(of[0], larger(of[1], of[2]))), end * std::sqrt(of[3]),
              end * std::sqrt(of[4]), end};
    return true;
  }

  // Gram matrix and factors for a step h; false if the matrix was not definite.  Sets
  // `basis_changed` if the basis changed, which invalidates the stages; the history follows.
  KRF_HD KRF_APART bool prepare(double h, double newton_rate, double *history,
                                bool &basis_changed) {
    using namespace dual_rules;
    basis_changed = false;
    const bool large = state.n() >= kLarge;
    const bool slow = newton_rate > (large ? kLargeSlowRate : kSlowRate);
    const double drift = slow ? kFineDrift : large ? kLargeDrift : scaled_gram_.kDrift;
    if (!scaled_gram_.update(stages_.mean_slope, radau5::kGamma / h, drift) && h == solver_.h)
      return true;
    const double kept =
        solver_.prepare(scaled_gram_.matrix, h, {radau5::kGamma, radau5::kAlpha, radau5::kBeta});
    if (kept > kGraded || team.cancelled())
      return kept > 0.0;
    state.weigh(h, stages_.mean_slope, scratch_);
    const bool outdated = is_outdated();
    for (int j = 0; j < 3 && outdated; ++j)
      state.basis.to_original(history + j * length);
    if (outdated)
      state.restore_basis(*problem_);
    const int known = state.basis.n_reflectors;
    const bool rotated = state.rotate_stiff_first(scratch_, kStiff, scaled_gram_.change);
    if (!rotated && !outdated)
      return kept > 0.0;
    for (int j = 0; j < 3; ++j)
      state.basis.follow(known, history + j * length);
    forget_matrices();
    basis_changed = true;
    return true;
  }
  KRF_HD void solve(double *b) { solver_.solve(b); }
  KRF_HD void solve_stages(double *b) { solver_.solve_stages(b, length); }

  KRF_HD ErrorNorm error_norm_at_end(const double *dnu, const double *end_field) {
    ErrorNorm norm = state.error_norm_at_end(decayed.in_units(team, dnu, 1), end_field);
    norm.predictor *= decayed.of_stage[2].predictor;
    norm.predictor_norm *= decayed.of_stage[2].predictor;
    norm.left = decayed.of_stage[2].predictor;
    if (decayed.exists()) {
      norm.predictor *= decay_rules::kCautious;
      norm.componentwise *= decay_rules::kCautious;
      if (average_.wanted)
        norm.predictor = larger(
            norm.predictor, average_.error(state, stages_.Z, decayed, norm.predictor_norm, rtol_));
    }
    return norm;
  }
  // To a trial end that error_norm_at_end has measured.
  KRF_HD void advance(const double *dnu, const double *end_field) {
    if (average_.wanted)
      average_.add(state, stages_.Z, decayed, h_);
    copy(team, end_field, field, length);
    state.advance_by(stages_.end(), dnu, decayed.nu_scale * decayed.step.unit);
    state.take_velocity_of_end();
    if (decayed.exists())
      decayed.shrink(state, field);
  }

  KRF_HD void interpolate_stages(const double w[3]) { stages_.interpolate(w); }
  KRF_HD void interpolate_state(const double *dnu) {
    project(team, state.X(), length, state.ldd, decayed.in_units(team, dnu, 1), stages_.dense_z);
  }
  KRF_HD void keep_in_domain(double x) { stages_.keep_in_domain(x); }

  // One step of the power method on the Gram matrix, from the vector of the step before; negative
  // where that would not be faithful.
  KRF_HD KRF_APART double largest_eigenvalue() {
    if (state.basis.is_rotated())
      return -1.0;
    const double size = norm(team, power_, length);
    if (!(size > 0.0)) {
      team.each(state.n(), [&](int i) { power_[i] = 1.0 + 0.1 * (i % 7); });
      return kInfinity;
    }
    scale(team, 1.0 / size, power_, length);
    NoSums none;
    team.template map_features<1>(
        state.X(), length, state.ldd, power_, image_, none,
        [&](int i, const T *z, T *o, NoSums &) { o[0] = z[0] * read<T>(state.here.slope + i); });
    swap(power_, image_);
    return norm(team, power_, length);
  }

  KRF_HD void write_row(DiagonalFlowOutput &out, int row, double t) {
    write_state(out, row, false, t);
  }
  KRF_HD void write_dense_row(DiagonalFlowOutput &out, int row, double t) {
    write_state(out, row, true, t);
  }
  // Of a run that could not start.
  KRF_HD void write_unstarted(DiagonalFlowOutput &out, int row) {
    state.write_unstarted(out, row, state.y_norm2, 0.0);
  }

private:
  using Stages = MirrorStages<TeamT, MirrorT>;

  // By how much the square of the residual falls per unit of time, in units of 1 / unit^2.
  KRF_HD double fall_of(double unit) {
    T sum = splat<T>(0.0);
    team.for_each(state.ldd, [&](int i) {
      const T v = unit * read<T>(state.velocity + i);
      sum += read<T>(state.here.slope + i) * v * v;
    });
    return team.sum(sum);
  }

  // Whether the basis must be built anew, for the weights in `scratch_`.  Features reflected after
  // one that is stiff no more have a component in its row.  There a long step is large, so that
  // their inner products with it cancel, and the rounding would move the predictor.
  KRF_HD bool is_outdated() {
    using namespace dual_rules;
    T stiffest = splat<T>(0.0);
    team.for_each(state.ldd,
                  [&](int i) { stiffest = greater_of(stiffest, read<T>(scratch_ + i)); });
    const double rounding =
        kEpsilon * team.max(stiffest) * std::sqrt(state.loss() / larger(state.y_norm2, 1e-300));
    return rounding > kSeen * rtol_ && state.basis.is_outdated(scratch_, kSoft);
  }

  KRF_HD void forget_matrices() {
    scaled_gram_.clear();
    solver_.forget();
  }

  // What a velocity of rounding means; the history follows where the basis changes.
  KRF_HD KRF_APART Rest rest_at_rounding(const DiagonalProblem &p, double *history) {
    for (int j = 0; j < 3 && state.unreachable < 0.0; ++j)
      state.basis.to_original(history + j * length);
    bool basis_changed;
    const bool end = state.beyond_reach(p, scratch_, scaled_gram_.change, basis_changed);
    if (basis_changed)
      forget_matrices();
    return end ? Rest::kStationary : state.residual_is_rounding() ? Rest::kRounding : Rest::kNone;
  }

  // The position, or the dense state.  The arrays of the trial end still belong to it.
  KRF_HD KRF_APART void write_state(DiagonalFlowOutput &out, int row, bool at_dense, double t) {
    const int d = state.d, n = state.n(), ldd = state.ldd;
    const T zero = splat<T>(0.0);
    const DecayFactors factors = at_dense ? decayed.now : DecayFactors{};
    const double left = std::exp(factors.log_weight);
    const double nu_unit = at_dense ? decayed.nu_scale * decayed.step.unit : 0.0;
    const double gain = at_dense ? 0.0 : decayed.gain_at_rest(t, state.residual_is_rounding());
    const auto dz = [&](int i) { return at_dense ? read<T>(stages_.dense_z + i) : zero; };
    double *predictor = row_;
    team.for_each(ldd, [&](int i) {
      auto good = zero < zero;
      write(predictor + i, factors.predictor * state.mirror.evaluate(i, dz(i), good).beta);
    });
    state.residual_of(predictor, image_);
    const double loss_here = team.dot(image_, image_, length);
    const long long at = static_cast<long long>(row) * d;
    team.each(d, [&](int i) { out.beta[at + i] = predictor[i]; });
    if (average_.wanted)
      average_.write_row(team, predictor, d, t, out.beta_mean + at);
    state.write_weights(out, row, at_dense ? stages_.dense_z : nullptr, left, row_);
    team.for_each(length, [&](int i) {
      const T residual = read<T>(image_ + i);
      write(image_ + i, read<T>(state.nu + i) + gain * residual +
                            (at_dense ? nu_unit * read<T>(dense + i) : zero));
    });
    state.basis.to_original(image_);
    team.each(n, [&](int i) { out.nu[static_cast<long long>(row) * n + i] = image_[i]; });
    team.once([&] { out.loss[row] = loss_here, out.t[row] = t; });
  }

  BetaAverage<TeamT> average_;
  ScaledGram<TeamT> scaled_gram_;
  ShiftedSolver<TeamT> solver_;
  Stages stages_;
  double *scratch_;
  double *row_;                 // of results, 2 ldd
  double *power_, *image_;      // of the power method
  double h_ = 0, end_time_ = 0; // of the step, and when the last one ended
  double rtol_ = 0;
  const DiagonalProblem *problem_ = nullptr;
};

KRF_END_NAMESPACE
