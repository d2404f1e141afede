// Each row of a factor W is held to its own relative accuracy: a row much smaller than the others
// (a weight of 1e-14 beside one of 1) does not show in the norms of the columns, and may outgrow
// the others later.
#pragma once

#include "../team.hpp"
#include "column_motion.hpp"
#include "measurements.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> struct RowMotion {
  using T = typename TeamT::Value;

  // Rounding of a velocity and of an estimated error, in units in the last place of the products
  // that they are sums of.
  static constexpr double kVelocityNoise = 32.0, kErrorNoise = 16.0;

  TeamT &team;
  const Measurements<TeamT> &sensing;
  double *size, *rounding; // per row: its norm; what its velocity is a sum of, in magnitude
  double *terms;           // per sample: what its prediction is a sum of, in magnitude
  double step = 0;         // that is being tried

  KRF_HD RowMotion(TeamT &team_, const Measurements<TeamT> &measurements, Arena &arena)
      : team(team_), sensing(measurements), size(arena.take(padded(sensing.n))),
        rounding(arena.take(padded(sensing.n))), terms(arena.take(sensing.ldn)) {}

  // Under the squared loss.  Returns the norm of what the predictions are sums of, in magnitude.
  KRF_HD KRF_APART double measure(const double *W, const double *y, double x_norm) {
    const double prediction = measure_sizes(W, x_norm);
    team.each(sensing.n_samples, [&](int k) { terms[k] = std::fabs(y[k]) + terms_of(k); });
    measure_rounding([&](int k) { return terms[k]; }); // of the residual
    return prediction;
  }
  // The same where the velocity is that of the coefficients `pull`, known to `spread` roundings.
  KRF_HD KRF_APART double measure_pulled(const double *W, const double *pull, double spread,
                                         double x_norm) {
    const double prediction = measure_sizes(W, x_norm);
    measure_rounding([&](int k) { return spread * (1.0 + prediction) * std::fabs(pull[k]); });
    return prediction;
  }

  // Largest ratio of a row's norm in V, less its rounding, to that in W or `at`.
  KRF_HD double change(const double *V, const double *at) {
    T worst = splat<T>(0.0);
    team.each(sensing.n, [&](int i) {
      const double moved =
          std::sqrt(row_dot(V, V, i)) - kErrorNoise * kEpsilon * step * rounding[i];
      const double whole = larger(size[i], std::sqrt(row_dot(at, at, i)));
      if (moved > 0.0 && whole > ColumnMotion<TeamT>::kVanished)
        worst = greater_of(worst, one_lane<T>(moved / whole));
    });
    return team.max(worst);
  }

  // Whether no row moves faster than `speed` times its size, but by rounding, or to its rest.
  KRF_HD bool slower_than(double speed, const double *W, const double *field) {
    T moving = splat<T>(0.0);
    team.each(sensing.n, [&](int i) {
      const double v = std::sqrt(row_dot(field, field, i));
      const bool asleep = size[i] <= ColumnMotion<TeamT>::kVanished && row_dot(W, field, i) <= 0.0;
      if (v > larger(speed * size[i], kVelocityNoise * kEpsilon * rounding[i]) && !asleep)
        moving = one_lane<T>(1.0);
    });
    return !(team.max(moving) > 0.0);
  }

  // Whether every row that has not vanished has moved by at most `change` times its size, and by at
  // most what the coefficients `pull` could move it by in this time; and whether it moves at most
  // at the fraction `speed` of the velocity that they could give it.
  KRF_HD KRF_APART bool barely_move(const double *moved, double change, double time, double speed,
                                    const double *pull, const double *field) {
    T moving = splat<T>(0.0);
    team.each(sensing.n, [&](int i) {
      const double fastest = most(i, [&](int k) { return std::fabs(pull[k]); });
      const double way = std::sqrt(row_dot(moved, moved, i));
      const bool far = way > smaller(change * size[i], time * fastest);
      const bool fast = std::sqrt(row_dot(field, field, i)) > speed * fastest;
      if ((far || fast) && size[i] > ColumnMotion<TeamT>::kVanished)
        moving = one_lane<T>(1.0);
    });
    return !(team.max(moving) > 0.0);
  }

private:
  KRF_HD double row_dot(const double *A, const double *B, int i) const {
    const double *a = sensing.rows_of(A).row(i), *b = sensing.rows_of(B).row(i);
    double sum = 0;
    for (int c = 0; c < sensing.r; ++c)
      sum += a[c] * b[c];
    return sum;
  }
  KRF_HD double measure_sizes(const double *W, double x_norm) {
    double sum = 0;
    team.each(sensing.n, [&](int i) { size[i] = std::sqrt(row_dot(W, W, i)); });
    if (sensing.dense) {
      for (int i = 0; i < sensing.n; ++i)
        sum += size[i] * size[i];
      return x_norm * sum;
    }
    for (int k = 0; k < sensing.n_samples; ++k)
      sum += square(sensing.scale_of(k)) * (size[sensing.row[k]] * size[sensing.row[k]] *
                                            size[sensing.column[k]] * size[sensing.column[k]]);
    return std::sqrt(sum);
  }
  KRF_HD double terms_of(int k) const {
    if (!sensing.dense)
      return sensing.scale_of(k) * size[sensing.row[k]] * size[sensing.column[k]];
    double sum = 0;
    for (int i = 0; i < sensing.p; ++i) {
      double along = 0;
      for (int j = 0; j < sensing.q; ++j)
        along += std::fabs(sensing.weight(k, i, j)) * size[sensing.c0 + j];
      sum += size[i] * along;
    }
    return sum;
  }
  // Of every row, with coefficients of the sizes coefficient(k).
  template <class Coefficient> KRF_HD void measure_rounding(Coefficient coefficient) {
    team.each(sensing.n, [&](int i) { rounding[i] = most(i, coefficient); });
  }
  // What the velocity of row i is a sum of, in magnitude.
  template <class Coefficient> KRF_HD double most(int i, Coefficient coefficient) const {
    double sum = 0;
    for (int k = 0; k < sensing.n_samples; ++k)
      if (const double part = reach(i, k); part > 0.0)
        sum += 2.0 * coefficient(k) * part;
    return sum;
  }
  // Size of what coefficient k multiplies in the velocity of row i.
  KRF_HD double reach(int i, int k) const {
    double part = 0;
    if (!sensing.dense) {
      const int a = sensing.row[k], b = sensing.column[k];
      return sensing.scale_of(k) * ((a == i ? size[b] : 0.0) + (b == i ? size[a] : 0.0));
    }
    if (i < sensing.p)
      for (int j = 0; j < sensing.q; ++j)
        part += std::fabs(sensing.weight(k, i, j)) * size[sensing.c0 + j];
    if (i >= sensing.c0)
      for (int j = 0; j < sensing.p; ++j)
        part += std::fabs(sensing.weight(k, j, i - sensing.c0)) * size[j];
    return part;
  }
};

KRF_END_NAMESPACE
