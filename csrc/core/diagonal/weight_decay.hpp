// Weight decay lambda(t) |w|^2 of diagonal networks: w' = -grad L - 2 lambda w.
//
// With Lambda the integral of lambda since a time t0, every weight is
//
//     w(t) = exp(-2 Lambda) W(z),   z = X' nu,   nu' = exp(-2 (D - 2) Lambda) (y - X beta),
//
// W the mirror of the flow without decay from w(t0): at depth 2 the scale of the start decays, and
// at D > 2, where u = w^(2-D) is linear in z, u grows and takes less of the residual.  t0 is the
// start of a step, so that no factor is far from one; after it the mirror itself is scaled.
//
// Where predictor and residual rest, nu still moves, at D > 2 as fast as exp(-2 (D - 2) Lambda)
// says.  A step that is linear in nu costs nothing; so methods step in a time s of their own, with
// ds = exp(-2 (D - 2) lambda (t - t0)) dt / unit, lambda as it is at t0, from 0 to the length of
// the step as t goes over it, and in nu over `unit`.
#pragma once

#include "../ode/radau5.hpp"
#include "../team.hpp"
#include "problem.hpp"

KRF_BEGIN_NAMESPACE

namespace decay_rules {
// A step ends before Lambda grows by this over the depth.
inline constexpr double kLongest = 2.0;
// Growth of Lambda between two looks at what has moved, and as a part of all of it: a motion that
// fades slowly shows above the rounding of what Newton's iteration leaves only over a long time.
inline constexpr double kWatch = 2.0, kWatchShare = 0.2;
// Parts of rtol that a predictor at rest may be seen to move by, after many looks.
inline constexpr double kMostLenient = 10.0;
// Of the logarithm of a weight, while time doubles, of one that falls for ever.
inline constexpr double kFalls = 0.01;
// Where the pull on a weight without decay is more than this part of what the field could pull, or
// more than the square of rtol, the weight grows, however slowly.  The square, because the pull is
// how the loss falls with beta, and the loss is as small as the square of an error of predictions.
inline constexpr double kStillPulled = 1e-9;
// Errors of steps count so many times: between coordinates that nearly tie nothing takes them back.
inline constexpr double kCautious = 4.0;
// Decay of which less than this is left is over.
inline constexpr double kOver = 1e-14;
} // namespace decay_rules

// What Lambda makes of predictions, of the field of nu, and of its derivative.
struct DecayFactors {
  double log_weight = 0; // -2 Lambda
  double predictor = 1, field = 1, kernel = 1;
};

// A step from t to t + h: `unit` of nu, and the rate at which its time is slower than t.
struct DecayStep {
  double t = 0, h = 0, slowing = 0, unit = 1;
  // From a fraction of t to that of the methods' time, and back.
  KRF_HD double to_own(double x) const {
    return slowing > 0 ? std::expm1(-slowing * x * h) / std::expm1(-slowing * h) : x;
  }
  KRF_HD double from_own(double x) const {
    return slowing > 0 ? -std::log1p(x * std::expm1(-slowing * h)) / (slowing * h) : x;
  }
};

class WeightDecay {
public:
  KRF_HD WeightDecay(const DecaySchedule &schedule, double depth)
      : schedule_(schedule), depth_(depth) {}

