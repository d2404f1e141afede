// The flow of a factorisation W = [U; V] conserves U^T U - V^T V. Integration errors change it
// slightly; results are written with its initial value restored, in the same basis of columns.
#pragma once

#include "../team.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class Balance {
  using T = typename TeamT::Value;
  static constexpr int kNewton = 5;
  static constexpr int kIterations = 60;
  static constexpr double kShare = 1e-9;  // of the defect, left by the conjugate gradients
  static constexpr int kTerms = 5;        // of (I + L)^-1 beyond I - L
  static constexpr double kLargest = 0.1; // norm of an L, so that few terms will do
  static constexpr double kNoise = 16.0;  // roundings in a rotated imbalance

public:
  KRF_HD Balance(TeamT &team, int n, int r, int c0, Arena &arena)
      : team_(team), n_(n), r_(r), c0_(c0), ldr_(padded(r)), size_(r * ldr_),
        imbalance_(square(arena)), target_(square(arena)), defect_(square(arena)),
        scaled_(square(arena)), column_gram_(square(arena)), L_(square(arena)),
        direction_(square(arena)), product_(square(arena)), image_(square(arena)),
        moved_(take_matrix(arena, n, ldr_)), next_(take_matrix(arena, n, ldr_)),
        best_(take_matrix(arena, n, ldr_)) {}

  KRF_HD void start(const double *W) { imbalance_of({W, ldr_}, imbalance_); }

  // Turns U into U (I + L) and V into V (I + L)^-1, L symmetric, which leaves U V^T alone, so that
  // U^T U - V^T V has its first value: Newton on the defect E, G L + L G = E with G = A^T A, by
  // conjugate gradients.  As the columns are nearly orthogonal, dividing E_ij by G_ii + G_jj is a
  // good preconditioner, and one that leaves every column its own relative accuracy.
  KRF_HD void restore(double *factor, ConstMatrix Q) {
    if (c0_ == 0)
      return;
    const Matrix A{factor, ldr_};
    rotate_target(Q);
    const double noise = kNoise * kEpsilon * norm(team_, imbalance_.data, size_);
    double before = kInfinity;
    for (int newton = 0; newton < kNewton; ++newton) {
      find_defect(A, noise);
      precondition();
      const double worst = largest_scaled();
      if (!(worst < before)) {
        copy(team_, best_.data, A.data, n_ * ldr_);
        return;
      }
      if (worst < 0.5 * kEpsilon || newton == kNewton - 1)
        return;
      before = worst;
      copy(team_, A.data, best_.data, n_ * ldr_);
      solve();
      apply(A);
    }
  }

