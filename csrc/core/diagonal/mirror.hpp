// Mirror maps: the coordinate-wise functions z_i -> weights, predictor and slope.
//
// A mirror keeps the position of every coordinate in variables that hold each weight to its own
// relative accuracy, and evaluates at position + dz, so no step subtracts two large numbers.
// All functions are elementwise in a value type T (a double, or a register of doubles).
#pragma once

#include "../base/elementary.hpp"

KRF_BEGIN_NAMESPACE

// A predicted step may multiply a squared weight by e^4, or halve u = w^(2-D), unless the
// coordinate stays too small for the residual to feel it.
inline constexpr double kGrowth = 4.0;
inline constexpr double kShrink = 0.5;
// The residual feels a coordinate whose predictor exceeds this fraction of it.
inline constexpr double kFelt = 1e-4;
// u may lose eight digits in one step; below that the rounding of z decides where it lands.
inline constexpr double kSmallestShrink = 1e-8;

template <class T> struct MirrorValue {
  T beta;
  T slope; // d beta / d z > 0
  // slope over what an error of beta is relative to, for the weights to keep their own accuracy: a
  // move of z by dz changes them by |dz| relative_slope
  T relative_slope;
};

// start(i, w_plus0, w_minus0, largest_beta)  the position of coordinate i at t = 0
// evaluate(i, dz, good)   at position + dz; `good` is false where a weight leaves its domain
// advance(i, dz)          the position moves by dz
// weights(i, dz, w_plus, w_minus)
// log_weights(i, log_plus, log_minus)  where they are, finite below the smallest double too; that
//                         of a weight that is absent is constant
// step_cap(i, velocity, log_felt), damping(i, dz)  the longest step at constant velocity, and the
//                         longest multiple of dz, over which the coordinate is predictable
// rescale, dual_scale, restore  for limits: continuation in the scale of the start
// shrink(i, log_factor)   both weights, where they are, by e^log_factor
// set_accuracy(rtol), kArrays (arrays of storage)
template <class M>
concept Mirror = requires(M m, int i, double x, double &out, double *storage, bool &good) {
  M(x, storage, i);
  { M::kArrays };
  m.set_accuracy(x);
  m.start(i, x, x, x);
  { m.evaluate(i, x, good).slope };
  m.advance(i, x);
  m.weights(i, x, out, out);
  m.log_weights(i, out, out);
  { m.step_cap(i, x, x) };
  { m.damping(i, x) };
  m.rescale(i, x, x, x);
  { m.dual_scale(x, x) };
  m.shrink(i, x);
  { m.restore(i, x, out) };
};

// Depth 2: theta = 8 z + phi, beta = kappa sinh(theta), with log(kappa / 2) kept instead of kappa
// so that alpha = 1e-150 is an ordinary number.
struct Depth2Mirror {
  double *theta;
  double *log_half_kappa;
  double *half_kappa; // its exponential, zero where that underflows; negative without w_minus

  // Above this kappa / 2 is a normal number, whatever it is multiplied with.
  static constexpr double kOrdinary = 1e-290;
  static constexpr int kArrays = 3;
  KRF_HD explicit Depth2Mirror(double, double *storage, int ld)
      : theta(storage), log_half_kappa(storage + ld), half_kappa(storage + 2 * ld) {}

  KRF_HD static void set_accuracy(double) {}
  KRF_HD void start(int i, double w_plus0, double w_minus0, double) {
    const double log_plus = logarithm(w_plus0), log_minus = logarithm(w_minus0);
    if (w_minus0 == 0.0) { // and stays so: beta = exp(log_half_kappa + theta)
      theta[i] = 2.0 * log_plus;
      log_half_kappa[i] = 0.0;
      half_kappa[i] = -1.0;
      return;
    }
    theta[i] = log_plus - log_minus;
    log_half_kappa[i] = log_plus + log_minus;
    half_kappa[i] = exponential(log_half_kappa[i]);
  }

  // False in `good` where a weight leaves the floating-point range.
  template <class T, class M> KRF_HD MirrorValue<T> evaluate(int i, T dz, M &good) const {
    const T position = read<T>(theta + i) + 8.0 * dz;
    const T half = read<T>(half_kappa + i);
    T plus, minus;
    if (all<T>((half > kOrdinary) & (absolute(position) < 700.0))) {
      const T growth = exponential(position);
      plus = half * growth;
      minus = half / growth;
    } else {
      const T level = read<T>(log_half_kappa + i);
      plus = exponential(level + position);
      minus = select(half < 0.0, splat<T>(0.0), exponential(level - position));
    }
    const T one = splat<T>(1.0);
    const T sum = plus + minus;
    good = sum < 1e300;
    T beta = plus - minus;
    if (!all<T>(absolute(position) >= 1.0)) { // where the difference would lose digits
      const T clipped = greater_of(lesser_of(position, one), 0.0 - one);
      const T small = select(half < 0.0, plus, 2.0 * half * sinh_small(clipped));
      beta = select(absolute(position) < 1.0, small, beta);
    }
    return {beta, 8.0 * sum, splat<T>(8.0)};
  }

