// The flow of a factorisation W = [U; V] conserves U^T U - V^T V. Integration errors change it
// slightly; results are written with its initial value restored, in the same basis of columns.
#pragma once

#include "../team.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> struct Balance {
  using T = typename TeamT::Value;
  static constexpr int kNewton = 5;
  static constexpr int kIterations = 60;
  static constexpr double kShare = 1e-9;  // of the defect, left by the conjugate gradients
  static constexpr int kTerms = 5;        // of (I + L)^-1 beyond I - L
  static constexpr double kLargest = 0.1; // norm of an L, so that few terms will do
  static constexpr double kNoise = 16.0;  // roundings in a turned imbalance

  TeamT &team;
  int n, r, c0, ldr, size;
  double *imbalance, *target; // (r, ldr): at the start, and in turned columns
  double *defect, *scaled, *column_gram, *L, *direction, *product, *image, *moved, *next, *best;

  KRF_HD Balance(TeamT &team_, int n_, int r_, int c0_, Arena &arena)
      : team(team_), n(n_), r(r_), c0(c0_), ldr(padded(r_)), size(r_ * ldr),
        imbalance(arena.take(size)), target(arena.take(size)), defect(arena.take(size)),
        scaled(arena.take(size)), column_gram(arena.take(size)), L(arena.take(size)),
        direction(arena.take(size)), product(arena.take(size)), image(arena.take(size)),
        moved(arena.take(static_cast<long long>(n) * ldr)),
        next(arena.take(static_cast<long long>(n) * ldr)),
        best(arena.take(static_cast<long long>(n) * ldr)) {}

  KRF_HD void start(const double *W) { imbalance_of(W, imbalance); }

  // Turns U into U (I + L) and V into V (I + L)^-1, L symmetric, which leaves U V^T alone, so that
  // U^T U - V^T V has its first value: Newton on the defect E, G L + L G = E with G = A^T A, by
  // conjugate gradients.  As the columns are nearly orthogonal, dividing E_ij by G_ii + G_jj is a
  // good preconditioner, and one that leaves every column its own relative accuracy.
  KRF_HD void restore(double *A, const double *Q) {
    if (c0 == 0)
      return;
    aim(Q);
    const double noise = kNoise * kEpsilon * std::sqrt(team.dot(imbalance, imbalance, size));
    double before = kInfinity;
    for (int newton = 0; newton < kNewton; ++newton) {
      imbalance_of(A, image);
      column_products(A, column_gram);
      team.each(size, [&](int e) {
        const int i = e / ldr, j = e % ldr;
        const double off = j < r ? 0.5 * (target[at(i, j)] + target[at(j, i)]) -
                                       0.5 * (image[at(i, j)] + image[at(j, i)])
                                 : 0.0;
        // The target of columns much smaller than others is only rounding.
        defect[e] = std::fabs(off) > noise ? off : 0.0;
      });
      precondition();
      T largest = splat<T>(0.0);
      team.for_each(size,
                    [&](int i) { largest = greater_of(largest, absolute(read<T>(scaled + i))); });
      const double worst = team.max(largest);
      if (!(worst < before)) {
        team.for_each(n * ldr, [&](int i) { write(A + i, read<T>(best + i)); });
        return;
      }
      if (worst < 0.5 * kEpsilon || newton == kNewton - 1)
        return;
      before = worst;
      team.for_each(n * ldr, [&](int i) { write(best + i, read<T>(A + i)); });
      solve();
      apply(A);
    }
  }

