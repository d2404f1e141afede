// Solves with G + z I for the shifts z of a Radau step, one real and one complex, without factors
// of them: conjugate gradients on the current G, preconditioned by the inverse of an earlier one.
//
// With the inverse P^-1 = (G0 + s0 I)^-1 the eigenvalues of P^-1 (G + z I) lie near the segment
// from 1 to z / s0, as long as neither G nor the step has changed much.  So two or three iterations
// leave an error far below that of the simplified Newton correction which is being solved for, and
// one inverse serves many steps.  The complex system is symmetric, not Hermitian, which is what the
// bilinear form without conjugation in its iteration is for (COCG: van der Vorst and Melissen,
// IEEE Trans. Magn. 26, 1990).
#pragma once

#include "arena.hpp"

KRF_BEGIN_NAMESPACE

namespace stale_rules {
// The inverse is kept while the shift and every diagonal entry of G + s I are within this factor
// of what they were when it was made, and while no system takes more iterations than kSlow.  A
// solve that reaches kMost is left as it is: the Newton iteration sees its error and judges.
inline constexpr double kDrift = 10.0;
inline constexpr int kSlow = 4;
inline constexpr int kMost = 12;
// Part of the correction, in the norm of the matrix, that a solve may leave.
inline constexpr double kLeft = 0.02;
} // namespace stale_rules

// The shifts of a step, or those of a step of length one.
struct Shifts {
  double real, complex_r, complex_i;
};