  template <class T> KRF_HD void advance(int i, T dz) const {
    write(theta + i, read<T>(theta + i) + 8.0 * dz);
  }

  template <class T> KRF_HD void weights(int i, T dz, T &w_plus, T &w_minus) const {
    const T position = read<T>(theta + i) + 8.0 * dz;
    const T level = read<T>(log_half_kappa + i);
    w_plus = exponential(0.5 * (level + position));
    w_minus =
        select(read<T>(half_kappa + i) < 0.0, splat<T>(0.0), exponential(0.5 * (level - position)));
  }

  template <class T> KRF_HD void log_weights(int i, T &plus, T &minus) const {
    const T position = read<T>(theta + i), level = read<T>(log_half_kappa + i);
    plus = 0.5 * (level + position);
    minus = select(read<T>(half_kappa + i) < 0.0, splat<T>(0.0), 0.5 * (level - position));
  }

  // Longest step at constant velocity that the coordinate can be predicted over.
  template <class T> KRF_HD T step_cap(int i, T velocity, T log_felt) const {
    const T rate = 8.0 * absolute(velocity);
    const T position = read<T>(theta + i);
    const T along = select(velocity > 0.0, position, 0.0 - position);
    const T ahead = log_felt - read<T>(log_half_kappa + i) - along;
    const T longest = greater_of(splat<T>(kGrowth), ahead) / rate;
    const auto absent = (velocity < 0.0) & (read<T>(half_kappa + i) < 0.0);
    return select(absent, splat<T>(kInfinity), longest);
  }

  // Longest multiple of dz a Newton step may take.
  template <class T> KRF_HD T damping(int, T dz) const { return 2.0 / (8.0 * absolute(dz)); }

  // Multiply both initial weights by e^log_factor, keeping z; `stretch` first scales z.
  KRF_HD void rescale(int i, double log_factor, double stretch, double phi) {
    log_half_kappa[i] += 2.0 * log_factor;
    half_kappa[i] = exponential(log_half_kappa[i]);
    theta[i] = phi + stretch * (theta[i] - phi);
  }
  KRF_HD double dual_scale(double, double stretch) const { return stretch; }
  KRF_HD void shrink(int i, double log_factor) {
    log_half_kappa[i] += 2.0 * log_factor;
    if (half_kappa[i] >= 0.0)
      half_kappa[i] = exponential(log_half_kappa[i]);
  }
  // The move of z that would restore beta after a rescaling, and the slope there.
  KRF_HD double restore(int i, double beta, double &slope) const {
    const double size = beta < 0 ? -beta : beta;
    const double level = log_half_kappa[i];
    const double ratio = exponential(-level) * 0.5; // 1 / kappa, infinite only below 1e-308
    const double log_term =
        size * ratio < 1e100 ? std::asinh(size * ratio) : logarithm(size) - level;
    const double target = beta < 0 ? -log_term : log_term;
    slope = 8.0 * std::hypot(beta, 2.0 * half_kappa[i]);
    return (target - theta[i]) / 8.0;
  }
};

// Depth D >= 3, a real number: u = w^(2-D) is linear in z and beta = u_plus^-p - u_minus^-p, p = D
// / (D - 2).
//
// An error of u stays what it is while u falls by orders of magnitude, and then decides when the
// coordinate wakes: it is measured by the smallest u that the coordinate can come to.
struct DeepMirror {
  double depth, speed, power;
  double *u_plus;
  double *u_minus;
  double
      *u_gap; // u_plus - u_minus, accumulated: near the kernel regime the two agree to many digits
  double *u_awake;     // at the largest beta that the targets ask for
  double *u_rounded;   // bound on the u whose rounding the smaller one carries
  double rounding = 0; // of u, in units of the tolerance

  static constexpr int kArrays = 5;
  // Few coordinates come to that beta: without slack errors stay below rtol where 10 are allowed.
  static constexpr double kSlack = 3.0;
  // Weights that decay stop where u comes to this, and a w_minus of zero is there: nothing feels
  // them, and u^3 is a number.
  static constexpr double kLargestU = 1e90;
  KRF_HD DeepMirror(double D, double *storage, int ld)
      : depth(D), speed(2.0 * D * (D - 2.0)), power(D / (D - 2.0)), u_plus(storage),
        u_minus(storage + ld), u_gap(storage + 2 * ld), u_awake(storage + 3 * ld),
        u_rounded(storage + 4 * ld) {}

  KRF_HD void set_accuracy(double rtol) { rounding = 50.0 * kEpsilon / rtol; }
  KRF_HD void start(int i, double w_plus0, double w_minus0, double largest_beta) {
    u_plus[i] = exponential((2.0 - depth) * logarithm(w_plus0));
    u_minus[i] = w_minus0 > 0 ? exponential((2.0 - depth) * logarithm(w_minus0)) : kLargestU;
    u_gap[i] = u_plus[i] - u_minus[i];
    u_rounded[i] = w_minus0 > 0 ? kInfinity : 2.0 * u_plus[i];
    u_awake[i] =
        largest_beta < kInfinity ? kSlack * exponential(logarithm(largest_beta) / -power) : 0.0;
  }

