// A = Q R as in OrthogonalFactor, for a matrix whose rows may have any units (a graded matrix).
//
// All n columns of Q are kept while columns of A are appended by Householder reflections and
// dropped by Givens rotations.  The reflections meet the largest entry first, so that the entries
// of Q that link a large row to a small one are as accurate, relative to themselves, as the others
// (Powell and Reid 1969; Cox and Higham, BIT 38, 1998).  The projection y - Q Q^T y of
// OrthogonalFactor would carry errors of the largest row into all others.
//
// With every number goes a size: its rounding error is a small multiple of its size times the
// machine precision.  What lies below that is set to zero.
//
// Written for a team of one thread.
#pragma once

#include "../team.hpp"

KRF_BEGIN_NAMESPACE

// Numbers and their sizes.
struct Sized {
  double *value, *size;
};

template <Team TeamT> class GradedFactor {
public:
  using T = typename TeamT::Value;
  static constexpr bool kGraded = true;
  static constexpr double kRounding = 64.0 * kEpsilon; // of a size

  // Columns have n entries, padded with zeros; there are at most `most` of them.  units: of the
  // rows, positive.
  KRF_HD GradedFactor(TeamT &team, int n, int most, const double *units, Arena &arena)
      : team_(team), units_(units), n_(n), most_(most), ldn_(padded(n)), ldr_(padded(most)),
        Q_(take(arena, static_cast<long long>(n) * ldn_)),
        R_(take(arena, static_cast<long long>(most) * ldr_)),
        columns_(arena.take<const double *>(most)), data_(take(arena, ldn_)),
        direct_(take(arena, ldn_)), left_(take(arena, ldn_)), z_(take(arena, ldr_)),
        change_(take(arena, ldr_)), weight_(take(arena, ldn_)), residual_size_(arena.take(ldn_)) {}

  KRF_HD int size() const { return size_; }
  KRF_HD void clear() {
    size_ = drops_ = 0;
    double *const parts[] = {Q_.value, Q_.size};
    for (double *own : parts) {
      fill(team_, 0.0, own, n_ * ldn_);
      for (int l = 0; l < n_; ++l)
        own[static_cast<long long>(l) * ldn_ + l] = 1;
    }
  }

  // Returns false, and appends nothing, where x is a combination of the columns there are, or there
  // are as many as there may be.
  KRF_HD bool append(const double *x) {
    if (size_ == most_)
      return false;
    eliminate(x, size_);
    if (!keep_signal(left_, size_, n_))
      return false;
    take_column(x);
    return true;
  }
  // Column p goes; rotations make R triangular again.  Each adds to rounding errors and, more, to
  // their sizes, so that now and then the columns are factored anew.
  KRF_HD void drop(int p) {
    double *const parts[] = {R_.value, R_.size};
    for (double *own : parts)
      for (int i = 0; i < size_; ++i)
        for (int j = i > p ? i - 1 : p; j + 1 < size_; ++j)
          row(own, i)[j] = row(own, i)[j + 1];
    for (int j = p; j + 1 < size_; ++j)
      columns_[j] = columns_[j + 1];
    --size_;
    if (++drops_ * kRowsOfDrop >= n_) {
      refactor();
      return;
    }
    for (int j = p; j < size_; ++j)
      rotate(j);
  }

  // z minimises |A z - y|, and r = y - A z.
  KRF_HD void fit(const double *y, double *z, double *r) {
    eliminate(y, 0);
    keep_signal(left_, size_, n_);
    solve(left_, change_);
    for (int i = 0; i < size_; ++i) {
      z[i] = z_.value[i] + change_.value[i];
      z_.size[i] = larger(z_.size[i], change_.size[i]);
    }
    fill(team_, 0.0, r, ldn_);
    fill(team_, 0.0, residual_size_, ldn_);
    for (int l = size_; l < n_; ++l) {
      const double c = left_.value[l];
      if (c == 0.0)
        continue;
      const double *q = column(Q_.value, l), *m = column(Q_.size, l);
      team_.for_each(ldn_, [&](int i) {
        write<T>(r + i, read<T>(r + i) + c * read<T>(q + i));
        const T own = c * read<T>(m + i);
        write<T>(residual_size_ + i, read<T>(residual_size_ + i) + own * own);
      });
    }
    roots(residual_size_, ldn_);
  }

  // Of the last fit.
  KRF_HD double coefficient_size(int k) const { return z_.size[k]; }
  // Size of x . r.
  KRF_HD double size_of_product(const double *x) {
    T sum = splat<T>(0.0);
    team_.for_each(ldn_, [&](int i) {
      const T term = read<T>(x + i) * read<T>(residual_size_ + i);
      sum += term * term;
    });
    return std::sqrt(team_.sum(sum));
  }

private:
  // One drop of as many rows: a factorisation then costs as much as that many fits.
  static constexpr int kRowsOfDrop = 64;

  // The column x, of which direct_ and left_ are known.
  KRF_HD void take_column(const double *x) {
    const int k = size_;
    for (int i = 0; i < k; ++i) {
      row(R_.value, i)[k] = direct_.value[i];
      row(R_.size, i)[k] = direct_.size[i];
    }
    reflect();
    columns_[k] = x;
    ++size_;
  }

  KRF_HD void refactor() {
    const int count = size_;
    clear();
    for (int k = 0; k < count; ++k) {
      eliminate(columns_[k], k); // they were found independent
      take_column(columns_[k]);
    }
  }

  KRF_HD static Sized take(Arena &arena, long long count) {
    return {arena.take(count), arena.take(count)};
  }
  KRF_HD double *column(double *Q, int l) const { return Q + static_cast<long long>(l) * ldn_; }
  KRF_HD double *row(double *R, int i) const { return R + static_cast<long long>(i) * ldr_; }
  KRF_HD static void roots(double *squares, int count) {
    for (int i = 0; i < count; ++i)
      squares[i] = std::sqrt(squares[i]);
  }

  // What is rounding becomes zero, and exact.  Returns whether anything is left.
  KRF_HD static bool keep_signal(const Sized &v, int from, int to) {
    bool some = false;
    for (int i = from; i < to; ++i) {
      if (std::fabs(v.value[i]) > kRounding * v.size[i])
        some = true;
      else
        v.value[i] = v.size[i] = 0;
    }
    return some;
  }

  KRF_HD bool exceeds(const Sized &v, double share) const {
    for (int i = 0; i < n_; ++i)
      if (std::fabs(v.value[i]) > share * v.size[i])
        return true;
    return false;
  }

  // direct_ = Q^T v, z_ fits v, and entries from `first` on of left_ = Q^T (v - A z) where rows
  // that fit are set to zero: what large rows, which fit, leave of their rounding does not enter
  // it.
  KRF_HD void eliminate(const double *v, int first) {
    team_.for_each(ldn_, [&](int i) {
      const T own = read<T>(v + i);
      write<T>(data_.value + i, own);
      write<T>(data_.size + i, absolute(own));
    });
    turn(0, size_, direct_);
    solve(direct_, z_);
    keep_signal(z_, 0, size_);
    for (int k = 0; k < size_; ++k) {
      const double *a = columns_[k];
      const double z = z_.value[k];
      team_.for_each(ldn_, [&](int i) {
        const T term = z * read<T>(a + i);
        write<T>(data_.value + i, read<T>(data_.value + i) - term);
        write<T>(data_.size + i, greater_of(read<T>(data_.size + i), absolute(term)));
      });
    }
    // A fit to large rows has errors of their condition number in small ones.
    if (!exceeds(data_, 4.0 * kRounding))
      fill(team_, 0.0, data_.value, ldn_);
    keep_signal(data_, 0, n_);
    turn(first, n_, left_);
  }

  // out_l = q_l . data_ for from <= l < to.
  KRF_HD void turn(int from, int to, const Sized &out) {
    for (int l = from; l < to; ++l) {
      const double *q = column(Q_.value, l), *m = column(Q_.size, l);
      T sum = splat<T>(0.0), squares = splat<T>(0.0);
      team_.for_each(ldn_, [&](int i) {
        const T x = read<T>(data_.value + i), own = read<T>(q + i);
        const T left = own * read<T>(data_.size + i), right = read<T>(m + i) * x;
        sum += own * x;
        squares += left * left + right * right;
      });
      out.value[l] = team_.sum(sum);
      out.size[l] = std::sqrt(team_.sum(squares));
    }
  }

  // z = R^-1 b
  KRF_HD void solve(const Sized &b, const Sized &z) {
    for (int i = size_ - 1; i >= 0; --i) {
      const double *R = row(R_.value, i), *m = row(R_.size, i);
      double sum = b.value[i], size = b.size[i];
      for (int j = i + 1; j < size_; ++j) {
        sum -= R[j] * z.value[j];
        size = larger(size, larger(std::fabs(R[j]) * z.size[j], m[j] * std::fabs(z.value[j])));
      }
      z.value[i] = sum / R[i];
      z.size[i] = larger(size, m[i] * std::fabs(z.value[i])) / std::fabs(R[i]);
    }
  }

  // Turns the last columns of Q, so that the first of them is along their sum with weights left_.
  // The length of that sum is the new diagonal entry of R.
  KRF_HD void reflect() {
    const int k = size_;
    int pivot = k;
    double squares = 0;
    for (int l = k; l < n_; ++l) {
      squares += square(left_.value[l]);
      if (std::fabs(left_.value[l]) > std::fabs(left_.value[pivot]))
        pivot = l;
    }
    const double length = std::sqrt(squares);
    exchange(k, pivot);
    double *v = left_.value, *m = left_.size, spread = 0;
    for (int l = k; l < n_; ++l) {
      v[l] /= length;
      m[l] /= length;
      spread += square(v[l] * m[l]);
    }
    spread = larger(std::sqrt(spread), 1.0);
    for (int l = k; l < n_; ++l)
      m[l] = larger(m[l], std::fabs(v[l]) * spread);
    const double sign = v[k] < 0.0 ? -1.0 : 1.0, factor = 1.0 / (1.0 + std::fabs(v[k]));
    v[k] += sign;
    m[k] = larger(m[k], 1.0);
    row(R_.value, k)[k] = -sign * length;
    row(R_.size, k)[k] = spread * length;
    combine(factor);
    for (int l = k; l < n_; ++l)
      if (v[l] != 0.0)
        subtract(v[l], m[l], l);
  }

  KRF_HD void exchange(int k, int pivot) {
    if (k == pivot)
      return;
    swap(left_.value[k], left_.value[pivot]);
    swap(left_.size[k], left_.size[pivot]);
    double *const parts[] = {Q_.value, Q_.size};
    for (double *own : parts) {
      double *a = column(own, k), *b = column(own, pivot);
      team_.for_each(ldn_, [&](int i) {
        const T u = read<T>(a + i), w = read<T>(b + i);
        write<T>(a + i, w);
        write<T>(b + i, u);
      });
    }
  }

  // weight_ = factor sum_l left_l q_l over the last columns.
  KRF_HD void combine(double factor) {
    fill(team_, 0.0, weight_.value, ldn_);
    fill(team_, 0.0, weight_.size, ldn_);
    for (int l = size_; l < n_; ++l) {
      const double v = factor * left_.value[l], size = factor * left_.size[l];
      if (v == 0.0)
        continue;
      const double *q = column(Q_.value, l), *m = column(Q_.size, l);
      team_.for_each(ldn_, [&](int i) {
        const T own = read<T>(q + i), left = v * read<T>(m + i), right = size * own;
        write<T>(weight_.value + i, read<T>(weight_.value + i) + v * own);
        write<T>(weight_.size + i, read<T>(weight_.size + i) + left * left + right * right);
      });
    }
    roots(weight_.size, ldn_);
  }

  // q_l -= v weight_
  KRF_HD void subtract(double v, double size, int l) {
    double *q = column(Q_.value, l), *m = column(Q_.size, l);
    const double most = std::fabs(v);
    team_.for_each(ldn_, [&](int i) {
      const T w = read<T>(weight_.value + i);
      const T own = greater_of(most * read<T>(weight_.size + i), size * absolute(w));
      write<T>(m + i, greater_of(read<T>(m + i), own));
      write<T>(q + i, read<T>(q + i) - v * w);
    });
    limit(l);
  }

  // Sizes grow as if errors never cancelled; they stay below those of a graded matrix.
  KRF_HD void limit(int l) {
    const double *q = column(Q_.value, l);
    double *m = column(Q_.size, l), level = 0;
    for (int i = 0; i < n_; ++i)
      level = larger(level, units_[i] * std::fabs(q[i]));
    for (int i = 0; i < n_; ++i) {
      const double share = units_[i] / level;
      m[i] = smaller(m[i], larger(std::fabs(q[i]), smaller(share, 1.0 / share)));
    }
  }

  // A rotation by the angle with cosine c and sine s, and the sizes of these.
  struct Rotation {
    double c, s, c_size, s_size;

    template <class V> KRF_HD void apply(V &u, V &w, V &u_size, V &w_size) const {
      const V first = greater_of(greater_of(std::fabs(c) * u_size, std::fabs(s) * w_size),
                                 greater_of(c_size * absolute(u), s_size * absolute(w)));
      const V second = greater_of(greater_of(std::fabs(c) * w_size, std::fabs(s) * u_size),
                                  greater_of(c_size * absolute(w), s_size * absolute(u)));
      const V turned = c * u + s * w;
      w = c * w - s * u;
      u = turned;
      u_size = first;
      w_size = second;
    }
  };

  // Makes entry (j + 1, j) of R zero.
  KRF_HD void rotate(int j) {
    double *upper = row(R_.value, j), *lower = row(R_.value, j + 1);
    double *upper_size = row(R_.size, j), *lower_size = row(R_.size, j + 1);
    keep_signal({upper, upper_size}, j, j + 1);
    const double length = std::sqrt(square(upper[j]) + square(lower[j]));
    const double c = upper[j] / length, s = lower[j] / length;
    const double up = upper_size[j] / length, low = lower_size[j] / length;
    const Rotation rotation{c, s, larger(std::fabs(c), larger(s * s * up, std::fabs(c * s) * low)),
                            larger(std::fabs(s), larger(c * c * low, std::fabs(c * s) * up))};
    for (int l = j; l < size_; ++l)
      rotation.apply(upper[l], lower[l], upper_size[l], lower_size[l]);
    lower[j] = lower_size[j] = 0;
    double *a = column(Q_.value, j), *b = column(Q_.value, j + 1);
    double *a_size = column(Q_.size, j), *b_size = column(Q_.size, j + 1);
    team_.for_each(ldn_, [&](int i) {
      T u = read<T>(a + i), w = read<T>(b + i), m = read<T>(a_size + i), k = read<T>(b_size + i);
      rotation.apply(u, w, m, k);
      write<T>(a + i, u);
      write<T>(b + i, w);
      write<T>(a_size + i, m);
      write<T>(b_size + i, k);
    });
    limit(j);
    limit(j + 1);
  }

  TeamT &team_;
  const double *units_;
  int n_, most_, ldn_, ldr_, size_ = 0, drops_ = 0;
  Sized Q_, R_; // columns of Q and rows of R, one after the other
  const double **columns_;
  Sized data_, direct_, left_, z_, change_, weight_;
  double *residual_size_;
};

KRF_END_NAMESPACE