template <class Team> struct StaleInverse {
  using T = typename Team::Value;

  Team &team;
  int n, ldn;
  double *inverse;  // (G0 / s0 + I)^-1, lower triangle by columns
  double *diagonal; // of G0 + s0 I
  double *scratch;
  double *x, *r, *p, *image; // three each; `image` is G p or the preconditioned r
  double shift = 0;          // s0; zero where there is no inverse
  bool slow = false;

  // `inverse_` has room for a square of padded(n) columns.
  KRF_HD StaleInverse(Team &team_, int n_, double *inverse_, Arena &arena)
      : team(team_), n(n_), ldn(padded(n_)), inverse(inverse_), diagonal(arena.take(ldn)),
        scratch(arena.take(Team::inverse_room(ldn))), x(arena.take(3LL * ldn)),
        r(arena.take(3LL * ldn)), p(arena.take(3LL * ldn)), image(arena.take(3LL * ldn)) {}

  KRF_HD bool serves(const double *G, double s) {
    using namespace stale_rules;
    if (slow || !(s <= kDrift * shift && shift <= kDrift * s))
      return false;
    return !team.any(n, [&](int i) {
      const double now = G[static_cast<long long>(i) * ldn + i] + s;
      return !(now <= kDrift * diagonal[i] && diagonal[i] <= kDrift * now);
    });
  }

  // Returns the smallest share of a diagonal entry that the elimination left; there is no inverse
  // if that is not positive.
  KRF_HD double renew(const double *G, double s) {
    const double unit = 1.0 / s;
    team.for_each(ldn * ldn, [&](int e) { write(inverse + e, unit * read<T>(G + e)); });
    team.each(n, [&](int i) {
      const long long at = static_cast<long long>(i) * ldn + i;
      diagonal[i] = G[at] + s;
      inverse[at] += 1.0;
    });
    const double kept = team.invert(inverse, ldn, n, scratch);
    shift = kept > 0.0 ? s : 0.0;
    slow = false;
    return kept;
  }

  // b <- (G + z.real I)^-1 b_0 and, with three columns ldn apart, (G + z.complex I)^-1 (b_1 + i
  // b_2).  Matrices are divided by s0, so that nothing depends on the unit of time.
  template <int K> KRF_HD KRF_APART void solve(const double *G, Shifts z, double *b) {
    static_assert(K == 1 || K == 3);
    using namespace stale_rules;
    const double unit = 1.0 / shift;
    const Shifts scaled{unit * z.real, unit * z.complex_r, unit * z.complex_i};
    team.for_each(K * ldn, [&](int i) {
      write(x + i, splat<T>(0.0));
      write(r + i, read<T>(b + i));
    });
    double rho[3], sigma[3], next[3];
    precondition<K>(rho);
    team.for_each(K * ldn, [&](int i) { write(p + i, read<T>(image + i)); });
    Progress progress[2];
    progress[1].active = K > 1;
    for (int iteration = 1;; ++iteration) {
      apply<K>(G, unit, scaled, sigma);
      double a[3] = {}, f[3] = {};
      if (progress[0].active)
        a[0] = sigma[0] > 0.0 ? rho[0] / sigma[0] : 0.0;
      if (progress[1].active)
        divide(rho + 1, sigma + 1, a + 1);
      move<K>(a);
      progress[0].note(a[0] * rho[0]);
      progress[1].note(
          std::sqrt((a[1] * a[1] + a[2] * a[2]) * (rho[1] * rho[1] + rho[2] * rho[2])));
      const bool done = !progress[0].active && !progress[1].active;
      slow = slow || (iteration > kSlow && !done);
      if (done || iteration == kMost)
        break;
      precondition<K>(next);
      f[0] = rho[0] > 0.0 ? next[0] / rho[0] : 0.0;
      divide(next + 1, rho + 1, f + 1);
      turn<K>(f);
      for (int k = 0; k < 3; ++k)
        rho[k] = next[k];
    }
    team.for_each(K * ldn, [&](int i) { write(b + i, unit * read<T>(x + i)); });
  }

private:
  // How the squared error of a solve falls, in the norm of the matrix.
  struct Progress {
    double last = 0, total = 0; // taken off by the last iteration, and by all
    bool active = true;

    KRF_HD void note(double taken) {
      if (!active)
        return;
      total += taken;
      const double rate = last > 0.0 ? taken / last : 1.0;
      const double ahead = rate < 1.0 ? taken * rate / (1.0 - rate) : kInfinity;
      active = taken > 0.0 && !(ahead <= stale_rules::kLeft * stale_rules::kLeft * total);
      last = taken;
    }
  };

  // image = (G / s0 + z I) p, and the products of the two.
  template <int K> KRF_HD void apply(const double *G, double unit, Shifts z, double sigma[3]) {
    team.template multiply_symmetric<K>(G, ldn, p, image);
    const double zr = z.complex_r, zi = z.complex_i;
    T sum[3] = {};
    team.for_each(ldn, [&](int i) {
      const T p0 = read<T>(p + i), q0 = unit * read<T>(image + i) + z.real * p0;
      write(image + i, q0);
      sum[0] += p0 * q0;
      if constexpr (K > 1) {
        const T pr = read<T>(p + ldn + i), pi = read<T>(p + 2 * ldn + i);
        const T qr = unit * read<T>(image + ldn + i) + (zr * pr - zi * pi);
        const T qi = unit * read<T>(image + 2 * ldn + i) + (zr * pi + zi * pr);
        write(image + ldn + i, qr);
        write(image + 2 * ldn + i, qi);
        sum[1] += pr * qr - pi * qi;
        sum[2] += pr * qi + pi * qr;
      }
    });
    team.template reduce<K, 0>(sum, sigma);
  }
  // x += a p and r -= a image.
  template <int K> KRF_HD void move(const double a[3]) {
    team.for_each(ldn, [&](int i) {
      write(x + i, read<T>(x + i) + a[0] * read<T>(p + i));
      write(r + i, read<T>(r + i) - a[0] * read<T>(image + i));
      if constexpr (K > 1) {
        const T pr = read<T>(p + ldn + i), pi = read<T>(p + 2 * ldn + i);
        const T qr = read<T>(image + ldn + i), qi = read<T>(image + 2 * ldn + i);
        write(x + ldn + i, read<T>(x + ldn + i) + (a[1] * pr - a[2] * pi));
        write(x + 2 * ldn + i, read<T>(x + 2 * ldn + i) + (a[1] * pi + a[2] * pr));
        write(r + ldn + i, read<T>(r + ldn + i) - (a[1] * qr - a[2] * qi));
        write(r + 2 * ldn + i, read<T>(r + 2 * ldn + i) - (a[1] * qi + a[2] * qr));
      }
    });
  }
  // p = image + f p.
  template <int K> KRF_HD void turn(const double f[3]) {
    team.for_each(ldn, [&](int i) {
      write(p + i, read<T>(image + i) + f[0] * read<T>(p + i));
      if constexpr (K > 1) {
        const T pr = read<T>(p + ldn + i), pi = read<T>(p + 2 * ldn + i);
        write(p + ldn + i, read<T>(image + ldn + i) + (f[1] * pr - f[2] * pi));
        write(p + 2 * ldn + i, read<T>(image + 2 * ldn + i) + (f[1] * pi + f[2] * pr));
      }
    });
  }
  // image = P^-1 r, and the products of the two.
  template <int K> KRF_HD void precondition(double rho[3]) {
    team.template multiply_symmetric<K>(inverse, ldn, r, image);
    T sum[3] = {};
    team.for_each(ldn, [&](int i) {
      sum[0] += read<T>(r + i) * read<T>(image + i);
      if constexpr (K > 1) {
        const T rr = read<T>(r + ldn + i), ri = read<T>(r + 2 * ldn + i);
        const T zr = read<T>(image + ldn + i), zi = read<T>(image + 2 * ldn + i);
        sum[1] += rr * zr - ri * zi;
        sum[2] += rr * zi + ri * zr;
      }
    });
    rho[1] = rho[2] = 0.0;
    team.template reduce<K, 0>(sum, rho);
  }
  // a / b, and zero where b is.
  KRF_HD static void divide(const double a[2], const double b[2], double out[2]) {
    const double size = b[0] * b[0] + b[1] * b[1];
    const double scale = size > 0.0 ? 1.0 / size : 0.0;
    out[0] = scale * (a[0] * b[0] + a[1] * b[1]);
    out[1] = scale * (a[1] * b[0] - a[0] * b[1]);
  }
};

KRF_END_NAMESPACE