  KRF_HD bool exists() const { return schedule_.pieces > 0; }
  KRF_HD double next_break(double t) const {
    const int next = piece(t) + 1;
    return next < schedule_.pieces ? schedule_.start[next] : kInfinity;
  }
  KRF_HD double at(double t) const {
    if (!exists())
      return 0.0;
    const int k = piece(t);
    return schedule_.lambda[k] * std::exp(-schedule_.rate[k] * (t - schedule_.start[k]));
  }
  // Of lambda from t to t + h, which lie in one piece.
  KRF_HD double integral(double t, double h) const {
    if (!exists())
      return 0.0;
    const double rate = schedule_.rate[piece(t)];
    return at(t) * (rate > 0 ? -std::expm1(-rate * h) / rate : h);
  }
  KRF_HD double longest_step(double t) const {
    const double now = at(t);
    return now > 0 ? decay_rules::kLongest / (depth_ * now) : kInfinity;
  }
  // Whether nothing of it is left, and none will come.
  KRF_HD bool is_over(double t) const {
    if (!exists())
      return true;
    const int k = piece(t);
    if (k + 1 < schedule_.pieces)
      return false;
    const double now = at(t);
    return !(now > 0) || (schedule_.rate[k] > 0 && now < decay_rules::kOver * schedule_.rate[k]);
  }
  // A number that changes where another piece begins, or decay is over.
  KRF_HD int regime(double t) const { return exists() ? 2 * piece(t) + is_over(t) : 0; }
  // Whether it stays as it is.
  KRF_HD bool is_constant(double t) const {
    const int k = piece(t);
    return exists() && k + 1 == schedule_.pieces && !(schedule_.rate[k] > 0);
  }
  KRF_HD DecayStep step(double t, double h) const {
    DecayStep step{t, h, 2.0 * (depth_ - 2.0) * at(t), 1.0};
    if (step.slowing > 0)
      step.unit = -std::expm1(-step.slowing * h) / (step.slowing * h);
    return step;
  }
  // At a fraction of the methods' time.
  KRF_HD DecayFactors factors(const DecayStep &step, double own) const {
    DecayFactors f;
    if (!exists())
      return f;
    const double since = own == 1.0 ? step.h : step.from_own(own) * step.h;
    const double grown = integral(step.t, since);
    f.log_weight = -2.0 * grown;
    f.predictor = std::exp(depth_ * f.log_weight);
    f.field = std::exp(step.slowing * since - 2.0 * (depth_ - 2.0) * grown);
    f.kernel = step.unit * f.predictor * f.field;
    return f;
  }
  // By what nu, in units of the present step, is divided from here on.
  KRF_HD double growth_of_unit(const DecayStep &step) const {
    return std::exp(2.0 * (depth_ - 2.0) * integral(step.t, step.h));
  }

private:
  KRF_HD int piece(double t) const {
    int k = 0; // it starts at or before t, or is the first
    for (int beyond = schedule_.pieces; beyond - k > 1;) {
      const int middle = k + (beyond - k) / 2;
      (t >= schedule_.start[middle] ? k : beyond) = middle;
    }
    return k;
  }

  DecaySchedule schedule_;
  double depth_;
};

// The conditions of Karush, Kuhn and Tucker at the end of a flow without decay: nothing pulls at a
// weight so that it grows, and those that are pulled down are nearly zero.  A weight that moves
// slowly beside others that have come to rest is seen by them alone.
struct EndConditions {
  double grows = kInfinity; // the largest pull that makes a weight grow, over the feature's norm
  double falls = kInfinity; // what features that are pulled down still add to the loss
  double field = 0;         // norm of the field, of which X' is the pull
  double noise = 0;         // rounding of `grows`

  KRF_HD bool hold(double size, double tolerance) const {
    const double pulled = smaller(decay_rules::kStillPulled, tolerance * tolerance) * field;
    return grows <= larger(noise, pulled) && falls <= tolerance * size * field;
  }
};

// How far weights and predictor moved while Lambda grew by kWatch or more.  Over less, the rounding
// of what Newton's iteration leaves would look like a motion.
struct DecayMotion {
  double lambda_h = 0;                      // growth of Lambda
  double growth = kInfinity;                // the largest, of the logarithm of a weight
  double descent = 0;                       // its largest fall
  double change = kInfinity, predictor = 0; // norms, of the change of |x_i| beta_i and of itself
  double fall = 0, penalty = 0;             // the change of |w|^2, and itself

  // Whether the predictor of a network without w_minus has come to rest, over a time that doubles:
  // where no beta >= 0 fits, some weight falls for ever, and none grows.
  KRF_HD bool is_rest_of_one_sign(const EndConditions &end, double y_norm, double tolerance) const {
    const double size = predictor + tolerance * y_norm;
    return growth <= tolerance && descent > decay_rules::kFalls && change <= tolerance * size &&
           end.hold(size, tolerance);
  }
  // Whether predictor and |w|^2 have come to rest under constant decay, and no small weight grows.
  // What is left of a motion that fades at a rate of its own is as much longer as that is slower
  // than decay; one that does not fade is rounding that the solver lets pass, `lenient` as large.
  KRF_HD bool is_rest(const DecayMotion &before, double lambda, double y_norm, double loss,
                      double tolerance, double lenient) const {
    const double fading = std::log(before.change / change) / lambda_h;
    const double most = tolerance * lambda_h, size = predictor + tolerance * y_norm;
    const bool still =
        fading > 0 ? change <= most * smaller(1.0, fading) * size : change <= lenient * most * size;
    return still && growth <= lenient * most &&
           lambda * fall <= lenient * most * (lambda * penalty + loss);
  }
};

