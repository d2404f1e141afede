// Solves with G + z I for the shifts z of a Radau step, one real and one complex, without factoring
// either: conjugate gradients on the current G, preconditioned by the inverse of an earlier matrix.
//
// With the inverse of P = G0 + s0 I the eigenvalues of P^-1 (G + z I) lie near the segment from 1
// to z / s0, as long as neither G nor the step has changed much.  Two or three iterations then
// suffice for a simplified Newton correction, and one inverse serves many steps.  The complex
// matrix is symmetric, not Hermitian: its iteration uses the bilinear form without conjugation
// (COCG: van der Vorst and Melissen, IEEE Trans. Magn. 26, 1990).
#pragma once

#include "../base/complex.hpp"
#include "../team.hpp"

KRF_BEGIN_NAMESPACE

namespace stale_rules {
// The inverse is kept while the shift and every diagonal entry of G + s I are within this factor
// of what they were when it was made, and while no system takes more iterations than kSlow.  A
// solve that reaches kMost is left as it is: the Newton iteration sees its error and judges.
inline constexpr double kDrift = 10.0;
inline constexpr int kSlow = 4;
inline constexpr int kMost = 12;
// A solve ends where the residual, in the norm of the inverse, has fallen to this part of the right
// hand side; its error, in the norm of the matrix, is then at most about twice that part.
inline constexpr double kLeft = 0.02;
// Within these bounds of its norm in that of the inverse, squared, a right hand side is solved for
// as it is: the squares of such products, and of what a solve leaves of them, are numbers.
inline constexpr double kSmallest = 1e-120, kLargest = 1e140;
} // namespace stale_rules

// The real and the complex shift of a step, or h times them.
struct Shifts {
  double real, complex_r, complex_i;
};

template <Team TeamT> struct StaleInverse {
  using T = typename TeamT::Value;

  TeamT &team;
  int n, ldn;
  double *inverse;  // (G0 / s0 + I)^-1, lower triangle by columns
  double *diagonal; // of G0 + s0 I
  double *scratch;
  double *x, *r, *p, *image; // three vectors each; `image` is the matrix times p, or P^-1 r
  double shift = 0;          // s0; zero where there is no inverse
  bool slow = false;         // a solve since the last inverse took more than kSlow iterations

  // `inverse_` has room for a square of padded(n) columns.
  KRF_HD StaleInverse(TeamT &team_, int n_, double *inverse_, Arena &arena)
      : team(team_), n(n_), ldn(padded(n_)), inverse(inverse_), diagonal(arena.take(ldn)),
        scratch(arena.take(TeamT::inverse_room(ldn))), x(arena.take(3LL * ldn)),
        r(arena.take(3LL * ldn)), p(arena.take(3LL * ldn)), image(arena.take(3LL * ldn)) {}

  // Whether the inverse is still close enough to that of G + s I.
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
    shift = 0.0;
    if (team.cancelled()) // of a large matrix even the copy takes time
      return 0.0;
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
    Residual now, next;
    double sigma[3], size[2] = {1.0, 1.0};
    start<K>(b, now, size);
    const double goal[2] = {kLeft * kLeft * now.size(0), kLeft * kLeft * now.size(1)};
    team.for_each(K * ldn, [&](int i) { write(p + i, read<T>(image + i)); });
    bool active[2] = {true, K > 1};
    for (int iteration = 1;; ++iteration) {
      apply<K>(G, unit, scaled, sigma);
      double a[3] = {}, f[3] = {};
      if (active[0])
        a[0] = sigma[0] > 0.0 ? now.rho[0] / sigma[0] : 0.0;
      if (active[1])
        divide(now.rho + 1, sigma + 1, a + 1);
      update_solution<K>(a);
      precondition<K>(next);
      for (int k = 0; k < 2; ++k)
        active[k] = active[k] && next.size(k) > goal[k];
      const bool done = !active[0] && !active[1];
      slow = slow || (iteration > kSlow && !done);
      if (done || iteration == kMost)
        break;
      f[0] = now.rho[0] > 0.0 ? next.rho[0] / now.rho[0] : 0.0;
      divide(next.rho + 1, now.rho + 1, f + 1);
      update_direction<K>(f);
      now = next;
    }
    for (int k = 0; k < (K == 1 ? 1 : 2); ++k)
      if (size[k] != 1.0)
        scale(team, size[k], x + k * ldn, (k + 1) * ldn);
    team.for_each(K * ldn, [&](int i) { write(b + i, unit * read<T>(x + i)); });
  }

private:
  struct Residual {
    // r . P^-1 r of the real system and, without conjugation, of the complex one; and of that the
    // square of its norm.
    double rho[4] = {};
    KRF_HD double size(int system) const { return rho[system == 0 ? 0 : 3]; }
  };

  // x = 0, r = b in units of `size`, and image = P^-1 r.
  template <int K> KRF_HD void start(const double *b, Residual &now, double size[2]) {
    team.for_each(K * ldn, [&](int i) {
      write(x + i, splat<T>(0.0));
      write(r + i, read<T>(b + i));
    });
    precondition<K>(now);
    if (is_ordinary(now.size(0)) && (K == 1 || is_ordinary(now.size(1))))
      return;
    normalize<K>(size);
    precondition<K>(now);
  }
  KRF_HD static bool is_ordinary(double size) {
    return size >= stale_rules::kSmallest && size <= stale_rules::kLargest;
  }
  // r of both systems by powers of two, so that the largest entries are about one; `size` undoes
  // it.
  template <int K> KRF_HD KRF_APART void normalize(double size[2]) {
    for (int k = 0; k < (K == 1 ? 1 : 2); ++k) {
      const int begin = k * ldn, count = (k + 1) * ldn;
      T most = splat<T>(0.0);
      team.for_each(count,
                    [&](int i) { most = greater_of(most, absolute(read<T>(r + begin + i))); });
      const double largest = team.max(most);
      const double lift = largest > 0.0 ? power_of_two_for(largest) : 1.0;
      size[k] = 1.0 / lift;
      team.for_each(count, [&](int i) { write(r + begin + i, lift * read<T>(r + begin + i)); });
    }
  }

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
  template <int K> KRF_HD void update_solution(const double a[3]) {
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
  template <int K> KRF_HD void update_direction(const double f[3]) {
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
  template <int K> KRF_HD void precondition(Residual &out) {
    team.template multiply_symmetric<K>(inverse, ldn, r, image);
    T sum[4] = {};
    team.for_each(ldn, [&](int i) {
      sum[0] += read<T>(r + i) * read<T>(image + i);
      if constexpr (K > 1) {
        const T rr = read<T>(r + ldn + i), ri = read<T>(r + 2 * ldn + i);
        const T zr = read<T>(image + ldn + i), zi = read<T>(image + 2 * ldn + i);
        sum[1] += rr * zr - ri * zi;
        sum[2] += rr * zi + ri * zr;
        sum[3] += rr * zr + ri * zi;
      }
    });
    team.template reduce<K == 1 ? 1 : 4, 0>(sum, out.rho);
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