private:
  KRF_HD Matrix square(Arena &arena) const { return take_matrix(arena, r_, ldr_); }

  // target = Q^T imbalance Q
  KRF_HD void rotate_target(ConstMatrix Q) {
    combine(imbalance_, r_, Q, image_);
    team_.for_rows(r_, ldr_, [&](int i, int c) {
      T sum = splat<T>(0.0);
      for (int k = 0; k < r_; ++k)
        sum += Q(k, i) * read<T>(image_.row(k) + c);
      write(target_.row(i) + c, sum);
    });
  }

  KRF_HD void find_defect(ConstMatrix A, double noise) {
    imbalance_of(A, image_);
    products_of(A, 1.0, column_gram_);
    team_.each(size_, [&](int e) {
      const int i = e / ldr_, j = e % ldr_;
      const double off =
          j < r_ ? 0.5 * (target_(i, j) + target_(j, i)) - 0.5 * (image_(i, j) + image_(j, i))
                 : 0.0;
      // The target of columns much smaller than others is only rounding.
      defect_.data[e] = std::fabs(off) > noise ? off : 0.0;
    });
  }

  // scaled = preconditioner defect
  KRF_HD void precondition() {
    team_.each(size_, [&](int e) {
      const int i = e / ldr_, j = e % ldr_;
      const double both = j < r_ ? column_gram_(i, i) + column_gram_(j, j) : 0.0;
      scaled_.data[e] = both > 0 ? defect_.data[e] / both : 0.0;
    });
  }
  KRF_HD double largest_scaled() {
    T largest = splat<T>(0.0);
    team_.for_each(
        size_, [&](int i) { largest = greater_of(largest, absolute(read<T>(scaled_.data + i))); });
    return team_.max(largest);
  }

  // L from defect, which is used up.
  KRF_HD void solve() {
    fill(team_, 0.0, L_.data, size_);
    copy(team_, scaled_.data, direction_.data, size_);
    double weight = team_.dot(defect_.data, scaled_.data, size_);
    const double enough = weight * kShare * kShare;
    for (int iteration = 0; iteration < kIterations && weight > enough; ++iteration) {
      // G P, P symmetric: rows of one against rows of the other.
      team_.products(column_gram_.data, ldr_, r_, direction_.data, ldr_, r_, ldr_, product_.data,
                     ldr_, false);
      team_.each(size_, [&](int e) {
        const int i = e / ldr_, j = e % ldr_;
        image_.data[e] = j < r_ ? product_(i, j) + product_(j, i) : 0.0;
      });
      const double curvature = team_.dot(direction_.data, image_.data, size_);
      if (!(curvature > 0.0))
        return;
      const double step = weight / curvature;
      team_.for_each(size_, [&](int i) {
        write(L_.data + i, read<T>(L_.data + i) + step * read<T>(direction_.data + i));
        write(defect_.data + i, read<T>(defect_.data + i) - step * read<T>(image_.data + i));
      });
      precondition();
      const double next = team_.dot(defect_.data, scaled_.data, size_);
      const double ratio = next / weight;
      weight = next;
      team_.for_each(size_, [&](int i) {
        write(direction_.data + i,
              read<T>(scaled_.data + i) + ratio * read<T>(direction_.data + i));
      });
    }
  }

  // A = [U (I + L); V (I + L)^-1], the inverse by its series: L is of the size of an error, or
  // made smaller.
  KRF_HD void apply(Matrix A) {
    const double size = norm(team_, L_.data, size_);
    if (size > kLargest)
      scale(team_, kLargest / size, L_.data, size_);
    combine(A, n_, L_, moved_);
    team_.for_rows(n_, ldr_, [&](int i, int c) {
      const double sign = i < c0_ ? 1.0 : -1.0;
      write(A.row(i) + c, read<T>(A.row(i) + c) + sign * read<T>(moved_.row(i) + c));
    });
    for (int term = 0; term < kTerms; ++term) {
      const bool even = term % 2 == 0;
      const double sign = even ? 1.0 : -1.0;
      const Matrix power = even ? next_ : moved_;
      combine(even ? moved_ : next_, n_, L_, power);
      team_.for_rows(n_, ldr_, [&](int i, int c) {
        if (i >= c0_)
          write(A.row(i) + c, read<T>(A.row(i) + c) + sign * read<T>(power.row(i) + c));
      });
    }
  }

  // out_i = sum_k rows_ik B_k over the r rows of B, for `count` rows.
  KRF_HD void combine(ConstMatrix rows, int count, ConstMatrix B, Matrix out) {
    team_.for_rows(count, ldr_, [&](int i, int c) {
      T sum = splat<T>(0.0);
      for (int k = 0; k < r_; ++k)
        sum += rows(i, k) * read<T>(B.row(k) + c);
      write(out.row(i) + c, sum);
    });
  }

  // A^T diag(1, right_sign) A with the sign for V's rows.
  KRF_HD void products_of(ConstMatrix A, double right_sign, Matrix out) {
    team_.for_rows(r_, ldr_, [&](int a, int c) {
      T sum = splat<T>(0.0);
      for (int i = 0; i < n_; ++i) {
        const double left = A(i, a);
        sum += (i < c0_ ? left : right_sign * left) * read<T>(A.row(i) + c);
      }
      write(out.row(a) + c, sum);
    });
  }
  KRF_HD void imbalance_of(ConstMatrix A, Matrix out) { products_of(A, -1.0, out); }

  TeamT &team_;
  int n_, r_, c0_, ldr_, size_;
  Matrix imbalance_, target_; // at the start, and in the present basis of columns
  Matrix defect_, scaled_, column_gram_;
  Matrix L_, direction_, product_, image_; // of the conjugate gradients
  Matrix moved_, next_, best_;             // as large as a factor
};

KRF_END_NAMESPACE
