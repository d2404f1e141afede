// The space of residuals, in a basis where stiff features occupy leading rows only.
//
// Features with a huge slope are reflected (Householder) into the first rows.  Inner products stay
// as they are; but x_i . nu of such a feature no longer sums large numbers of opposite sign, and
// the scaled Gram matrix is graded: its large block comes first, and its tiny complement is not
// drowned in the rounding of the large one.
#pragma once

#include "../team.hpp"
#include "problem.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> struct ResidualBasis {
  using T = typename TeamT::Value;
  // A feature with less than this part of its squared length left lies in the rows already taken.
  static constexpr double kDependent = 1e-24;
  // The squared length that is left of a feature is summed anew where it is below this part of the
  // whole: subtraction has cost it digits.
  static constexpr double kCancelled = 1e-6;

  TeamT &team;
  int n; // rows: samples, less the null rows that were dropped
  int d, ldn, ldd;
  const double *X;
  const double *feature_norm;
  double *rotated_X, *reflectors, *is_leading;
  int n_reflectors = 0;

  KRF_HD ResidualBasis(TeamT &team_, const DiagonalProblem &p, Arena &arena)
      : team(team_), n(p.n), d(p.d), ldn(padded(p.n)), ldd(padded(p.d)), X(p.X),
        feature_norm(p.feature_norm), rotated_X(arena.take(static_cast<long long>(ldd) * ldn)),
        reflectors(arena.take(static_cast<long long>(ldn) * ldn)), is_leading(arena.take(ldd)) {}

  // The problem's X, in its unit.
  KRF_HD void load(const DiagonalProblem &p) {
    X = p.X;
    if (p.unit == 1.0)
      return;
    copy(team, p.X, rotated_X, ldd * ldn);
    scale(team, p.unit, rotated_X, ldd * ldn);
    X = rotated_X;
  }

  KRF_HD bool is_rotated() const { return n_reflectors > 0; }
  KRF_HD const double *feature(int i) const { return X + static_cast<long long>(i) * ldn; }
  KRF_HD double *reflector(int k) const { return reflectors + static_cast<long long>(k) * ldn; }

  // Reflects features with weight > threshold, largest first, and the vectors y and nu with them;
  // `remaining` (d) is scratch.  Returns whether the basis changed.
  KRF_HD KRF_APART bool rotate_stiff_first(const double *weight, double threshold,
                                           double *remaining, double *y, double *nu) {
    team.each(d, [&](int i) {
      remaining[i] = is_leading[i] == 0.0 && weight[i] > threshold ? length2_below(i) : 0.0;
    });
    bool changed = false;
    while (n_reflectors < n && !team.cancelled()) {
      // Greedy by what is left of each weighted feature below the rows already taken.
      const int best = team.largest(d, [&](int i) {
        const double norm2 = feature_norm[i] * feature_norm[i];
        return remaining[i] > kDependent * norm2 ? share(weight[i], remaining[i], norm2) : 0.0;
      });
      if (best < 0)
        break;
      apply_reflector(best, std::sqrt(length2_below(best)), y, nu);
      changed = true;
      team.each(d, [&](int i) {
        if (i == best) {
          is_leading[i] = 1.0;
          remaining[i] = 0.0;
        }
        if (remaining[i] == 0.0)
          return;
        const double taken = feature(i)[n_reflectors - 1];
        remaining[i] -= taken * taken;
        if (remaining[i] < kCancelled * feature_norm[i] * feature_norm[i])
          remaining[i] = length2_below(i);
      });
    }
    return changed;
  }

  // Whether a feature that leads has a weight below the threshold: it was stiff, and is no more.
  KRF_HD bool is_outdated(const double *weight, double threshold) {
    const T zero = splat<T>(0.0), one = splat<T>(1.0);
    T outdated = zero;
    team.for_each(ldd, [&](int i) {
      const auto leads = read<T>(is_leading + i) > 0.0;
      const auto soft = read<T>(weight + i) < threshold;
      outdated = greater_of(outdated, select(leads, select(soft, one, zero), zero));
    });
    return team.max(outdated) > 0.0;
  }

  // After a rotation with threshold zero, rows beyond the rank of X hold nothing but rounding.
  // Drops them and returns the part of |y|^2 that lies there.
  KRF_HD KRF_APART double drop_null_rows(double *y, double *nu, double *residual) {
    const double dropped = norm2_below(y);
    team.each(ldd, [&](int i) {
      for (int c = n_reflectors; c < n; ++c)
        rotated_X[static_cast<long long>(i) * ldn + c] = 0.0;
    });
    team.each(n, [&](int c) {
      if (c >= n_reflectors)
        y[c] = nu[c] = residual[c] = 0.0;
    });
    n = n_reflectors;
    return dropped;
  }

  // Of the rows of a vector that no reflected feature occupies.
  KRF_HD double norm2_below(const double *x) {
    double sum = 0;
    for (int c = n_reflectors; c < n; ++c)
      sum += x[c] * x[c];
    team.sync();
    return sum;
  }

  // Back to the basis of the problem, with nu.
  KRF_HD void restore(const DiagonalProblem &p, double *y, double *nu) {
    to_original(nu);
    load(p);
    n = p.n;
    n_reflectors = 0;
    copy(team, p.y, y, ldn);
    fill(team, 0.0, is_leading, ldd);
  }

  // A vector in the basis of the problem, in place.
  KRF_HD void to_original(double *x) {
    for (int k = n_reflectors - 1; k >= 0; --k)
      reflect(reflector(k), x);
  }
  // A vector known in the basis of the first `known` reflectors, in place.
  KRF_HD void follow(int known, double *x) {
    for (int k = known; k < n_reflectors; ++k)
      reflect(reflector(k), x);
  }

private:
  // weight part / whole; a product that would leave the doubles is not formed.
  KRF_HD static double share(double weight, double part, double whole) {
    const double product = weight * part;
    return product > 1e-290 && product < kInfinity ? product / whole : weight * (part / whole);
  }
  KRF_HD double length2_below(int i) const {
    const double *x = feature(i);
    double sum = 0;
    for (int c = n_reflectors; c < n; ++c)
      sum += x[c] * x[c];
    return sum;
  }

  KRF_HD void reflect(const double *v, double *x) {
    axpy(team, -2.0 * team.dot(v, x, ldn), v, x, ldn);
  }

  // The Householder reflector that leaves feature i, of which `left` lies below row n_reflectors,
  // with nothing below it.
  KRF_HD void apply_reflector(int i, double left, double *y, double *nu) {
    if (X != rotated_X) {
      copy(team, X, rotated_X, ldd * ldn);
      X = rotated_X;
    }
    const int k = n_reflectors++;
    double *x = rotated_X + static_cast<long long>(i) * ldn, *v = reflector(k);
    team.each(ldn, [&](int c) {
      v[c] = c >= k ? x[c] : 0.0;
      if (c == k)
        v[c] += v[c] < 0 ? -left : left;
    });
    const double scale = 1.0 / std::sqrt(team.dot(v, v, ldn));
    team.each(ldn, [&](int c) { v[c] *= scale; });
    team.reflect(rotated_X, ldn, ldd, v);
    team.each(ldn, [&](int c) {
      if (c > k)
        x[c] = 0.0;
    });
    reflect(v, y);
    reflect(v, nu);
  }
};

KRF_END_NAMESPACE
