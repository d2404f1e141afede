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
inline constexpr int kComplexRows = kWidth == 8 ? 1 : 2; // registers of rows

// The entries of a tile in registers, R of rows and kTile columns, and back.
template <int R>
[[gnu::always_inline]] inline void read_tile(const double *A, long long ld,
                                             Lanes (&tile)[kTile][R]) {
#pragma GCC unroll 8
  for (int j = 0; j < kTile; ++j)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
      tile[j][r] = read<Lanes>(A + j * ld + kWidth * r);
}
template <int R>
[[gnu::always_inline]] inline void write_tile(double *A, long long ld,
                                              const Lanes (&tile)[kTile][R]) {
#pragma GCC unroll 8
  for (int j = 0; j < kTile; ++j)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
      write<Lanes>(A + j * ld + kWidth * r, tile[j][r]);
}
// tile += a b' for R registers a and kTile numbers b.
template <int R>
[[gnu::always_inline]] inline void add_outer(const Lanes (&a)[R], const double *b,
                                             Lanes (&tile)[kTile][R]) {
#pragma GCC unroll 8
  for (int j = 0; j < kTile; ++j) {
    const Lanes bj = splat<Lanes>(b[j]);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
      tile[j][r] += a[r] * bj;
  }
}
// A += tile
template <int R>
[[gnu::always_inline]] inline void add_tile(double *A, long long ld,
                                            const Lanes (&tile)[kTile][R]) {
#pragma GCC unroll 8
  for (int j = 0; j < kTile; ++j)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      double *a = A + j * ld + kWidth * r;
      write<Lanes>(a, read<Lanes>(a) + tile[j][r]);
    }
}

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
    add_outer(scaled, xk + column, sum);
  }
  add_tile(A + static_cast<long long>(column) * ld + row, ld, sum);
}

// Rows and columns from `first` up to `end`, multiples of 8.
inline void update_symmetric(double *A, int ld, int first, int end, const double *const *x,
                             const double *w, int count) {
  constexpr int kBlock = 64; // columns x_k kept close while the tiles pass over them
  for (int k = 0; k < count; k += kBlock) {
    const int part = count - k < kBlock ? count - k : kBlock;
    for (int column = first; column < end; column += kTile) {
      int row = column / kWidth * kWidth;
      for (; row + 2 * kWidth <= end; row += 2 * kWidth)
        update_tile<2>(A, ld, row, column, x + k, w + k, part);
      if (row < end)
        update_tile<1>(A, ld, row, column, x + k, w + k, part);
    }
  }
}

// Complex matrices keep real and imaginary parts in two planes, `count` <= 8 columns x_k ld apart.
// Rows from `row` on, kComplexRows registers of them, of the columns from `first` to the diagonal
// or to `end`: the weights are multiplied in once for all of these.
inline void update_complex_rows(double *Ar, double *Ai, int ld, int row, int first, int end,
                                const double *xr, const double *xi, const double *wr,
                                const double *wi, int count) {
  Lanes ur[8][kComplexRows], ui[8][kComplexRows];
  for (int k = 0; k < count; ++k)
    for (int r = 0; r < kComplexRows; ++r) {
      const long long at = static_cast<long long>(k) * ld + row + kWidth * r;
      const Lanes vr = read<Lanes>(xr + at), vi = read<Lanes>(xi + at);
      ur[k][r] = wr[k] * vr - wi[k] * vi;
      ui[k][r] = wr[k] * vi + wi[k] * vr;
    }
  const int diagonal = row + kComplexRows * kWidth, last = diagonal < end ? diagonal : end;
  for (int column = first; column < last; column += kComplexTile) {
    Lanes sr[kComplexTile][kComplexRows] = {}, si[kComplexTile][kComplexRows] = {};
    for (int k = 0; k < count; ++k) {
      const double *pr = xr + static_cast<long long>(k) * ld + column,
                   *pi = xi + static_cast<long long>(k) * ld + column;
#pragma GCC unroll 8
      for (int j = 0; j < kComplexTile; ++j) {
        const Lanes cr = splat<Lanes>(pr[j]), ci = splat<Lanes>(pi[j]);
#pragma GCC unroll 2
        for (int r = 0; r < kComplexRows; ++r) {
          sr[j][r] += ur[k][r] * cr;
          si[j][r] += ur[k][r] * ci;
          sr[j][r] -= ui[k][r] * ci;
          si[j][r] += ui[k][r] * cr;
        }
      }
    }
#pragma GCC unroll 8
    for (int j = 0; j < kComplexTile; ++j)
#pragma GCC unroll 2
      for (int r = 0; r < kComplexRows; ++r) {
        const long long at = static_cast<long long>(column + j) * ld + row + kWidth * r;
        write<Lanes>(Ar + at, read<Lanes>(Ar + at) + sr[j][r]);
        write<Lanes>(Ai + at, read<Lanes>(Ai + at) + si[j][r]);
      }
  }
}

KRF_END_NAMESPACE
