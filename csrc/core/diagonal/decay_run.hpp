// Weight decay along a run: its factors at the stages of a step, and the state after a step.
// Without decay all factors are 1.  A network without w_minus ends by its own rule, which also
// stands here.
#pragma once

#include "../ode/radau5.hpp"
#include "weight_decay.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class DecayRun {
public:
  WeightDecay decay;
  DecayStep step;
  DecayFactors of_stage[3], now; // at Radau's stages, and at the fraction that is set
  double nu_scale = 1;           // of nu over what a step adds to it

  KRF_HD DecayRun(const DiagonalProblem &p, int length, int ldd, Arena &arena)
      : decay(p.decay, p.depth), depth_(p.depth), length_(length), shift_(arena.take(3LL * length)),
        watch_(ldd, arena) {}

  KRF_HD bool exists() const { return decay.exists(); }
  KRF_HD double rate() const { return 2.0 * depth_ * decay.at(0.0); }

  template <class StateT> KRF_HD void start(StateT &s, const DiagonalProblem &p) {
    using T = typename TeamT::Value;
    T absent = splat<T>(0.0);
    s.team.for_each(s.ldd, [&](int i) {
      const auto has_minus = read<T>(p.w_minus0 + i) > 0.0;
      absent = select(has_minus, absent, splat<T>(1.0));
      write(watch_.has_minus + i, select(has_minus, splat<T>(1.0), splat<T>(0.0)));
    });
    of_one_sign_ = s.team.max(absent) > 0.0;
    regime_ = decay.regime(0.0);
    if (exists() || of_one_sign_)
      watch_.start(s);
  }
  KRF_HD void begin_step(double t, double h) {
    step = decay.step(t, h);
    if (!exists())
      return;
    for (int j = 0; j < 3; ++j)
      of_stage[j] = decay.factors(step, radau5::c(j));
  }
  KRF_HD void set_fraction(double x) { now = decay.factors(step, x); }

  // A shift of nu, of `count` vectors, out of the units of the step.
  KRF_HD const double *in_units(TeamT &team, const double *shift, int count) {
    if (!(step.unit < 1.0))
      return shift;
    copy(team, shift, shift_, count * length_);
    scale(team, step.unit, shift_, count * length_);
    return shift_;
  }
  // Predictions of the mirror become nu'.
  template <class StateT> KRF_HD void to_field(StateT &s, double *f, const DecayFactors &at) {
    if (!exists())
      return s.to_residual(f);
    scale(s.team, at.predictor, f, length_);
    s.to_residual(f);
    scale(s.team, at.field, f, length_);
  }

  // From the start of a step to its end, where the weights are those that decay has left.
  template <class StateT> KRF_HD KRF_APART void shrink(StateT &s, double *field) {
    const DecayFactors end = of_stage[2];
    field_after_ = end.field;
    nu_scale /= decay.growth_of_unit(step);
    s.shrink(end.log_weight);
    moved_ = watch_.looks(s, -0.5 * end.log_weight);
    scale(s.team, 1.0 / end.field, field, length_);
    scale(s.team, 1.0 / end.field, s.velocity, s.ldd);
  }
  // Three vectors of the last step, in units of nu as the next one has them.
  KRF_HD void renew_units(TeamT &team, double *history) {
    if (history && field_after_ != 1.0)
      scale(team, 1.0 / field_after_, history, 3 * length_);
  }

  // Whether the flow of L + lambda |w|^2 rests, where the loss is `loss` and predictions are small
  // against `scale`.
  template <class StateT>
  KRF_HD bool rests(StateT &s, const Progress &now, double scale, double loss) {
    const bool looked = moved_;
    moved_ = false;
    return !is_new_regime(s, now.t) && looked && decay.is_constant(now.t) &&
           watch_.last.is_rest(watch_.before, decay.at(now.t), nothing(scale, now), loss, now.rtol,
                               watch_.leniency());
  }

  // Whether a network without w_minus rests, whose nu need not; looked at as time doubles.  Its
  // velocity is X' field, which rounding moves by `noise` for a feature of norm one.
  template <class StateT>
  KRF_HD bool rests_with_one_sign(StateT &s, const Progress &now, double scale, const double *field,
                                  double noise) {
    if (!of_one_sign_ || is_new_regime(s, now.t) || !(now.t >= 2.0 * looked_at_))
      return false;
    looked_at_ = now.t;
    watch_.look(s);
    return watch_.last.is_rest_of_one_sign(watch_.conditions(s, field, noise), nothing(scale, now),
                                           now.rtol);
  }
  // What nu gains of a residual that rests from the last step on, up to t.  Without decay, a
  // residual that is only rounding adds nothing.
  KRF_HD double gain_at_rest(double t, bool is_rounding) const {
    const double end = step.t + step.h, since = t - end;
    const bool over = decay.is_over(end);
    if (!(since > 0) || (over ? is_rounding : !decay.is_constant(end)))
      return 0.0;
    const double slowing = over ? 0.0 : 2.0 * (depth_ - 2.0) * decay.at(end);
    return nu_scale * (slowing > 0 ? -std::expm1(-slowing * since) / slowing : since);
  }

private:
  // Whether decay has changed since the step before: what moved under another one tells nothing of
  // rest under this one, so the watch starts anew.
  template <class StateT> KRF_HD bool is_new_regime(StateT &s, double t) {
    const int regime = decay.regime(t);
    if (regime == regime_)
      return false;
    regime_ = regime;
    looked_at_ = t;
    watch_.start(s);
    return true;
  }
  // What predictions are small against: nothing where each of the times wants a predictor that dies
  // away to its own accuracy.
  KRF_HD static double nothing(double scale, const Progress &now) {
    return now.timed ? 0.0 : scale;
  }

  double depth_;
  int length_;
  double *shift_; // of nu, three vectors
  DecayWatch<TeamT> watch_;
  bool moved_ = false; // the watch has looked
  bool of_one_sign_ = false;
  int regime_ = 0;         // of decay, after the last step
  double looked_at_ = 0;   // with one sign
  double field_after_ = 1; // what decay made of the field over the last step
};

KRF_END_NAMESPACE
