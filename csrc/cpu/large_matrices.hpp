// L D L^T and the inverse of a symmetric positive definite matrix that is larger than the second
// cache: what ldlt.hpp and symmetric_inverse.hpp do with eight columns at a time, with kPanel, in
// pieces that threads share.
//
// A panel B = A[:, panel] with its diagonal block P = L D L^T is turned into Y = B L^-T, so that
// B P^-1 B^T = Y D^-1 Y^T is an update like that of the Gram matrix.  Storage, and what is
// returned, are those of the two files.
#pragma once

#include "ldlt.hpp"
#include "packed_update.hpp"
#include "symmetric_inverse.hpp"

KRF_BEGIN_NAMESPACE

namespace panels {

inline constexpr int kPanel = 128;
inline constexpr int kRowsOfStrip = 256; // of a panel

// Unit L of a diagonal block: by columns for the way forward, by rows for the way back.  Padded by
// the identity to a whole number of tiles.
struct Triangle {
  double *by_columns, *by_rows; // kPanel apart
  int width;

  // From the factor that factor_ldlt left in A.
  Triangle(double *memory, const double *A, int ld, int width_)
      : by_columns(memory), by_rows(memory + kPanel * kPanel), width(padded(width_)) {
    for (int k = 0; k < width; ++k)
      for (int j = 0; j < width; ++j) {
        const bool below = j > k && j < width_;
        const double l = below ? A[static_cast<long long>(k) * ld + j] : 0.0;
        by_columns[k * kPanel + j] = by_rows[j * kPanel + k] = l;
      }
  }
};
inline constexpr std::size_t kTriangleRoom = 2 * kPanel * kPanel;

// tile -= sum_k y_k l_k' for the solved columns y_k, first .. last, and rows l_k of kTile numbers.
template <int R>
[[gnu::always_inline]] inline void subtract_solved(const Lanes (*y)[R], const double *l, int first,
                                                   int last, Lanes (&tile)[kTile][R]) {
  for (int k = first; k < last; ++k) {
    Lanes minus[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
      minus[r] = -y[k][r];
    add_outer(minus, l + k * kPanel, tile);
  }
}
template <int R>
[[gnu::always_inline]] inline void keep_solved(const Lanes (&tile)[kTile][R], Lanes (*y)[R]) {
#pragma GCC unroll 8
  for (int j = 0; j < kTile; ++j)
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
      y[j][r] = tile[j][r];
}

// R registers of rows of B, whose columns are ld apart: B <- B L^-T.
template <int R> inline void forward(const Triangle &L, double *B, long long ld) {
  Lanes y[kPanel][R], tile[kTile][R];
  for (int first = 0; first < L.width; first += kTile) {
    read_tile(B + first * ld, ld, tile);
    subtract_solved(y, L.by_columns + first, 0, first, tile);
    for (int k = 0; k < kTile; ++k)
      for (int j = k + 1; j < kTile; ++j)
        for (int r = 0; r < R; ++r)
          tile[j][r] -= tile[k][r] * splat<Lanes>(L.by_columns[(first + k) * kPanel + first + j]);
    keep_solved(tile, y + first);
    write_tile(B + first * ld, ld, tile);
  }
}

// B <- B D^-1 L^-1.
template <int R>
inline void backward(const Triangle &L, const double *inverse_pivot, double *B, long long ld) {
  Lanes y[kPanel][R], tile[kTile][R];
  for (int first = L.width - kTile; first >= 0; first -= kTile) {
    read_tile(B + first * ld, ld, tile);
    for (int j = 0; j < kTile; ++j)
      for (int r = 0; r < R; ++r)
        tile[j][r] = inverse_pivot[first + j] * tile[j][r];
    subtract_solved(y, L.by_rows + first, first + kTile, L.width, tile);
    for (int k = kTile - 1; k > 0; --k)
      for (int j = 0; j < k; ++j)
        for (int r = 0; r < R; ++r)
          tile[j][r] -= tile[k][r] * splat<Lanes>(L.by_rows[(first + k) * kPanel + first + j]);
    keep_solved(tile, y + first);
    write_tile(B + first * ld, ld, tile);
  }
}

// Rows first .. last in groups of two registers, and of one at the end.
template <class Whole, class Half>
inline void in_groups(int first, int last, const Whole &whole, const Half &half) {
  constexpr int kRows = 2 * kWidth;
  int row = first;
  for (; row + kRows <= last; row += kRows)
    whole(row);
  for (; row < last; row += kWidth)
    half(row);
}
inline void forward_rows(const Triangle &L, double *B, int ld, int first, int last) {
  in_groups(
      first, last, [&](int row) { forward<2>(L, B + row, ld); },
      [&](int row) { forward<1>(L, B + row, ld); });
}
inline void backward_rows(const Triangle &L, const double *inverse_pivot, double *B, int ld,
                          int first, int last) {
  in_groups(
      first, last, [&](int row) { backward<2>(L, inverse_pivot, B + row, ld); },
      [&](int row) { backward<1>(L, inverse_pivot, B + row, ld); });
}

} // namespace panels

// L D L^T.
inline double factor_large(const Pieces &pieces, double *A, int ld, int n, double *inverse_pivot) {
  using namespace panels;
  double worst = 1.0, weight[kPanel];
  const double *column[kPanel];
  for (int j = 0; j < n; ++j)
    inverse_pivot[j] = A[static_cast<long long>(j) * ld + j];
  for (int start = 0; start < n && !pieces.cancelled(); start += kPanel) {
    const int width = n - start < kPanel ? n - start : kPanel, below = start + kPanel;
    double *panel = A + static_cast<long long>(start) * ld;
    const double kept = factor_ldlt(panel + start, ld, padded(width), width, inverse_pivot + start);
    if (!(kept > 0.0))
      return -1.0;
    worst = smaller(worst, kept);
    if (below >= n) // rows of the padding, and null rows that were dropped, are zero
      break;
    // L is needed for these rows alone: the update below takes the same memory.
    const Triangle L(cpu::thread_memory(kTriangleRoom), panel + start, ld, width);
    pieces.run_ranges(ld - below, kRowsOfStrip, [&](int first, int last) {
      forward_rows(L, panel, ld, below + first, below + last);
    });
    for (int k = 0; k < kPanel; ++k) {
      column[k] = panel + static_cast<long long>(k) * ld;
      weight[k] = -inverse_pivot[start + k];
    }
    update_symmetric_in_pieces(pieces, A, ld, below, column, weight, kPanel);
    pieces.run_ranges(ld - below, kRowsOfStrip, [&](int first, int last) {
      for (int k = 0; k < kPanel; ++k)
        for (int i = below + first; i < below + last; i += kWidth) {
          double *l = panel + static_cast<long long>(k) * ld + i;
          write<Lanes>(l, read<Lanes>(l) * inverse_pivot[start + k]);
        }
    });
  }
  return pieces.cancelled() ? -1.0 : worst;
}

// The same of a complex symmetric matrix in two planes: kComplexPanel columns are eliminated eight
// at a time, and update the columns after them together.
inline void factor_complex_large(const Pieces &pieces, double *Ar, double *Ai, int ld, int n,
                                 double *inverse_r, double *inverse_i) {
  constexpr int kComplexPanel = 64;
  double wr[kComplexPanel], wi[kComplexPanel];
  for (int start = 0; start < n && !pieces.cancelled(); start += kComplexPanel) {
    const int below = start + kComplexPanel;
    eliminate_complex(Ar, Ai, ld, start, below < n ? below : n, below < ld ? below : ld, inverse_r,
                      inverse_i);
    if (below >= n)
      break;
    const double *xr = Ar + static_cast<long long>(start) * ld,
                 *xi = Ai + static_cast<long long>(start) * ld;
    for (int k = 0; k < kComplexPanel; ++k) { // minus the pivots
      const Complex pivot = inverse({inverse_r[start + k], inverse_i[start + k]});
      wr[k] = -pivot.r, wi[k] = -pivot.i;
    }
    // For u = w x the parts of u x' are u_r x_r' - u_i x_i' and u_r x_i' + u_i x_r'.
    const auto parts = [&](int k, int i, Lanes &ur, Lanes &ui, Lanes &r, Lanes &m) {
      const long long at = static_cast<long long>(k) * ld + i;
      r = read<Lanes>(xr + at), m = read<Lanes>(xi + at);
      ur = wr[k] * r - wi[k] * m, ui = wr[k] * m + wi[k] * r;
    };
    update_by_pairs(pieces, Ar, ld, below, 2 * kComplexPanel,
                    [&](int k, int i, Lanes &a, Lanes &b) {
                      Lanes ur, ui, r, m;
                      parts(k / 2, i, ur, ui, r, m);
                      a = k % 2 ? 0.0 - ui : ur, b = k % 2 ? m : r;
                    });
    update_by_pairs(pieces, Ai, ld, below, 2 * kComplexPanel,
                    [&](int k, int i, Lanes &a, Lanes &b) {
                      Lanes ur, ui, r, m;
                      parts(k / 2, i, ur, ui, r, m);
                      a = k % 2 ? ui : ur, b = k % 2 ? r : m;
                    });
  }
}

// Doubles of scratch that invert_large needs.
inline long long large_inverse_room(int ld) {
  return (panels::kPanel + 1LL) * ld + (panels::kPanel + 1LL) * panels::kPanel;
}

namespace panels {

// The rows first .. last of the panel of symmetric A that begins at column `start`, to v.
inline void gather(const double *A, int ld, int start, int width, double *v, int first, int last) {
  for (int i = first; i < last; ++i)
    if (i < start + width)
      for (int k = i < start ? 0 : i - start; k < width; ++k)
        v[static_cast<long long>(k) * ld + i] = A[static_cast<long long>(i) * ld + start + k];
  for (int k = 0; k < width; ++k)
    for (int i = first > start + k ? first : start + k + 1; i < last; ++i)
      v[static_cast<long long>(k) * ld + i] = A[(start + static_cast<long long>(k)) * ld + i];
}
// And back.
inline void scatter(const double *v, int ld, int start, int width, double *A, int first, int last) {
  for (int i = first; i < last && i < start; ++i)
    for (int k = 0; k < width; ++k)
      A[static_cast<long long>(i) * ld + start + k] = v[static_cast<long long>(k) * ld + i];
  for (int k = 0; k < width; ++k)
    for (int i = first > start ? first : start; i < last; ++i)
      A[(start + static_cast<long long>(k)) * ld + i] = v[static_cast<long long>(k) * ld + i];
}

} // namespace panels

// A <- A^-1, as invert_symmetric.
inline double invert_large(const Pieces &pieces, double *A, int ld, int n, double *scratch) {
  using namespace panels;
  double *diagonal = scratch, *v = scratch + ld, *block = v + static_cast<long long>(kPanel) * ld,
         *inverse_pivot = block + kPanel * kPanel;
  double worst = 1.0, weight[kPanel];
  const double *column[kPanel];
  for (int k = 0; k < kPanel; ++k)
    column[k] = v + static_cast<long long>(k) * ld;
  for (int i = 0; i < n; ++i)
    diagonal[i] = A[static_cast<long long>(i) * ld + i];
  for (int start = 0; start < n && !pieces.cancelled(); start += kPanel) {
    const int width = n - start < kPanel ? n - start : kPanel, whole = padded(width);
    pieces.run_ranges(ld, kRowsOfStrip, [&](int first, int last) {
      gather(A, ld, start, width, v, first, last);
      for (int k = width; k < whole; ++k)
        for (int i = first; i < last; ++i)
          v[static_cast<long long>(k) * ld + i] = 0.0;
    });
    for (int k = 0; k < whole; ++k) {
      inverse_pivot[k] = k < width ? diagonal[start + k] : 1.0;
      for (int i = 0; i < whole; ++i)
        block[k * kPanel + i] = i < width ? v[static_cast<long long>(k) * ld + start + i] : 0.0;
    }
    const double kept = factor_ldlt(block, kPanel, whole, width, inverse_pivot);
    if (!(kept > 0.0))
      return -1.0;
    worst = smaller(worst, kept);
    for (int k = 0; k < width; ++k)
      weight[k] = -inverse_pivot[k];
    {
      const Triangle L(cpu::thread_memory(kTriangleRoom), block, kPanel, width);
      pieces.run_ranges(ld, kRowsOfStrip,
                        [&](int first, int last) { forward_rows(L, v, ld, first, last); });
    }
    update_symmetric_in_pieces(pieces, A, ld, 0, column, weight, width);
    // B P^-1, and in the rows of the pivots -P^-1, from the same equations.
    const Triangle L(cpu::thread_memory(kTriangleRoom), block, kPanel, width);
    for (int k = 0; k < whole; ++k)
      for (int i = 0; i < whole; ++i)
        v[static_cast<long long>(k) * ld + start + i] = i == k && k < width ? -1.0 : 0.0;
    forward_rows(L, v, ld, start, start + whole);
    pieces.run_ranges(ld, kRowsOfStrip, [&](int first, int last) {
      backward_rows(L, inverse_pivot, v, ld, first, last);
      scatter(v, ld, start, width, A, first, last);
    });
  }
  if (pieces.cancelled())
    return -1.0;
  pieces.run_ranges(ld, 64, [&](int first, int last) {
    for (long long i = static_cast<long long>(first) * ld; i < static_cast<long long>(last) * ld;
         i += kWidth)
      write<Lanes>(A + i, 0.0 - read<Lanes>(A + i));
  });
  return worst;
}

// out_k = A x_k, as multiply_symmetric, in pieces of about as many entries each.
template <int K>
inline void multiply_symmetric_large(const Pieces &pieces, const double *A, int ld, const double *x,
                                     double *out) {
  constexpr int kMost = 16;
  const int count = ld / 128 < kMost ? ld / 128 : kMost;
  // To the left of column c lies 1 - (1 - c / ld)^2 of the triangle.
  int first[kMost + 1];
  for (int piece = 0; piece <= count; ++piece) {
    const double right = std::sqrt(1.0 - piece / static_cast<double>(count));
    first[piece] = padded(static_cast<int>(ld * (1.0 - right)));
  }
  first[count] = ld;
  const auto room = static_cast<std::size_t>(K) * ld;
  double *partial = cpu::thread_memory(count * room);
  pieces.run(count, [&](int piece) {
    multiply_symmetric<K>(A, ld, first[piece], first[piece + 1], x, partial + piece * room);
  });
  for (int k = 0; k < K; ++k)
    for (int i = 0; i < ld; i += kWidth) {
      Lanes sum = read<Lanes>(partial + k * ld + i);
      for (int piece = 1; piece < count && first[piece] <= i; ++piece)
        sum += read<Lanes>(partial + piece * room + k * ld + i);
      write<Lanes>(out + k * ld + i, sum);
    }
}

KRF_END_NAMESPACE
