// The mirror of depths 2 < D < 3, in variables that tend to those of depth 2 as D does.
//
// With e = D - 2, u = w^-e is linear in z, u_plus = u_plus0 - 2 D e z, as in DeepMirror; but w is
// u^(-1/e), which multiplies a rounding of u by 1 / e.  So the logarithm of every weight is kept,
//
//     log w_plus(z + dz) = log w_plus(z) - log(1 - 2 D e dz / u_plus) / e,
//
// whose change tends to 4 dz, and with it the difference of the two logarithms, which near the
// kernel regime is far smaller than they are.
#pragma once

#include "mirror.hpp"

KRF_BEGIN_NAMESPACE

struct LogMirror {
  double depth, excess, speed;
  double *log_plus;
  double *log_minus;
  double *log_ratio; // log_plus - log_minus, accumulated
  double *u_plus;    // exp(-excess log_plus)
  double *u_minus;
  double *u_awake; // as DeepMirror's, like u_rounded
  double *u_rounded;
  double rounding = 0; // of u, in units of the tolerance

  static constexpr int kArrays = 7;
  // A prediction holds while log w grows by this, at depth 2 and at 3.
  static constexpr double kGrowthOfLog = 2.0, kHalf = 0.6931471805599453;
  static constexpr double kLogLargestU = 207.0; // of DeepMirror's
  static constexpr double kSteepest = 18.4;     // of e log w: u loses eight digits
  // Of a Newton step: log w at depth 2, and what is added to it by depth 3.
  static constexpr double kDamped = 1.0, kDampedDeeper = 1.3;

  KRF_HD LogMirror(double D, double *storage, int ld)
      : depth(D), excess(D - 2.0), speed(2.0 * D * (D - 2.0)), log_plus(storage),
        log_minus(storage + ld), log_ratio(storage + 2 * ld), u_plus(storage + 3 * ld),
        u_minus(storage + 4 * ld), u_awake(storage + 5 * ld), u_rounded(storage + 6 * ld) {}

  KRF_HD void set_accuracy(double rtol) { rounding = 50.0 * kEpsilon / rtol; }
  KRF_HD void start(int i, double w_plus0, double w_minus0, double largest_beta) {
    log_plus[i] = logarithm(w_plus0);
    log_minus[i] = w_minus0 > 0 ? logarithm(w_minus0) : -kLogLargestU / excess;
    log_ratio[i] = log_plus[i] - log_minus[i];
    u_plus[i] = exponential(-excess * log_plus[i]);
    u_minus[i] = exponential(-excess * log_minus[i]);
    u_rounded[i] = w_minus0 > 0 ? kInfinity : 2.0 * u_plus[i];
    u_awake[i] = largest_beta < kInfinity
                     ? DeepMirror::kSlack * exponential(logarithm(largest_beta) * (-excess / depth))
                     : 0.0;
  }

  // By how much the logarithms fall, and the factors of u.
  template <class T> struct Fall {
    T plus, minus, of_u_plus, of_u_minus;
  };
  template <class T> KRF_HD Fall<T> fall(int i, T dz) const {
    const T shift = speed * dz;
    const T down = (0.0 - shift) / read<T>(u_plus + i), up = shift / read<T>(u_minus + i);
    return {log1p_over_excess(down), log1p_over_excess(up), 1.0 + down, 1.0 + up};
  }
  template <class T> KRF_HD T log1p_over_excess(T x) const {
    const T quarter = splat<T>(0.25);
    const T small = log1p_small(greater_of(lesser_of(x, quarter), 0.0 - quarter));
    if (all<T>(absolute(x) < 0.25))
      return small / excess;
    return select(absolute(x) < 0.25, small, logarithm(1.0 + x)) / excess;
  }

  template <class T, class M> KRF_HD MirrorValue<T> evaluate(int i, T dz, M &good) const {
    const Fall<T> f = fall(i, dz);
    const T least_factor = lesser_of(f.of_u_plus, f.of_u_minus);
    const T plus = exponential(depth * (read<T>(log_plus + i) - f.plus));
    const T minus = exponential(depth * (read<T>(log_minus + i) - f.minus));
    const T apart = depth * (read<T>(log_ratio + i) - (f.plus - f.minus));
    const T near = splat<T>(0.36);
    const T small = minus * expm1_small(greater_of(lesser_of(apart, near), 0.0 - near));
    const T beta = select(absolute(apart) < 0.36, small, plus - minus);
    const T up = read<T>(u_plus + i) * f.of_u_plus, um = read<T>(u_minus + i) * f.of_u_minus;
    const T slope = (2.0 * depth * depth) * (plus / up + minus / um);
    good = (least_factor > 0.0) & (slope < 1e300);
    const T least = greater_of(lesser_of(lesser_of(up, um), read<T>(u_awake + i)),
                               rounding * lesser_of(greater_of(up, um), read<T>(u_rounded + i)));
    return {beta, slope, (2.0 * depth * depth) / least};
  }