// Logarithms of the weights, and the predictor, at an earlier time.
template <Team TeamT> struct DecayWatch {
  using T = typename TeamT::Value;

  double *beta, *log_plus, *log_minus;
  double *has_minus;           // one, or zero
  double grown = 0, total = 0; // Lambda since then, and since the start
  DecayMotion last, before;
  int looks_taken = 0;

  KRF_HD DecayWatch(int ldd, Arena &arena)
      : beta(arena.take(ldd)), log_plus(arena.take(ldd)), log_minus(arena.take(ldd)),
        has_minus(arena.take(ldd)) {}

  template <class StateT> KRF_HD void start(StateT &s) {
    grown = total = 0;
    looks_taken = 0;
    last = before = DecayMotion{};
    s.team.for_each(s.ldd, [&](int i) { keep(s, i); });
  }

  KRF_HD double leniency() const {
    return smaller(decay_rules::kMostLenient, 1.0 + 0.1 * looks_taken);
  }

  // After a step over which Lambda grew; whether the motion since the last look is known.
  template <class StateT> KRF_HD bool looks(StateT &s, double growth) {
    grown += growth;
    total += growth;
    if (grown < larger(decay_rules::kWatch, decay_rules::kWatchShare * total))
      return false;
    look(s);
    return true;
  }
  // At the motion since the last look.
  template <class StateT> KRF_HD KRF_APART void look(StateT &s) {
    before = last;
    ++looks_taken;
    last = motion(s);
    last.lambda_h = grown;
    grown = 0;
  }

  // At s.velocity, which is X' field; rounding moves it by `noise` for a feature of norm one.
  template <class StateT>
  KRF_HD KRF_APART EndConditions conditions(StateT &s, const double *field, double noise) {
    const T zero = splat<T>(0.0);
    T grows = zero, falls = zero;
    s.team.for_each(s.ldd, [&](int i) {
      const T length = read<T>(s.feature_norm + i), pull = read<T>(s.velocity + i);
      const auto counts = length > 0.0;
      const T growing = select(read<T>(has_minus + i) > 0.0, absolute(pull), pull);
      grows = greater_of(grows, select(counts, growing / length, zero));
      falls += select(counts, absolute(pull * read<T>(s.here.beta + i)), zero);
    });
    EndConditions end;
    end.grows = s.team.max(grows);
    end.falls = s.team.sum(falls);
    end.field = norm(s.team, field, s.ldn);
    end.noise = noise;
    return end;
  }

private:
  template <class StateT> KRF_HD void keep(StateT &s, int i) {
    T plus, minus;
    s.mirror.log_weights(i, plus, minus);
    write(beta + i, read<T>(s.here.beta + i));
    write(log_plus + i, plus);
    write(log_minus + i, minus);
  }

  template <class StateT> KRF_HD DecayMotion motion(StateT &s) {
    const T zero = splat<T>(0.0);
    T squares[4] = {zero, zero, zero, zero};
    T growth = zero, descent = zero;
    s.team.for_each(s.ldd, [&](int i) {
      const T length = read<T>(s.feature_norm + i);
      const T old_beta = read<T>(beta + i);
      const T up_before = read<T>(log_plus + i), down_before = read<T>(log_minus + i);
      keep(s, i);
      const T up = read<T>(log_plus + i), down = read<T>(log_minus + i);
      const T old_plus = exponential(up_before), old_minus = exponential(down_before);
      const T plus = exponential(up), minus = exponential(down);
      const T moved = (read<T>(beta + i) - old_beta) * length, size = read<T>(beta + i) * length;
      const auto counts = length > 0.0; // padding, and a feature of zeros, only fall
      squares[0] += select(counts, moved * moved, zero);
      squares[1] += select(counts, size * size, zero);
      squares[2] += select(
          counts, (old_plus - plus) * (old_plus + plus) + (old_minus - minus) * (old_minus + minus),
          zero);
      squares[3] += select(counts, plus * plus + minus * minus, zero);
      const T grown_by = greater_of(up - up_before, down - down_before);
      growth = greater_of(growth, select(counts, grown_by, zero));
      descent = greater_of(descent, select(counts, up_before - up, zero));
    });
    DecayMotion m;
    m.growth = s.team.max(growth);
    m.descent = s.team.max(descent);
    m.change = std::sqrt(s.team.sum(squares[0]));
    m.predictor = std::sqrt(s.team.sum(squares[1]));
    m.fall = s.team.sum(squares[2]);
    m.fall = m.fall < 0 ? -m.fall : m.fall;
    m.penalty = s.team.sum(squares[3]);
    return m;
  }
};

KRF_END_NAMESPACE
