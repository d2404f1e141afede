// The inverse of a symmetric positive definite matrix, and the product of a symmetric matrix with a
// few vectors.  Both read the lower triangle alone, half of the matrix.
//
// Storage as in symmetric_update.hpp: the tiles there keep diagonal blocks of kTile columns whole.
#pragma once

#include "symmetric_update.hpp"

KRF_BEGIN_NAMESPACE

inline constexpr int kPivots = 8; // eliminated together

// Doubles of scratch that invert_symmetric needs.
inline long long inverse_room(int ld) { return (kPivots + 1LL) * ld; }

namespace inverse_parts {

// Eliminates the columns v_k of a panel B with the pivot block P in turn.  Afterwards
// sum_k v_k v_k^T / d_k = B P^-1 B^T with the pivots d_k = -1 / weight_k.  False where the matrix
// is not definite.
inline bool eliminate(double *const *v, int ld, int start, int width, const double *diagonal,
                      double *weight, double &worst) {
  for (int k = 0; k < width; ++k) {
    for (int j = 0; j < k; ++j) {
      const double scale = v[j][start + k] * weight[j];
      for (int i = 0; i < ld; i += kWidth)
        write<Lanes>(v[k] + i, read<Lanes>(v[k] + i) + scale * read<Lanes>(v[j] + i));
    }
    const double pivot = v[k][start + k], ratio = pivot / diagonal[start + k];
    if (!(pivot > 0.0) || !(ratio > 0.0))
      return false;
    worst = smaller(worst, ratio);
    weight[k] = -1.0 / pivot;
  }
  return true;
}

// From v to B P^-1, and in the rows of the pivots to -P^-1.
inline void solve_panel(double *const *v, int ld, int start, int width, const double *weight) {
  double L[kPivots][kPivots] = {}, L_inverse[kPivots][kPivots] = {};
  for (int k = 0; k < width; ++k)
    for (int m = k + 1; m < width; ++m)
      L[m][k] = -weight[k] * v[k][start + m];
  for (int k = 0; k < width; ++k) {
    L_inverse[k][k] = 1.0;
    for (int m = k + 1; m < width; ++m)
      for (int j = k; j < m; ++j)
        L_inverse[m][k] -= L[m][j] * L_inverse[j][k];
  }
  for (int k = 0; k < width; ++k)
    for (int i = 0; i < width; ++i)
      v[k][start + i] = -L_inverse[k][i];
  for (int k = width - 1; k >= 0; --k)
    for (int i = 0; i < ld; i += kWidth) {
      Lanes sum = -weight[k] * read<Lanes>(v[k] + i);
      for (int m = k + 1; m < width; ++m)
        sum -= L[m][k] * read<Lanes>(v[m] + i);
      write<Lanes>(v[k] + i, sum);
    }
}

} // namespace inverse_parts

// A <- A^-1 by symmetric Gauss-Jordan elimination in blocks: after a block, its rows and columns
// hold the negative inverse of what was eliminated so far.  Returns the smallest ratio of a pivot
// to its diagonal entry, as factor_ldlt does; not positive if A is not definite.
inline double invert_symmetric(double *A, int ld, int n, double *scratch) {
  double *diagonal = scratch, *v[kPivots], weight[kPivots], worst = 1.0;
  for (int k = 0; k < kPivots; ++k)
    v[k] = scratch + (k + 1LL) * ld;
  for (int i = 0; i < n; ++i)
    diagonal[i] = A[static_cast<long long>(i) * ld + i];
  for (int start = 0; start < n; start += kPivots) {
    const int width = n - start < kPivots ? n - start : kPivots;
    for (int i = 0; i < start + width; ++i)
      for (int k = i < start ? 0 : i - start; k < width; ++k)
        v[k][i] = A[static_cast<long long>(i) * ld + start + k];
    for (int k = 0; k < width; ++k)
      for (int i = start + k + 1; i < ld; ++i)
        v[k][i] = A[(start + static_cast<long long>(k)) * ld + i];
    if (!inverse_parts::eliminate(v, ld, start, width, diagonal, weight, worst))
      return -1.0;
    update_symmetric(A, ld, 0, ld, v, weight, width);
    inverse_parts::solve_panel(v, ld, start, width, weight);
    for (int i = 0; i < start; ++i)
      for (int k = 0; k < width; ++k)
        A[static_cast<long long>(i) * ld + start + k] = v[k][i];
    for (int k = 0; k < width; ++k)
      for (int i = start; i < ld; ++i)
        A[(start + static_cast<long long>(k)) * ld + i] = v[k][i];
  }
  for (long long i = 0; i < static_cast<long long>(ld) * ld; i += kWidth)
    write<Lanes>(A + i, 0.0 - read<Lanes>(A + i));
  return worst;
}

// out_k = A x_k for K vectors, ld apart; of A, what lies in the columns first_column ..
// last_column, multiples of 8, on and below the diagonal, and its mirror image.  Rows of out above
// first_column stay as they are.
template <int K>
inline void multiply_symmetric(const double *A, int ld, int first_column, int last_column,
                               const double *x, double *out) {
  constexpr int kColumns = kWidth == 8 ? 4 : kWidth == 4 ? 2 : 1;
  for (int k = 0; k < K; ++k)
    for (int i = first_column; i < ld; i += kWidth)
      write<Lanes>(out + k * ld + i, Lanes{});
  for (int column = first_column; column < last_column; column += kWidth) {
    double below[K][kWidth]; // products with the columns of this block, below the diagonal one
    for (int first = 0; first < kWidth; first += kColumns) {
      const double *a = A + (column + static_cast<long long>(first)) * ld;
      Lanes coefficient[K][kColumns], dot[K][kColumns] = {};
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int j = 0; j < kColumns; ++j)
          coefficient[k][j] = splat<Lanes>(x[k * ld + column + first + j]);
      { // the diagonal block is whole
        Lanes sum[K];
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
          sum[k] = read<Lanes>(out + k * ld + column);
#pragma GCC unroll 4
        for (int j = 0; j < kColumns; ++j) {
          const Lanes aj = read<Lanes>(a + static_cast<long long>(j) * ld + column);
#pragma GCC unroll 4
          for (int k = 0; k < K; ++k)
            sum[k] += aj * coefficient[k][j];
        }
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
          write<Lanes>(out + k * ld + column, sum[k]);
      }
      for (int i = column + kWidth; i < ld; i += kWidth) {
        Lanes sum[K], xi[K];
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k) {
          sum[k] = read<Lanes>(out + k * ld + i);
          xi[k] = read<Lanes>(x + k * ld + i);
        }
#pragma GCC unroll 4
        for (int j = 0; j < kColumns; ++j) {
          const Lanes aj = read<Lanes>(a + static_cast<long long>(j) * ld + i);
#pragma GCC unroll 4
          for (int k = 0; k < K; ++k) {
            sum[k] += aj * coefficient[k][j];
            dot[k][j] += aj * xi[k];
          }
        }
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
          write<Lanes>(out + k * ld + i, sum[k]);
      }
      each_sum(dot, [&](int k, int j, double total) { below[k][first + j] = total; });
    }
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k) {
      double *to = out + k * ld + column;
      write<Lanes>(to, read<Lanes>(to) + read<Lanes>(below[k]));
    }
  }
}

KRF_END_NAMESPACE