  template <class T> KRF_HD void advance(int i, T dz) const {
    const Fall<T> f = fall(i, dz);
    write(log_ratio + i, read<T>(log_ratio + i) - (f.plus - f.minus));
    const T plus = read<T>(log_plus + i) - f.plus, minus = read<T>(log_minus + i) - f.minus;
    write(log_plus + i, plus);
    write(log_minus + i, minus);
    write(u_plus + i, exponential(-excess * plus));
    write(u_minus + i, exponential(-excess * minus));
  }

  template <class T> KRF_HD void weights(int i, T dz, T &w_plus, T &w_minus) const {
    const Fall<T> f = fall(i, dz);
    w_plus = exponential(read<T>(log_plus + i) - f.plus);
    w_minus = exponential(read<T>(log_minus + i) - f.minus);
  }
  template <class T> KRF_HD void log_weights(int i, T &plus, T &minus) const {
    plus = read<T>(log_plus + i);
    minus = read<T>(log_minus + i);
  }

  // How long the logarithm of a weight that grows takes, at the velocity of z, to grow by `growth`.
  template <class T> KRF_HD T time_of_growth(int i, T velocity, T growth) const {
    const T u = select(velocity > 0.0, read<T>(u_plus + i), read<T>(u_minus + i));
    return (0.0 - expm1((-excess) * growth)) * u / (speed * absolute(velocity));
  }
  template <class T> KRF_HD T step_cap(int i, T velocity, T log_felt) const {
    const double base = smaller(kGrowthOfLog, kHalf / excess);
    const T growing = select(velocity > 0.0, read<T>(log_plus + i), read<T>(log_minus + i));
    const T ahead = log_felt / depth - growing;
    const T growth = lesser_of(greater_of(splat<T>(base), ahead), splat<T>(kSteepest / excess));
    return time_of_growth(i, velocity, growth);
  }
  template <class T> KRF_HD T damping(int i, T dz) const {
    return time_of_growth(i, dz, splat<T>(kDamped + kDampedDeeper * excess));
  }

  // Both u scale with w^(2-D); z, in units of u, stays where it is.
  KRF_HD void rescale(int i, double log_factor, double, double) {
    log_plus[i] += log_factor;
    log_minus[i] += log_factor;
    u_plus[i] = exponential(-excess * log_plus[i]);
    u_minus[i] = exponential(-excess * log_minus[i]);
  }
  KRF_HD double dual_scale(double log_factor, double) const {
    return exponential(-excess * log_factor);
  }
  KRF_HD void shrink(int i, double log_factor) {
    const double least = -kLogLargestU / excess;
    const double plus = log_plus[i] + log_factor, minus = log_minus[i] + log_factor;
    log_plus[i] = larger(smaller(least, log_plus[i]), plus);
    log_minus[i] = larger(smaller(least, log_minus[i]), minus);
    if (log_plus[i] > plus || log_minus[i] > minus)
      log_ratio[i] = log_plus[i] - log_minus[i];
    u_plus[i] = exponential(-excess * log_plus[i]);
    u_minus[i] = exponential(-excess * log_minus[i]);
    u_rounded[i] = 2.0 * smaller(u_plus[i], u_minus[i]);
  }
  KRF_HD double restore(int i, double beta, double &slope) const {
    const bool positive = beta > 0;
    const double size = positive ? beta : -beta;
    const double from = positive ? log_plus[i] : log_minus[i];
    const double growth = larger(0.0, logarithm(size) / depth - from);
    const double u = exponential(-excess * (from + growth));
    slope = 2.0 * depth * depth * size / u;
    return time_of_growth(i, positive ? 1.0 : -1.0, growth) * (positive ? 1.0 : -1.0);
  }
};

KRF_END_NAMESPACE
