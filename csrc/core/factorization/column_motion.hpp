// The columns of a factor W, each to its own relative accuracy: in a basis where every column is a
// direction of its own (one_sided_jacobi.hpp), a small one may outgrow the others later.
#pragma once

#include "../team.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class ColumnMotion {
  using T = typename TeamT::Value;

public:
  // Squares of entries smaller than this underflow.  Weights are larger at the start, so a column
  // or a row of this size has shrunk, and is at rest.  A larger one may hold a part that grows.
  static constexpr double kVanished = 1e-150;

  KRF_HD ColumnMotion(TeamT &team, int n, int r, Arena &arena)
      : team_(team), n_(n), r_(r), ldr_(padded(r)), norm2_(arena.take(ldr_)),
        speed2_(arena.take(ldr_)), growth_(arena.take(ldr_)) {}

  // Columns of W that are only rounding, next to the smallest that was one before, become zero.
  KRF_HD void remember_smallest(const double *W) {
    inner_products(W, W, norm2_);
    smallest2_ = kInfinity;
    for (int c = 0; c < r_; ++c)
      if (norm2_[c] > 0)
        smallest2_ = smaller(smallest2_, norm2_[c]);
    team_.sync();
  }
  KRF_HD void clear_rounding(double *W) {
    inner_products(W, W, norm2_);
    for (int c = 0; c < r_; ++c)
      if (norm2_[c] < 1e-28 * smallest2_)
        team_.each(n_, [&](int i) { Matrix{W, ldr_}(i, c) = 0.0; });
  }

  // Columns that have shrunk so far become zero in all parts; the first two are W and its velocity.
  template <int K> KRF_HD void clear_vanished(double *const (&parts)[K]) {
    constexpr double kLeast2 = kVanished * kVanished;
    measure(parts[0], parts[1]);
    for (int c = 0; c < r_; ++c)
      if (norm2_[c] < kLeast2 && speed2_[c] < kLeast2)
        for (double *part : parts)
          team_.each(n_, [&](int i) { Matrix{part, ldr_}(i, c) = 0.0; });
  }

  // Largest ratio of a column's norm in V to that in `at`; columns that have vanished do not count.
  KRF_HD double change(const double *V, const double *at) {
    T worst = splat<T>(0.0);
    team_.for_each(ldr_, [&](int c) {
      T v = splat<T>(0.0), w = splat<T>(0.0);
      for (int i = 0; i < n_; ++i) {
        const T a = read<T>(ConstMatrix{V, ldr_}.row(i) + c);
        const T b = read<T>(ConstMatrix{at, ldr_}.row(i) + c);
        v += a * a;
        w += b * b;
      }
      worst = greater_of(worst, select(w > kVanished * kVanished, v / w, splat<T>(0.0)));
    });
    return std::sqrt(team_.max(worst));
  }

  // For slower_than.
  KRF_HD void measure(const double *W, const double *field) {
    inner_products(W, W, norm2_);
    inner_products(field, field, speed2_);
    inner_products(W, field, growth_);
  }
  // Whether no column moves faster than `speed` times its norm, but to its rest.
  KRF_HD bool slower_than(double speed) const {
    for (int c = 0; c < r_; ++c) {
      if (std::sqrt(speed2_[c]) <= speed * std::sqrt(norm2_[c]))
        continue;
      if (norm2_[c] <= kVanished * kVanished && growth_[c] <= 0)
        continue;
      return false;
    }
    return true;
  }

private:
  // Of the columns of A with those of B, one by one.
  KRF_HD void inner_products(const double *A, const double *B, double *out) {
    team_.for_each(ldr_, [&](int c) {
      T sum = splat<T>(0.0);
      for (int i = 0; i < n_; ++i)
        sum += read<T>(ConstMatrix{A, ldr_}.row(i) + c) * read<T>(ConstMatrix{B, ldr_}.row(i) + c);
      write(out + c, sum);
    });
  }

  TeamT &team_;
  int n_, r_, ldr_;
  double *norm2_, *speed2_, *growth_; // of W, of the field, and W . field
  double smallest2_ = 0;
};

KRF_END_NAMESPACE
