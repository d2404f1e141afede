// L D L^T of real and complex symmetric matrices by a block of threads, without pivoting.
//
// Matrices are stored by columns, lower triangle, ld apart.  Panels of sixteen columns: a warp
// eliminates the diagonal block in shared memory, all members its rows below, and the warps update
// what is left on the tensor cores while the first already eliminates the next diagonal block; two
// barriers a panel.  The diagonal blocks of L are replaced by their inverses, so that a solve is
// products only, one barrier a panel.
#pragma once

#include "tiles.hpp"

KRF_BEGIN_NAMESPACE

namespace ldlt {
inline constexpr int kPanel = 16;
inline constexpr int kStride = kPanel + 1;             // of a diagonal block in shared memory
inline constexpr int kTileRoom = 2 * kPanel * kStride; // doubles, for a complex one
KRF_HD inline Plane<double> tile_in(double *room, double) { return {room}; }
KRF_HD inline Plane<Complex> tile_in(double *room, Complex) {
  return {room, room + kPanel * kStride};
}
KRF_HD inline double number(double x, double) { return x; }
KRF_HD inline Complex number(double x, Complex) { return {x, 0.0}; }

// The share of a diagonal entry that the elimination left; what is not positive is -1.  Complex
// matrices here have positive definite parts and cannot break down.
KRF_HD inline double share_of(double pivot, double before) {
  const double share = pivot / before;
  return pivot > 0.0 && share > 0.0 ? share : -1.0;
}
KRF_HD inline double share_of(Complex, Complex) { return 1.0; }

// By the first warp: Gauss-Jordan on the diagonal block at k0. Below the diagonal, the inverse of
// the unit factor replaces the eliminated columns.  A keeps the pivots; `inverse_pivot` holds the
// diagonal before and their inverses after.  Returns the smallest share so far, or -1.
template <class V, class Block>
KRF_HD KRF_APART double eliminate(Block block, double *room, Plane<V> A, int ld, int n, int k0,
                                  Plane<V> inverse_pivot, double kept) {
  const Plane<V> T = tile_in(room, V{});
  const int lane = block.lane(), lanes = Block::kWarp;
  const int count = at_most(n - k0, kPanel);
  const auto at = [&](int i, int j) { return j * kStride + i; };
  const auto in_A = [&](int i, int j) { return static_cast<long long>(k0 + j) * ld + k0 + i; };
  for (int e = lane; e < kPanel * kPanel; e += lanes) {
    const int i = e % kPanel, j = e / kPanel, low = i > j ? i : j, left = i > j ? j : i;
    T.set(at(i, j), low < count ? A.get(in_A(low, left)) : number(i == j ? 1.0 : 0.0, V{}));
  }
  block.warp_sync();
  for (int k = 0; k < count; ++k) {
    const V here = T.get(at(k, k)), inverted = inverse(here);
    const double share = share_of(here, inverse_pivot.get(k0 + k));
    kept = share < kept ? share : kept;
    if (!(kept > 0.0))
      return -1.0;
    for (int e = lane; e < kPanel * kPanel; e += lanes) {
      const int i = e % kPanel, j = e / kPanel;
      if (i > k && j != k)
        T.set(at(i, j), plus(T.get(at(i, j)), negative(product(product(T.get(at(i, k)), inverted),
                                                               T.get(at(k, j))))));
    }
    block.warp_sync();
    for (int i = k + 1 + lane; i < kPanel; i += lanes)
      T.set(at(i, k), negative(product(T.get(at(i, k)), inverted)));
    if (lane == 0)
      inverse_pivot.set(k0 + k, inverted);
    block.warp_sync();
  }
  for (int e = lane; e < kPanel * kPanel; e += lanes) {
    const int i = e % kPanel, j = e / kPanel;
    if (i >= j && i < count)
      A.set(in_A(i, j), T.get(at(i, j)));
  }
  return kept;
}

// Rows below the diagonal block at k0 times its inverse and that of its pivots, the right half
// first: the left one needs only itself.  A warp's products are complete before it writes over what
// they read.
template <class V, class Block>
KRF_HD KRF_APART void eliminate_below(Block block, Plane<V> panel, int ld, int n, int k0,
                                      Plane<V> inverse_pivot) {
  for (int i0 = k0 + kPanel * (1 + block.warp()); i0 < n; i0 += kPanel * block.warps())
    for (int j0 = kPanel / 2; j0 >= 0; j0 -= kPanel / 2)
      multiply_tile<2, 1, V>(
          block, j0 + kPanel / 2,
          [&](int i, int k) { return panel.get(k * ld + at_most(i0 + i, n - 1)); },
          [&](int j, int k) {
            return k < j0 + j ? panel.get(k * ld + k0 + j0 + j)
                              : number(k == j0 + j ? 1.0 : 0.0, V{});
          },
          [&](int i, int j, V value) {
            if (i0 + i < n)
              panel.set((j0 + j) * ld + i0 + i, product(value, inverse_pivot.get(k0 + j0 + j)));
          });
}

// Subtracts the products of the panel's rows from i0 on with those from j0 on, weighted by its
// pivots.
template <class V, class Block>
KRF_HD KRF_APART void update(Block block, Plane<V> A, int ld, int n, int k0, int i0, int j0) {
  constexpr int kAcross = sizeof(V) > sizeof(double) ? 1 : 2; // what registers allow
  const auto panel = A.from(static_cast<long long>(k0) * ld);
  for (int part = 0; part < kPanel; part += 8 * kAcross, j0 += 8 * kAcross)
    multiply_tile<2, kAcross, V>(
        block, kPanel, [&](int i, int k) { return panel.get(k * ld + at_most(i0 + i, n - 1)); },
        [&](int j, int k) {
          return product(panel.get(k * ld + at_most(j0 + j, n - 1)), panel.get(k * ld + k0 + k));
        },
        [&](int i, int j, V value) {
          if (i0 + i >= n || i0 + i < j0 + j)
            return;
          const long long e = static_cast<long long>(j0 + j) * ld + i0 + i;
          A.set(e, plus(A.get(e), negative(value)));
        });
}

// Returns the smallest share of a diagonal entry that the elimination left, or -1; `kept` is a
// number that all members see and nothing else writes.
template <class V, class Block>
KRF_HD KRF_APART double factor(Block block, double *room, double *kept, Plane<V> A, int ld, int n,
                               Plane<V> inverse_pivot) {
  for (int i = block.rank(); i < n; i += block.size())
    inverse_pivot.set(i, A.get(static_cast<long long>(i) * ld + i));
  block.sync();
  if (block.warp() == 0) {
    const double least = eliminate(block, room, A, ld, n, 0, inverse_pivot, 1.0);
    if (block.lane() == 0)
      *kept = least;
  }
  block.sync();
  for (int k0 = 0;; k0 += kPanel) {
    const double least = *kept; // written again only after the next barrier
    const int first = k0 + kPanel;
    if (!(least > 0.0) || first >= n)
      return least;
    eliminate_below(block, A.from(static_cast<long long>(k0) * ld), ld, n, k0, inverse_pivot);
    block.sync();
    const int warp = block.warp(), others = block.warps() - 1;
    if (warp > 0 || others == 0) {
      const int side = (n - first + kPanel - 1) / kPanel;
      for (int t = others ? warp : 1; t < side * side; t += others ? others : 1)
        if (t / side >= t % side)
          update(block, A, ld, n, k0, first + t / side * kPanel, first + t % side * kPanel);
    }
    if (warp == 0) {
      update(block, A, ld, n, k0, first, first);
      block.warp_sync();
      const double now = eliminate(block, room, A, ld, n, first, inverse_pivot, least);
      if (block.lane() == 0)
        *kept = now;
    }
    block.sync();
  }
}

// By the first warp: x of the panel at k0 times the inverse block, or its transpose.
template <class V, class Block>
KRF_HD void multiply_diagonal(const Block &block, Plane<const V> L, int ld, int n, int k0,
                              Plane<V> x, bool transposed) {
  constexpr int kMine = Block::kWarp < kPanel ? kPanel / Block::kWarp : 1;
  const int count = at_most(n - k0, kPanel);
  V mine[kMine] = {};
  KRF_UNROLL(16)
  for (int q = 0; q < kMine; ++q) {
    const int c = block.lane() + q * Block::kWarp;
    if (c >= count)
      continue;
    V sum = x.get(k0 + c);
    for (int m = transposed ? c + 1 : 0; m < (transposed ? count : c); ++m) {
      const long long e = transposed ? static_cast<long long>(k0 + c) * ld + k0 + m
                                     : static_cast<long long>(k0 + m) * ld + k0 + c;
      sum = plus(sum, product(L.get(e), x.get(k0 + m)));
    }
    mine[q] = sum;
  }
  block.warp_sync();
  KRF_UNROLL(16)
  for (int q = 0; q < kMine; ++q) {
    const int c = block.lane() + q * Block::kWarp;
    if (c < count)
      x.set(k0 + c, mine[q]);
  }
  block.warp_sync();
}

// x <- (L D L^T)^-1 x.  As in the factors, the first warp goes ahead to the next panel.
template <class V, class Block>
KRF_HD KRF_APART void solve(Block block, Plane<const V> L, int ld, int n,
                            Plane<const V> inverse_pivot, Plane<V> x) {
  const int warp = block.warp(), others = block.warps() - 1;
  // Subtracts from sixteen rows, from r0 on, their products with the panel at k0, whose solution is
  // known.
  const auto subtract = [&](int k0, int r0, bool transposed) {
    multiply_tile<2, 1, V>(
        block, at_most(kPanel, n - k0),
        [&](int i, int k) {
          const long long r = at_most(r0 + i, n - 1);
          return L.get(transposed ? r * ld + k0 + k : static_cast<long long>(k0 + k) * ld + r);
        },
        [&](int, int k) { return x.get(k0 + k); },
        [&](int i, int j, V value) {
          if (j == 0 && r0 + i < n)
            x.set(r0 + i, plus(x.get(r0 + i), negative(value)));
        });
  };
  // The panel at `next` by the first warp, and those from `begin` up to `end` by the rest.
  const auto go_on = [&](int k0, int next, int begin, int end, bool transposed) {
    if (warp == 0) {
      subtract(k0, next, transposed);
      block.warp_sync();
      multiply_diagonal(block, L, ld, n, next, x, transposed);
    }
    if (warp > 0 || others == 0)
      for (int r0 = begin + kPanel * (others ? warp - 1 : 0); r0 < end;
           r0 += kPanel * (others ? others : 1))
        subtract(k0, r0, transposed);
    block.sync();
  };
  const int last = (n - 1) / kPanel * kPanel;
  if (warp == 0)
    multiply_diagonal(block, L, ld, n, 0, x, false);
  block.sync();
  for (int k0 = 0; k0 < last; k0 += kPanel)
    go_on(k0, k0 + kPanel, k0 + 2 * kPanel, n, false);
  for (int i = block.rank(); i < n; i += block.size())
    x.set(i, product(x.get(i), inverse_pivot.get(i)));
  block.sync();
  if (warp == 0)
    multiply_diagonal(block, L, ld, n, last, x, true);
  block.sync();
  for (int k0 = last; k0 > 0; k0 -= kPanel)
    go_on(k0, k0 - kPanel, 0, k0 - kPanel, true);
}
} // namespace ldlt

KRF_END_NAMESPACE
