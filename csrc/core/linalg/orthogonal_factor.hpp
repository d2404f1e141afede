// A matrix A of chosen columns as A = Q R, Q with orthonormal columns and R upper triangular, kept
// while columns are appended and dropped one at a time; and the least-squares fit of A z to y.
//
// Q is kept itself, not the Gram matrix A^T A: the condition number of A is not squared.
#pragma once

#include "../team.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class OrthogonalFactor {
public:
  using T = typename TeamT::Value;
  static constexpr bool kGraded = false;
  // Of a column's norm: what is left of a column that is a combination of the others, rounded.
  static constexpr double kDependent = 1e-13;

  // Columns have n entries, padded with zeros; there are at most `most` of them.
  KRF_HD OrthogonalFactor(TeamT &team, int n, int most, const double *, Arena &arena)
      : team_(team), most_(most), ldn_(padded(n)), ldr_(padded(most)),
        Q_(arena.take(static_cast<long long>(most) * ldn_)),
        R_(arena.take(static_cast<long long>(most) * ldr_)), h_(arena.take(ldr_)),
        share_(arena.take(ldr_)), v_(arena.take(ldn_)), projection_(arena.take(ldn_)) {}

  KRF_HD int size() const { return size_; }
  KRF_HD void clear() { size_ = 0; }

  // Returns false, and appends nothing, where x is a combination of the columns there are, or there
  // are as many as there may be.
  KRF_HD bool append(const double *x) {
    if (size_ == most_)
      return false;
    copy(x, v_);
    double *h = h_;
    for (int k = 0; k < size_; ++k)
      h[k] = 0;
    // Twice is enough (Parlett, The Symmetric Eigenvalue Problem, section 6.9): the second pass
    // removes what rounding left in the first.
    remove_projection(v_, h);
    remove_projection(v_, h);
    const double norm = std::sqrt(team_.dot(x, x, ldn_));
    const double left = std::sqrt(team_.dot(v_, v_, ldn_));
    if (left <= kDependent * norm)
      return false;
    scale(1.0 / left, v_, column(size_));
    for (int k = 0; k < size_; ++k)
      row(k)[size_] = h[k];
    row(size_)[size_] = left;
    ++size_;
    return true;
  }

  // Column p goes; Givens rotations make R triangular again.
  KRF_HD void drop(int p) {
    for (int i = 0; i < size_; ++i)
      for (int j = larger_int(p, i - 1); j + 1 < size_; ++j)
        row(i)[j] = row(i)[j + 1];
    --size_;
    for (int j = p; j < size_; ++j) {
      double *upper = row(j), *lower = row(j + 1);
      const double norm = std::sqrt(square(upper[j]) + square(lower[j]));
      const double c = upper[j] / norm, s = lower[j] / norm;
      for (int l = j; l < size_; ++l) {
        const double u = upper[l], w = lower[l];
        upper[l] = c * u + s * w;
        lower[l] = c * w - s * u;
      }
      rotate(c, s, column(j), column(j + 1));
    }
  }

  // z minimises |A z - y|, and r = y - A z.
  KRF_HD void fit(const double *y, double *z, double *r) {
    copy(y, r);
    for (int k = 0; k < size_; ++k)
      h_[k] = 0;
    remove_projection(r, h_);
    remove_projection(r, h_);
    for (int i = size_ - 1; i >= 0; --i) {
      double sum = h_[i];
      for (int j = i + 1; j < size_; ++j)
        sum -= row(i)[j] * z[j];
      z[i] = sum / row(i)[i];
    }
  }

private:
  KRF_HD static int larger_int(int a, int b) { return a > b ? a : b; }
  KRF_HD double *column(int k) { return Q_ + static_cast<long long>(k) * ldn_; }
  KRF_HD double *row(int i) { return R_ + static_cast<long long>(i) * ldr_; }

  // v -= Q Q^T v, and h += Q^T v.
  KRF_HD void remove_projection(double *v, double *h) {
    team_.products(v, ldn_, 1, Q_, ldn_, size_, ldn_, share_, ldr_, false);
    team_.combine(share_, 0, 1, 1, size_, Q_, ldn_, ldn_, projection_, ldn_, false);
    team_.for_each(ldn_,
                   [&](int i) { write<T>(v + i, read<T>(v + i) - read<T>(projection_ + i)); });
    for (int k = 0; k < size_; ++k)
      h[k] += share_[k];
  }
  KRF_HD void copy(const double *from, double *to) {
    team_.for_each(ldn_, [&](int i) { write<T>(to + i, read<T>(from + i)); });
  }
  KRF_HD void scale(double factor, const double *from, double *to) {
    team_.for_each(ldn_, [&](int i) { write<T>(to + i, factor * read<T>(from + i)); });
  }
  KRF_HD void rotate(double c, double s, double *a, double *b) {
    team_.for_each(ldn_, [&](int i) {
      const T u = read<T>(a + i), w = read<T>(b + i);
      write<T>(a + i, c * u + s * w);
      write<T>(b + i, c * w - s * u);
    });
  }

  TeamT &team_;
  int most_, ldn_, ldr_, size_ = 0;
  double *Q_, *R_; // columns of Q and rows of R, one after the other
  double *h_, *share_, *v_, *projection_;
};

KRF_END_NAMESPACE
