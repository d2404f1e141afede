// A += sum_k w_k x_k x_k^T on the lower triangle of a matrix that is larger than the second cache:
// the update of symmetric_update.hpp from copies in the order in which tiles of registers read
// them.
//
// Each entry is summed by one thread, over k in order, so that threads do not change it.
#pragma once

#include "pieces.hpp"
#include "symmetric_update.hpp"

KRF_BEGIN_NAMESPACE

namespace packed {

inline constexpr int kDepth = 256;       // columns copied together
inline constexpr int kRows = 2 * kWidth; // of a tile of registers
inline constexpr int kRowsOfTile = 128;  // of a copy, and of a tile that one thread updates

// Of rows first .. last: a_k by groups of kRows, k after k in a group, and b_k by groups of kTile,
// for k < count <= kDepth; pair(k, i, a, b) reads kWidth rows of both.
template <class Pair>
inline void copy_rows(const Pair &pair, int count, int first, int last, double *rows,
                      double *columns) {
  for (int i = first; i < last; i += kRows) {
    const int height = last - i < kRows ? last - i : kRows;
    double *row = rows + static_cast<long long>(i) * count,
           *column = columns + static_cast<long long>(i) * count;
    for (int k = 0; k < count; ++k)
      for (int r = 0; r < height; r += kWidth) {
        Lanes a, b;
        pair(k, i + r, a, b);
        write<Lanes>(row + k * height + r, a);
        write<Lanes>(column + (r / kTile * count + k) * kTile + r % kTile, b);
      }
  }
}

template <int R>
inline void update(const double *rows, const double *columns, int count, double *A, int ld) {
  Lanes sum[kTile][R] = {};
  for (int k = 0; k < count; ++k, rows += R * kWidth, columns += kTile) {
    Lanes row[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
      row[r] = read<Lanes>(rows + kWidth * r);
    add_outer(row, columns, sum);
  }
  add_tile(A, ld, sum);
}

// Rows row .. row_end and columns column .. column_end of A, on and below the diagonal.
inline void update_tile(const double *rows, const double *columns, int count, double *A, int ld,
                        int row, int row_end, int column, int column_end) {
  for (int j = column; j < column_end; j += kTile)
    for (int i = row; i < row_end; i += kRows) {
      if (i + kRows <= j)
        continue; // above the diagonal
      const double *left = rows + static_cast<long long>(i) * count,
                   *right = columns + static_cast<long long>(j) * count;
      double *to = A + static_cast<long long>(j) * ld + i;
      if (i + kRows <= row_end)
        update<2>(left, right, count, to, ld);
      else
        update<1>(left, right, count, to, ld);
    }
}

} // namespace packed

// A += sum_k a_k b_k', which is symmetric, on the lower triangle of the rows and columns from
// `first`, a multiple of 8, up to ld.
template <class Pair>
inline void update_by_pairs(const Pieces &pieces, double *A, int ld, int first, int count,
                            const Pair &pair) {
  using namespace packed;
  const int order = ld - first, tiles = (order + kRowsOfTile - 1) / kRowsOfTile;
  const auto end = [&](int row) { return row + kRowsOfTile < ld ? row + kRowsOfTile : ld; };
  const auto room = static_cast<std::size_t>(kDepth) * ld; // indexed by rows of A
  double *rows = cpu::thread_memory(2 * room), *columns = rows + room;
  for (int done = 0; done < count && !pieces.cancelled(); done += kDepth) {
    const int depth = count - done < kDepth ? count - done : kDepth;
    pieces.run(tiles, [&](int piece) {
      const int row = first + piece * kRowsOfTile;
      const auto next = [&](int k, int i, Lanes &a, Lanes &b) { pair(done + k, i, a, b); };
      copy_rows(next, depth, row, end(row), rows, columns);
    });
    pieces.run(tiles * (tiles + 1) / 2, [&](int piece) {
      if (pieces.cancelled())
        return;
      int i = 0; // row of tiles; its tiles up to the diagonal come one after the other
      for (; piece > i; ++i)
        piece -= i + 1;
      const int row = first + i * kRowsOfTile, column = first + piece * kRowsOfTile;
      update_tile(rows, columns, depth, A, ld, row, end(row), column, end(column));
    });
  }
}

// A += sum_k w_k x_k x_k', on the same rows and columns.
inline void update_symmetric_in_pieces(const Pieces &pieces, double *A, int ld, int first,
                                       const double *const *x, const double *w, int count) {
  update_by_pairs(pieces, A, ld, first, count, [&](int k, int i, Lanes &a, Lanes &b) {
    b = read<Lanes>(x[k] + i);
    a = w[k] * b;
  });
}

KRF_END_NAMESPACE
