// A += sum_k w_k x_k x_k^T on the lower triangle, real or complex: the one dense kernel behind the
// scaled Gram product and the trailing update of the factorisations.
//
// Matrices are stored by columns, ld x ld, lower triangle; columns x_k are contiguous.  A tile
// (with AVX-512: 16 x 8, complex 8 x 8) stays in registers while all columns pass.
#pragma once

#include "lanes.hpp"

KRF_BEGIN_NAMESPACE

inline constexpr int kTile = kWidth == 8 ? 8 : 4;        // columns of a tile
inline constexpr int kComplexTile = kWidth == 8 ? 8 : 2; // the same, complex

template <int R>
inline void update_tile(double *A, int ld, int row, int column, const double *const *x,
                        const double *w, int count) {
  Lanes sum[kTile][R] = {};
  for (int k = 0; k < count; ++k) {
    const double *xk = x[k];
    Lanes scaled[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
      scaled[r] = w[k] * read<Lanes>(xk + row + kWidth * r);
#pragma GCC unroll 8
    for (int j = 0; j < kTile; ++j) {
      const Lanes xj = splat<Lanes>(xk[column + j]);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
        sum[j][r] += scaled[r] * xj;
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < kTile; ++j)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      double *a = A + static_cast<long long>(column + j) * ld + row + kWidth * r;
      write<Lanes>(a, read<Lanes>(a) + sum[j][r]);
    }
}

// Rows and columns from `first` (a multiple of 8) up to ld.
inline void update_symmetric(double *A, int ld, int first, const double *const *x, const double *w,
                             int count) {
  constexpr int kBlock = 64; // columns x_k kept close while the tiles pass over them
  for (int k = 0; k < count; k += kBlock) {
    const int part = count - k < kBlock ? count - k : kBlock;
    for (int column = first; column < ld; column += kTile) {
      int row = column / kWidth * kWidth;
      for (; row + 2 * kWidth <= ld; row += 2 * kWidth)
        update_tile<2>(A, ld, row, column, x + k, w + k, part);
      if (row < ld)
        update_tile<1>(A, ld, row, column, x + k, w + k, part);
    }
  }
}

// Complex matrices keep real and imaginary parts in two planes.
inline void update_complex_tile(double *Ar, double *Ai, int ld, int row, int column,
                                const double *xr, const double *xi, int stride, const double *wr,
                                const double *wi, int count) {
  Lanes sr[kComplexTile] = {}, si[kComplexTile] = {};
  for (int k = 0; k < count; ++k) {
    const double *pr = xr + static_cast<long long>(k) * stride,
                 *pi = xi + static_cast<long long>(k) * stride;
    const Lanes vr = read<Lanes>(pr + row), vi = read<Lanes>(pi + row);
    const Lanes ur = wr[k] * vr - wi[k] * vi, ui = wr[k] * vi + wi[k] * vr;
#pragma GCC unroll 8
    for (int j = 0; j < kComplexTile; ++j) {
      const Lanes cr = splat<Lanes>(pr[column + j]), ci = splat<Lanes>(pi[column + j]);
      sr[j] += ur * cr;
      si[j] += ur * ci;
      sr[j] -= ui * ci;
      si[j] += ui * cr;
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < kComplexTile; ++j) {
    const long long at = static_cast<long long>(column + j) * ld + row;
    write<Lanes>(Ar + at, read<Lanes>(Ar + at) + sr[j]);
    write<Lanes>(Ai + at, read<Lanes>(Ai + at) + si[j]);
  }
}

KRF_END_NAMESPACE
