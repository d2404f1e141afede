// Turns the columns of a factor W until they are nearly orthogonal: W W^T and its flow do not
// change (W' = -S W holds for W Q as well), but each direction of W W^T then lives in a column of
// its own, however small.  Relative errors and rounding of a column are relative errors of that
// direction, so a direction that sleeps at 1e-20 beside one of size 1 keeps all its digits.
//
// One-sided Jacobi rotations (Hestenes; high relative accuracy: Demmel and Veselic, SIAM J. Matrix
// Anal. Appl. 13, 1992).
#pragma once

#include "arena.hpp"
#include "math.hpp"

KRF_BEGIN_NAMESPACE

template <class Team> struct ColumnBasis {
  using T = typename Team::Value;
  static constexpr int kParts = 6; // W and what turns with it

  Team &team;
  int n, r, ldn, ldr, stride;
  double *stack; // per column: kParts vectors of n, then the column of Q
  double *norm2; // of the columns of W
  double *Q;     // (r, r): the columns of W are those of the caller times Q

  ColumnBasis(Team &team_, int n_, int r_, Arena &arena)
      : team(team_), n(n_), r(r_), ldn(padded(n_)), ldr(padded(r_)), stride(kParts * ldn + ldr),
        stack(arena.take(static_cast<long long>(r) * stride)), norm2(arena.take(ldr)),
        Q(arena.take(static_cast<long long>(r) * ldr)) {}

  void start() {
    for (int i = 0; i < r; ++i)
      for (int j = 0; j < ldr; ++j)
        Q[static_cast<long long>(i) * ldr + j] = i == j ? 1.0 : 0.0;
  }

  // Rotates until no two columns of part[0] have a cosine above `cosine`; the other parts (n rows
  // of ldr) and Q turn along.  Returns whether anything turned.
  bool turn(double *const part[kParts], double cosine) {
    load(part[0], 0);
    if (!any_pair(cosine))
      return false;
    for (int k = 1; k < kParts; ++k)
      load(part[k], k);
    for (int c = 0; c < r; ++c)
      for (int i = 0; i < ldr; ++i)
        column(c)[kParts * ldn + i] = i < r ? Q[static_cast<long long>(i) * ldr + c] : 0.0;
    constexpr int kSweeps = 40;
    for (int sweep = 0; sweep < kSweeps; ++sweep)
      if (!rotate_pairs(cosine))
        break;
    for (int k = 0; k < kParts; ++k)
      store(part[k], k);
    for (int c = 0; c < r; ++c)
      for (int i = 0; i < r; ++i)
        Q[static_cast<long long>(i) * ldr + c] = column(c)[kParts * ldn + i];
    return true;
  }

private:
  double *column(int c) const { return stack + static_cast<long long>(c) * stride; }
  double cross(int i, int j) const { return team.dot(column(i), column(j), ldn); }

  void load(const double *W, int part) {
    for (int c = 0; c < r; ++c) {
      double *out = column(c) + part * ldn;
      for (int i = 0; i < ldn; ++i)
        out[i] = i < n ? W[static_cast<long long>(i) * ldr + c] : 0.0;
    }
  }
  void store(double *W, int part) const {
    for (int c = 0; c < r; ++c)
      for (int i = 0; i < n; ++i)
        W[static_cast<long long>(i) * ldr + c] = column(c)[part * ldn + i];
  }

  bool any_pair(double cosine) {
    for (int i = 0; i < r; ++i)
      norm2[i] = cross(i, i);
    for (int i = 0; i < r; ++i)
      for (int j = i + 1; j < r; ++j) {
        const double both = std::sqrt(norm2[i]) * std::sqrt(norm2[j]);
        const double a = cross(i, j);
        if ((a < 0 ? -a : a) > cosine * both)
          return true;
      }
    return false;
  }

  bool rotate_pairs(double cosine) {
    bool any = false;
    for (int i = 0; i < r; ++i)
      for (int j = i + 1; j < r; ++j) {
        const double a = cross(i, j);
        const double both = std::sqrt(norm2[i]) * std::sqrt(norm2[j]);
        if (!((a < 0 ? -a : a) > cosine * both))
          continue;
        any = true;
        const double zeta = (norm2[j] - norm2[i]) / (2.0 * a);
        const double t =
            (zeta < 0 ? -1.0 : 1.0) / ((zeta < 0 ? -zeta : zeta) + std::sqrt(1.0 + zeta * zeta));
        const double c = 1.0 / std::sqrt(1.0 + t * t), s = c * t;
        double *x = column(i), *y = column(j);
        team.for_each(stride, [&](int k) {
          const T u = read<T>(x + k), v = read<T>(y + k);
          write(x + k, c * u - s * v);
          write(y + k, s * u + c * v);
        });
        norm2[i] = cross(i, i);
        norm2[j] = cross(j, j);
      }
    return any;
  }
};

KRF_END_NAMESPACE