private:
  KRF_HD long long at(int i, int j) const { return static_cast<long long>(i) * ldr + j; }

  // target = Q^T imbalance Q
  KRF_HD void aim(const double *Q) {
    combine(imbalance, r, Q, image);
    team.for_rows(r, ldr, [&](int i, int c) {
      T sum = splat<T>(0.0);
      for (int k = 0; k < r; ++k)
        sum += Q[at(k, i)] * read<T>(image + at(k, c));
      write(target + at(i, c), sum);
    });
  }

  // scaled = preconditioner defect
  KRF_HD void precondition() {
    team.each(size, [&](int e) {
      const int i = e / ldr, j = e % ldr;
      const double both = j < r ? column_gram[at(i, i)] + column_gram[at(j, j)] : 0.0;
      scaled[e] = both > 0 ? defect[e] / both : 0.0;
    });
  }

  // L from defect, which is used up.
  KRF_HD void solve() {
    team.for_each(size, [&](int i) {
      write(L + i, splat<T>(0.0));
      write(direction + i, read<T>(scaled + i));
    });
    double weight = team.dot(defect, scaled, size);
    const double enough = weight * kShare * kShare;
    for (int iteration = 0; iteration < kIterations && weight > enough; ++iteration) {
      // G P, P symmetric: rows of one against rows of the other.
      team.products(column_gram, ldr, r, direction, ldr, r, ldr, product, ldr, false);
      team.each(size, [&](int e) {
        const int i = e / ldr, j = e % ldr;
        image[e] = j < r ? product[at(i, j)] + product[at(j, i)] : 0.0;
      });
      const double curvature = team.dot(direction, image, size);
      if (!(curvature > 0.0))
        return;
      const double step = weight / curvature;
      team.for_each(size, [&](int i) {
        write(L + i, read<T>(L + i) + step * read<T>(direction + i));
        write(defect + i, read<T>(defect + i) - step * read<T>(image + i));
      });
      precondition();
      const double next = team.dot(defect, scaled, size);
      const double turn = next / weight;
      weight = next;
      team.for_each(size, [&](int i) {
        write(direction + i, read<T>(scaled + i) + turn * read<T>(direction + i));
      });
    }
  }

  // A = [U (I + L); V (I + L)^-1], the inverse by its series: L is of the size of an error, or
  // made smaller.
  KRF_HD void apply(double *A) {
    const double norm = std::sqrt(team.dot(L, L, size));
    if (norm > kLargest)
      team.for_each(size, [&](int i) { write(L + i, (kLargest / norm) * read<T>(L + i)); });
    combine(A, n, L, moved);
    team.for_rows(n, ldr, [&](int i, int c) {
      const double sign = i < c0 ? 1.0 : -1.0;
      write(A + at(i, c), read<T>(A + at(i, c)) + sign * read<T>(moved + at(i, c)));
    });
    for (int term = 0; term < kTerms; ++term) {
      const double sign = term % 2 == 0 ? 1.0 : -1.0;
      combine(term % 2 == 0 ? moved : next, n, L, term % 2 == 0 ? next : moved);
      const double *const power = term % 2 == 0 ? next : moved;
      team.for_rows(n, ldr, [&](int i, int c) {
        if (i >= c0)
          write(A + at(i, c), read<T>(A + at(i, c)) + sign * read<T>(power + at(i, c)));
      });
    }
  }

  // out_i = sum_k rows_ik B_k over the r rows of B, for `count` rows.
  KRF_HD void combine(const double *rows, int count, const double *B, double *out) {
    team.for_rows(count, ldr, [&](int i, int c) {
      T sum = splat<T>(0.0);
      for (int k = 0; k < r; ++k)
        sum += rows[at(i, k)] * read<T>(B + at(k, c));
      write(out + at(i, c), sum);
    });
  }

  // A^T diag(1, right_sign) A with the sign for V's rows.
  KRF_HD void products_of(const double *A, double right_sign, double *out) {
    team.for_rows(r, ldr, [&](int a, int c) {
      T sum = splat<T>(0.0);
      for (int i = 0; i < n; ++i) {
        const double left = A[at(i, a)];
        sum += (i < c0 ? left : right_sign * left) * read<T>(A + at(i, c));
      }
      write(out + at(a, c), sum);
    });
  }
  KRF_HD void imbalance_of(const double *A, double *out) { products_of(A, -1.0, out); }
  KRF_HD void column_products(const double *A, double *out) { products_of(A, 1.0, out); }
};

KRF_END_NAMESPACE
