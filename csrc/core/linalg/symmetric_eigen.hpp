// Eigenvalues and eigenvectors of a symmetric matrix: Householder's tridiagonal form, then implicit
// QR with Wilkinson's shift.  Errors are a modest multiple of the unit roundoff times the largest
// eigenvalue.
//
// Golub & Van Loan, Matrix Computations, sections 8.3.1 and 8.3.3.
#pragma once

#include "../team.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class SymmetricEigen {
  using T = typename TeamT::Value;

public:
  int n, ld;
  double *value; // (n), in no order
  Matrix vector; // row i is the eigenvector of value[i]

  KRF_HD SymmetricEigen(TeamT &team, int size, Arena &arena)
      : n(size), ld(padded(size)), value(arena.take(ld)), vector(take_matrix(arena, size, ld)),
        team_(team), below_(arena.take(ld)), v_(arena.take(ld)), p_(arena.take(ld)),
        turn_(arena.take(2 * ld)) {}

  // A (n rows of ld, zero in the padding) is destroyed.  False where it does not converge.
  KRF_HD KRF_APART bool decompose(double *A) {
    const double unit = scale_to_one({A, ld});
    tridiagonalise({A, ld});
    const bool found = diagonalise();
    team_.each(n, [&](int i) { value[i] *= unit; });
    return found;
  }

  // The same by a library that is faster where n is large, if the team has one for it.
  KRF_HD KRF_APART bool decompose_by_library(double *A) {
    if constexpr (requires { team_.decompose(A, ld, n, value); })
      if (team_.has_library_for(n)) {
        if (!team_.decompose(A, ld, n, value))
          return false;
        copy(team_, A, vector.data, n * ld);
        return true;
      }
    return decompose(A);
  }

