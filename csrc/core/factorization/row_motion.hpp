// Each row of a factor W is held to its own relative accuracy: a row much smaller than the others
// (a weight of 1e-14 beside one of 1) does not show in the norms of the columns, and may outgrow
// the others later.
#pragma once

#include "../team.hpp"
#include "measurements.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> struct RowMotion {
  using T = typename TeamT::Value;

  // Rounding of a velocity and of an estimated error, in units in the last place of the products
  // that they are sums of.
  static constexpr double kVelocityNoise = 32.0, kErrorNoise = 16.0;
  static constexpr double kAsleep = 1e-12; // a row this small that shrinks is at rest

  TeamT &team;
  const Measurements<TeamT> &sensing;
  double *size, *rounding; // per row: its norm; what its velocity is a sum of, in magnitude
  double step = 0;         // that is being tried

  KRF_HD RowMotion(TeamT &team_, const Measurements<TeamT> &measurements, Arena &arena)
      : team(team_), sensing(measurements), size(arena.take(padded(sensing.n))),
        rounding(arena.take(padded(sensing.n))) {}

  // Returns the norm of what the predictions are sums of, in magnitude.
  KRF_HD KRF_APART double measure(const double *W, const double *y, double x_norm) {
    double sum = 0;
    team.each(sensing.n, [&](int i) { size[i] = std::sqrt(row_dot(W, W, i)); });
    if (sensing.dense) {
      for (int i = 0; i < sensing.n; ++i)
        sum += size[i] * size[i];
      const double prediction = x_norm * sum;
      team.each(sensing.n, [&](int i) { rounding[i] = dense_rounding(i, y, prediction); });
      return prediction;
    }
    for (int k = 0; k < sensing.n_samples; ++k)
      sum += square(sensing.scale_of(k)) * (size[sensing.row[k]] * size[sensing.row[k]] *
                                            size[sensing.column[k]] * size[sensing.column[k]]);
    team.each(sensing.n, [&](int i) { rounding[i] = entry_rounding(i, y); });
    return std::sqrt(sum);
  }

  // Largest ratio of a row's norm in V, less its rounding, to that in W or `at`.
  KRF_HD double change(const double *V, const double *at) {
    T worst = splat<T>(0.0);
    team.each(sensing.n, [&](int i) {
      const double moved =
          std::sqrt(row_dot(V, V, i)) - kErrorNoise * kEpsilon * step * rounding[i];
      if (moved > 0.0)
        worst =
            greater_of(worst, one_lane<T>(moved / larger(size[i], std::sqrt(row_dot(at, at, i)))));
    });
    return team.max(worst);
  }

  // Whether no row moves faster than `speed` times its size, but by rounding, or to its rest.
  KRF_HD bool slower_than(double speed, const double *W, const double *field, double total) {
    T moving = splat<T>(0.0);
    team.each(sensing.n, [&](int i) {
      const double v = std::sqrt(row_dot(field, field, i));
      const bool asleep =
          size[i] * size[i] <= kAsleep * kAsleep * total && row_dot(W, field, i) < 0.0;
      if (v > larger(speed * size[i], kVelocityNoise * kEpsilon * rounding[i]) && !asleep)
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
  KRF_HD double entry_rounding(int i, const double *y) const {
    double sum = 0;
    for (int k = 0; k < sensing.n_samples; ++k) {
      const int a = sensing.row[k], b = sensing.column[k];
      if (a != i && b != i)
        continue;
      const double scale = sensing.scale_of(k);
      const double residual = std::fabs(y[k]) + scale * size[a] * size[b];
      sum += 2.0 * residual * scale * ((a == i ? size[b] : 0.0) + (b == i ? size[a] : 0.0));
    }
    return sum;
  }
  KRF_HD double dense_rounding(int i, const double *y, double prediction) const {
    double sum = 0;
    for (int k = 0; k < sensing.n_samples; ++k) {
      double part = 0;
      if (i < sensing.p)
        for (int j = 0; j < sensing.q; ++j)
          part += std::fabs(sensing.weight(k, i, j)) * size[sensing.c0 + j];
      if (i >= sensing.c0)
        for (int j = 0; j < sensing.p; ++j)
          part += std::fabs(sensing.weight(k, j, i - sensing.c0)) * size[j];
      sum += 2.0 * (std::fabs(y[k]) + prediction) * part;
    }
    return sum;
  }
};

KRF_END_NAMESPACE