  template <class T, class M> KRF_HD MirrorValue<T> evaluate(int i, T dz, M &good) const {
    const T shift = speed * dz;
    const T up = read<T>(u_plus + i) - shift, um = read<T>(u_minus + i) + shift;
    T plus, minus, beta;
    if (depth == 3.0 || depth == 4.0) {
      // Integral p: factor the difference of powers, which leaves nothing to cancel.
      const T inverse_p = 1.0 / up, inverse_m = 1.0 / um;
      const T gap = load_gap(i, shift);
      const bool three = depth == 3.0;
      plus = inverse_p * inverse_p * (three ? inverse_p : splat<T>(1.0));
      minus = inverse_m * inverse_m * (three ? inverse_m : splat<T>(1.0));
      beta = 0.0 - gap * minus * (three ? up * (up + um) + um * um : up + um) * plus;
    } else {
      plus = exponential(-power * logarithm(up));
      minus = exponential(-power * logarithm(um));
      const T ratio = load_gap(i, shift) / um, quarter = splat<T>(0.25);
      const T clipped = greater_of(lesser_of(ratio, quarter), 0.0 - quarter);
      const T small = minus * expm1(-power * log1p_small(clipped));
      beta = select(absolute(ratio) < 0.25, small, plus - minus);
    }
    const T rate = plus / up + minus / um, slope = 2.0 * depth * depth * rate;
    good = (lesser_of(up, um) > 0.0) & (slope < 1e300);
    const T least = greater_of(lesser_of(lesser_of(up, um), read<T>(u_awake + i)),
                               rounding * lesser_of(greater_of(up, um), read<T>(u_rounded + i)));
    return {beta, slope, (2.0 * depth * depth) / least};
  }

  template <class T> KRF_HD T load_gap(int i, T shift) const {
    return read<T>(u_gap + i) - 2.0 * shift;
  }

  template <class T> KRF_HD void advance(int i, T dz) const {
    const T shift = speed * dz;
    write(u_plus + i, read<T>(u_plus + i) - shift);
    write(u_minus + i, read<T>(u_minus + i) + shift);
    write(u_gap + i, read<T>(u_gap + i) - 2.0 * shift);
  }

  template <class T> KRF_HD void weights(int i, T dz, T &w_plus, T &w_minus) const {
    const T shift = speed * dz;
    const double root = -1.0 / (depth - 2.0);
    w_plus = exponential(root * logarithm(read<T>(u_plus + i) - shift));
    w_minus = exponential(root * logarithm(read<T>(u_minus + i) + shift));
  }

  template <class T> KRF_HD void log_weights(int i, T &plus, T &minus) const {
    const double root = -1.0 / (depth - 2.0);
    plus = root * logarithm(read<T>(u_plus + i));
    minus = root * logarithm(read<T>(u_minus + i));
  }

  template <class T> KRF_HD T step_cap(int i, T velocity, T log_felt) const {
    const T shrinking = select(velocity > 0.0, read<T>(u_plus + i), read<T>(u_minus + i));
    const T felt = greater_of(exponential((-1.0 / power) * log_felt), kSmallestShrink * shrinking);
    const T room = greater_of(kShrink * shrinking, shrinking - felt);
    return room / (speed * absolute(velocity));
  }

  template <class T> KRF_HD T damping(int i, T dz) const {
    const T shrinking = select(dz > 0.0, read<T>(u_plus + i), read<T>(u_minus + i));
    return 0.9 * shrinking / (speed * absolute(dz));
  }

  // Both u scale with w^(2-D); z, in units of u, stays where it is.
  KRF_HD void rescale(int i, double log_factor, double, double) {
    const double scale = exponential((2.0 - depth) * log_factor);
    u_plus[i] *= scale;
    u_minus[i] *= scale;
    u_gap[i] *= scale;
  }
  KRF_HD double dual_scale(double log_factor, double) const {
    return exponential((2.0 - depth) * log_factor);
  }
  KRF_HD void shrink(int i, double log_factor) {
    const double most_plus = larger(u_plus[i], kLargestU);
    const double most_minus = larger(u_minus[i], kLargestU);
    rescale(i, log_factor, 1.0, 0.0);
    u_rounded[i] = 2.0 * smaller(u_plus[i], u_minus[i]);
    if (u_plus[i] > most_plus || u_minus[i] > most_minus) {
      u_plus[i] = smaller(u_plus[i], most_plus);
      u_minus[i] = smaller(u_minus[i], most_minus);
      u_gap[i] = u_plus[i] - u_minus[i];
    }
  }
  KRF_HD double restore(int i, double beta, double &slope) const {
    const bool positive = beta > 0;
    const double size = positive ? beta : -beta;
    const double from = positive ? u_plus[i] : u_minus[i];
    const double u = smaller(from, exponential(logarithm(size) / -power));
    slope = 2.0 * depth * depth * size / u;
    return (positive ? 1.0 : -1.0) * (from - u) / speed;
  }
};

KRF_END_NAMESPACE
