// Turns the columns of a factor W until they are nearly orthogonal: W W^T and its flow do not
// change (W' = -S W holds for W Q as well), but each direction of W W^T then lives in a column of
// its own, however small.  Relative errors and rounding of a column are relative errors of that
// direction, so a direction that sleeps at 1e-20 beside one of size 1 keeps all its digits.
//
// One-sided Jacobi rotations (Hestenes; high relative accuracy: Demmel and Veselic, SIAM J. Matrix
// Anal. Appl. 13, 1992).
#pragma once

#include "../team.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> struct OneSidedJacobi {
  using T = typename TeamT::Value;
  static constexpr int kParts = 6; // W and what turns with it

  TeamT &team;
  int n, r, ldn, ldr, stride;
  double *stack;       // per column: kParts vectors of n, then the column of Q
  double *norm2;       // of the columns of W
  double *column_gram; // their inner products, (r, ldr)
  double *Q;           // (r, r): the columns of W are those of the caller times Q

  KRF_HD OneSidedJacobi(TeamT &team_, int n_, int r_, Arena &arena)
      : team(team_), n(n_), r(r_), ldn(padded(n_)), ldr(padded(r_)), stride(kParts * ldn + ldr),
        stack(arena.take(static_cast<long long>(r) * stride)), norm2(arena.take(ldr)),
        column_gram(arena.take(static_cast<long long>(r) * ldr)),
        Q(arena.take(static_cast<long long>(r) * ldr)) {}

  KRF_HD void start() {
    team.each(r * ldr, [&](int e) { Q[e] = e / ldr == e % ldr ? 1.0 : 0.0; });
  }

  // Rotates until no two columns of part[0] have a cosine above `cosine`; the other parts (n rows
  // of ldr) and Q turn along.  Returns whether anything turned.
  KRF_HD bool orthogonalise(double *const part[kParts], double cosine) {
    load(part[0], 0);
    if (!any_pair(cosine))
      return false;
    for (int k = 1; k < kParts; ++k)
      load(part[k], k);
    team.each(r * ldr, [&](int e) {
      const int c = e / ldr, i = e % ldr;
      column(c)[kParts * ldn + i] = i < r ? Q[static_cast<long long>(i) * ldr + c] : 0.0;
    });
    constexpr int kMaxCycles = 40;
    for (int cycle = 0; cycle < kMaxCycles; ++cycle)
      if (!rotate_pairs(cosine))
        break;
    for (int k = 0; k < kParts; ++k)
      store(part[k], k);
    team.each(r * r, [&](int e) {
      const int c = e / r, i = e % r;
      Q[static_cast<long long>(i) * ldr + c] = column(c)[kParts * ldn + i];
    });
    return true;
  }

private:
  KRF_HD double *column(int c) const { return stack + static_cast<long long>(c) * stride; }
  KRF_HD double cross(int i, int j) const { return team.dot(column(i), column(j), ldn); }

  KRF_HD void load(const double *W, int part) {
    team.each(r * ldn, [&](int e) {
      const int c = e / ldn, i = e % ldn;
      column(c)[part * ldn + i] = i < n ? W[static_cast<long long>(i) * ldr + c] : 0.0;
    });
  }
  KRF_HD void store(double *W, int part) const {
    team.each(r * n, [&](int e) {
      const int c = e / n, i = e % n;
      W[static_cast<long long>(i) * ldr + c] = column(c)[part * ldn + i];
    });
  }

  KRF_HD bool any_pair(double cosine) {
    team.products(stack, stride, r, stack, stride, r, ldn, column_gram, ldr, false);
    team.each(r, [&](int i) { norm2[i] = column_gram[static_cast<long long>(i) * ldr + i]; });
    return team.any(r * r, [&](int e) {
      const int i = e / r, j = e % r;
      const double a = column_gram[static_cast<long long>(i) * ldr + j];
      const double both = std::sqrt(norm2[i]) * std::sqrt(norm2[j]);
      return i < j && (a < 0 ? -a : a) > cosine * both;
    });
  }

  KRF_HD bool rotate_pairs(double cosine) {
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
        const double now_i = cross(i, i), now_j = cross(j, j);
        team.once([&] { norm2[i] = now_i, norm2[j] = now_j; });
      }
    return any;
  }
};

KRF_END_NAMESPACE