private:
  static constexpr int kIterationsPerValue = 60;
  // Of the sum of the diagonal and the largest entry, in magnitude: an entry below this is zero.
  static constexpr double kNegligible = 0.01 * kEpsilon;
  static constexpr int kMostPower = 1000; // of two, whose inverse is a number too

  // Squares of entries are formed: a power of two makes the largest of them about one.  Returns
  // what undoes it.
  KRF_HD double scale_to_one(Matrix A) {
    T most = splat<T>(0.0);
    team_.for_each(n * ld, [&](int i) { most = greater_of(most, absolute(read<T>(A.data + i))); });
    const double largest = team_.max(most);
    const int exponent = largest > 0.0 && largest < kInfinity ? std::ilogb(largest) : 0;
    const int power =
        exponent < -kMostPower ? -kMostPower : (exponent > kMostPower ? kMostPower : exponent);
    scale(team_, std::ldexp(1.0, -power), A.data, n * ld);
    double size = std::ldexp(largest, -power);
    for (int i = 0; i < n; ++i)
      size += std::fabs(A(i, i));
    team_.sync();
    negligible_ = kNegligible * size;
    return std::ldexp(1.0, power);
  }
  // Reflections I - 2 v v' from the last row up; `vector` collects their product.
  KRF_HD void tridiagonalise(Matrix A) {
    fill(team_, 0.0, vector.data, n * ld);
    team_.each(n, [&](int i) { vector(i, i) = 1.0; });
    for (int k = n - 1; k > 0; --k)
      reflect_row(A, k);
    team_.each(n, [&](int i) { value[i] = A(i, i); });
  }
  // Leaves row k of the leading block with its diagonal and the entry before it.
  KRF_HD void reflect_row(Matrix A, int k) {
    double *row = A.row(k);
    const double before = row[k - 1];
    double rest = 0; // of the entries to be removed
    for (int i = 0; i < k - 1; ++i)
      rest += row[i] * row[i];
    team_.sync();
    if (rest <= negligible_ * negligible_) {
      team_.once([&] { below_[k] = before; });
      return;
    }
    const double norm = std::sqrt(rest + before * before);
    const double target = before > 0 ? -norm : norm;
    const double lead = before - target;
    const double scale = 1.0 / std::sqrt(rest + lead * lead);
    team_.each(ld, [&](int i) {
      v_[i] = i < k - 1 ? scale * row[i] : i == k - 1 ? scale * lead : 0.0;
    });
    team_.once([&] { below_[k] = target; });
    apply_reflection(A, k);
  }
  // To the leading k rows and columns of A, and to the vectors.
  KRF_HD void apply_reflection(Matrix A, int k) {
    // A <- A - v q' - q v' with q = 2 (p - (v.p) v), p = A v.
    team_.products(A.data, ld, k, v_, ld, 1, ld, p_, 1, false);
    team_.each(ld - k, [&](int i) { p_[k + i] = 0.0; });
    const double along = team_.dot(v_, p_, ld);
    team_.for_each(
        ld, [&](int i) { write(p_ + i, 2.0 * (read<T>(p_ + i) - along * read<T>(v_ + i))); });
    team_.for_rows(k, ld, [&](int r, int i) {
      double *a = A.row(r) + i;
      write(a, read<T>(a) - v_[r] * read<T>(p_ + i) - p_[r] * read<T>(v_ + i));
    });
    // Rows of `vector` are reflected as the basis is: vector <- (I - 2 v v') vector.
    team_.combine(v_, 0, 1, 1, k, vector.data, ld, ld, p_, ld, false);
    team_.for_rows(k, ld, [&](int r, int i) {
      double *q = vector.row(r) + i;
      write(q, read<T>(q) - (2.0 * v_[r]) * read<T>(p_ + i));
    });
  }

  // below_[i] couples i - 1 and i.
  KRF_HD bool diagonalise() {
    int end = n - 1, iterations = 0; // value[end] is sought
    while (end > 0) {
      int begin = end;
      while (begin > 0) {
        const double size = std::fabs(value[begin]) + std::fabs(value[begin - 1]);
        if (std::fabs(below_[begin]) <= larger(kEpsilon * size, negligible_))
          break;
        --begin;
      }
      team_.sync();
      if (begin == end) {
        --end;
        iterations = 0;
        continue;
      }
      if (++iterations > kIterationsPerValue)
        return false;
      team_.once([&] { chase(begin, end); });
      // Rotation i turns vectors i and i + 1.
      team_.for_each(ld, [&](int c) {
        T low = read<T>(vector.row(begin) + c);
        for (int i = begin; i < end; ++i) {
          const double cosine = turn_[2 * i], sine = turn_[2 * i + 1];
          double *next = vector.row(i + 1) + c;
          const T high = read<T>(next);
          write(vector.row(i) + c, cosine * low - sine * high);
          low = sine * low + cosine * high;
        }
        write(vector.row(end) + c, low);
      });
    }
    return true;
  }

  // One implicit QR iteration on rows begin .. end, shifted towards value[end].
  KRF_HD void chase(int begin, int end) {
    const double half = 0.5 * (value[end - 1] - value[end]), b = below_[end];
    const double root = std::sqrt(half * half + b * b);
    const double shift = value[end] - b * (b / (half + (half < 0 ? -root : root)));
    double x = value[begin] - shift, z = below_[begin + 1];
    for (int i = begin; i < end; ++i) {
      const double r = std::sqrt(x * x + z * z);
      const double c = r > 0 ? x / r : 1.0, s = r > 0 ? -z / r : 0.0;
      turn_[2 * i] = c, turn_[2 * i + 1] = s;
      if (i > begin)
        below_[i] = r;
      const double p = value[i], q = value[i + 1], e = below_[i + 1];
      value[i] = c * c * p - 2.0 * c * s * e + s * s * q;
      value[i + 1] = s * s * p + 2.0 * c * s * e + c * c * q;
      below_[i + 1] = c * s * (p - q) + (c * c - s * s) * e;
      if (i + 1 < end) {
        x = below_[i + 1];
        z = -s * below_[i + 2];
        below_[i + 2] *= c;
      }
    }
  }

  TeamT &team_;
  double negligible_ = 0; // of the elements, against the whole matrix
  double *below_, *v_, *p_, *turn_;
};

KRF_END_NAMESPACE
