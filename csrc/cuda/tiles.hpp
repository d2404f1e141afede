// Matrix products of a block of threads: tiles of eight by eight that a warp multiplies on the FP64
// tensor cores of a device, or one host thread in loops.
//
// The two differ only in which elements of a tile a member holds; the block says so (kSide, kSums,
// side_row, side_k, sum_row, sum_column) and multiplies (multiply_add).
#pragma once

#include "../core/base/complex.hpp"
#include "../core/base/elementary.hpp"

#ifdef __CUDACC__
#define KRF_PRAGMA(text) _Pragma(#text)
#define KRF_UNROLL(count) KRF_PRAGMA(unroll count)
#else
#define KRF_UNROLL(count)
#endif

KRF_BEGIN_NAMESPACE

KRF_HD inline double product(double a, double b) { return a * b; }
KRF_HD inline Complex product(Complex a, Complex b) {
  return {a.r * b.r - a.i * b.i, a.r * b.i + a.i * b.r};
}
KRF_HD inline double plus(double a, double b) { return a + b; }
KRF_HD inline Complex plus(Complex a, Complex b) { return {a.r + b.r, a.i + b.i}; }
KRF_HD inline double negative(double a) { return -a; }
KRF_HD inline Complex negative(Complex a) { return {-a.r, -a.i}; }
KRF_HD inline double inverse(double a) { return 1.0 / a; }

// An array of numbers; the parts of complex ones lie in two planes.
template <class V> struct Plane;
template <> struct Plane<const double> {
  const double *x;
  KRF_HD double get(long long e) const { return x[e]; }
};
template <> struct Plane<const Complex> {
  const double *r, *i;
  KRF_HD Complex get(long long e) const { return {r[e], i[e]}; }
};
template <> struct Plane<double> {
  double *x;
  KRF_HD double get(long long e) const { return x[e]; }
  KRF_HD void set(long long e, double v) const { x[e] = v; }
  KRF_HD Plane from(long long e) const { return {x + e}; }
};
template <> struct Plane<Complex> {
  double *r, *i;
  KRF_HD Complex get(long long e) const { return {r[e], i[e]}; }
  KRF_HD void set(long long e, Complex v) const { r[e] = v.r, i[e] = v.i; }
  KRF_HD Plane from(long long e) const { return {r + e, i + e}; }
};

// A member's share of `Eights` left or right tiles of eight by eight, one above the other, and of
// as many tiles of sums of eight by eight.
inline constexpr int kQuads = 2; // of terms
template <class Block, class V, int Eights> struct Side;
template <class Block, int Eights> struct Side<Block, double, Eights> {
  double x[Eights][kQuads][Block::kSide];
  KRF_HD void set(int s, int q, int e, double v) { x[s][q][e] = v; }
};
template <class Block, int Eights> struct Side<Block, Complex, Eights> {
  double r[Eights][kQuads][Block::kSide], i[Eights][kQuads][Block::kSide];
  KRF_HD void set(int s, int q, int e, Complex v) { r[s][q][e] = v.r, i[s][q][e] = v.i; }
};
template <class Block, class V, int Eights> struct Sums;
template <class Block, int Eights> struct Sums<Block, double, Eights> {
  double x[Eights][Block::kSums] = {};
  KRF_HD double get(int s, int e) const { return x[s][e]; }
  KRF_HD void add(const Side<Block, double, Eights> &a, const Side<Block, double, 1> &b) {
    Block::multiply_add(x, a.x, b.x[0]);
  }
};
template <class Block, int Eights> struct Sums<Block, Complex, Eights> {
  double rr[Eights][Block::kSums] = {}, ii[Eights][Block::kSums] = {},
         ri[Eights][Block::kSums] = {};
  KRF_HD Complex get(int s, int e) const { return {rr[s][e] - ii[s][e], ri[s][e]}; }
  KRF_HD void add(const Side<Block, Complex, Eights> &a, const Side<Block, Complex, 1> &b) {
    Block::multiply_add(rr, a.r, b.r[0]);
    Block::multiply_add(ii, a.i, b.i[0]);
    Block::multiply_add(ri, a.r, b.i[0]);
    Block::multiply_add(ri, a.i, b.r[0]);
  }
};

// get(row, k) of left tiles, or get(column, k) of a right one.
template <class V, int Eights, class Block, class Get>
KRF_HD Side<Block, V, Eights> load_side(const Block &block, Get get) {
  Side<Block, V, Eights> side;
  KRF_UNROLL(4)
  for (int s = 0; s < Eights; ++s) {
    KRF_UNROLL(4)
    for (int q = 0; q < kQuads; ++q) {
      KRF_UNROLL(64)
      for (int e = 0; e < Block::kSide; ++e)
        side.set(s, q, e, get(8 * s + block.side_row(e), 4 * q + block.side_k(e)));
    }
  }
  return side;
}

// A warp's product of 8 I rows and 8 J columns over `count` terms: put(i, j, sum_k left(i, k)
// right(j, k)) with i < 8 I and j < 8 J.  left and right are called for all of these i and j.
// Outside their matrices they may return any number, such as that of another row, so that loads
// need no condition; put leaves those sums out.
template <int I, int J, class V, class Block, class Left, class Right, class Put>
KRF_HD void multiply_tile(const Block &block, int count, Left left, Right right, Put put) {
  constexpr int kTerms = 4 * kQuads;
  Sums<Block, V, I> sums[J];
  const auto step = [&](auto left_at, auto right_at) {
    const auto a = load_side<V, I>(block, left_at);
    Side<Block, V, 1> b[J];
    KRF_UNROLL(4)
    for (int u = 0; u < J; ++u)
      b[u] = load_side<V, 1>(block, [&](int j, int k) { return right_at(8 * u + j, k); });
    KRF_UNROLL(4)
    for (int u = 0; u < J; ++u)
      sums[u].add(a, b[u]);
  };
  int k0 = 0;
  [[maybe_unused]] constexpr int kAtOnce = sizeof(V) > sizeof(double) ? 1 : 2; // for registers
  KRF_UNROLL(kAtOnce)
  for (; k0 + kTerms <= count; k0 += kTerms)
    step([&](int i, int k) { return left(i, k0 + k); },
         [&](int j, int k) { return right(j, k0 + k); });
  if (k0 < count)
    step([&](int i, int k) { return k0 + k < count ? left(i, k0 + k) : V{}; },
         [&](int j, int k) { return k0 + k < count ? right(j, k0 + k) : V{}; });
  KRF_UNROLL(4)
  for (int u = 0; u < J; ++u) {
    KRF_UNROLL(4)
    for (int s = 0; s < I; ++s) {
      KRF_UNROLL(64)
      for (int e = 0; e < Block::kSums; ++e)
        put(8 * s + block.sum_row(e), 8 * u + block.sum_column(e), sums[u].get(s, e));
    }
  }
}

KRF_HD inline int at_most(int i, int last) { return i < last ? i : last; }

// All tiles of an m by q product, or those that touch its lower triangle, distributed over the
// warps, without a barrier at the end.  left(i, k) and right(j, k) are asked inside the matrix
// only.
template <int I, int J, class Block, class Left, class Right, class Put>
KRF_HD void multiply_tiles(const Block &block, int m, int q, int count, bool lower, Left left,
                           Right right, Put put) {
  const int across = (q + 8 * J - 1) / (8 * J), tiles = (m + 8 * I - 1) / (8 * I) * across;
  for (int t = block.warp(); t < tiles; t += block.warps()) {
    const int i0 = 8 * I * (t / across), j0 = 8 * J * (t % across);
    if (lower && i0 + 8 * I <= j0)
      continue;
    multiply_tile<I, J, double>(
        block, count, [&](int i, int k) { return left(at_most(i0 + i, m - 1), k); },
        [&](int j, int k) { return right(at_most(j0 + j, q - 1), k); },
        [&](int i, int j, double value) {
          if (i0 + i < m && j0 + j < q && (!lower || i0 + i >= j0 + j))
            put(i0 + i, j0 + j, value);
        });
  }
}
// Large tiles read less, small tiles keep more warps busy. The choice depends on the shape alone.
template <class Block, class Left, class Right, class Put>
KRF_HD void multiply(const Block &block, int m, int q, int count, Left left, Right right, Put put) {
  if (m / 16 * (q / 16) >= block.warps())
    multiply_tiles<2, 2>(block, m, q, count, false, left, right, put);
  else
    multiply_tiles<1, 1>(block, m, q, count, false, left, right, put);
}

// The products of csrc/cpu/team.hpp, each compiled as a function of its own to save registers,
// without a barrier at the end.
template <class Block>
KRF_HD KRF_APART void add_columns(Block block, double *A, int ld, const double *X, const int *index,
                                  const double *weight, int count) {
  const auto column = [&](int k) { return X + static_cast<long long>(index[k]) * ld; };
  multiply_tiles<2, 2>(
      block, ld, ld, count, true, [&](int i, int k) { return weight[k] * column(k)[i]; },
      [&](int j, int k) { return column(k)[j]; },
      [&](int i, int j, double value) { A[static_cast<long long>(j) * ld + i] += value; });
}
// out_ij (+)= sum_k A_ik B_jk, element (i, k) of A at i a_row + k a_term, and so on.
template <class Block>
KRF_HD KRF_APART void multiply_strided(Block block, const double *A, long long a_row,
                                       long long a_term, int m, const double *B, long long b_row,
                                       long long b_term, int q, int count, double *out, int ldo,
                                       bool add) {
  multiply(
      block, m, q, count, [&](int i, int k) { return A[i * a_row + k * a_term]; },
      [&](int j, int k) { return B[j * b_row + k * b_term]; },
      [&](int i, int j, double value) {
        double *to = out + static_cast<long long>(i) * ldo + j;
        *to = add ? *to + value : value;
      });
}
// out_k = A x_k for K vectors, ld apart, from the lower triangle of A by columns.
template <int K, class Block>
KRF_HD KRF_APART void multiply_lower(Block block, const double *A, int ld, const double *x,
                                     double *out) {
  multiply_tiles<1, 1>(
      block, ld, K, ld, false,
      [&](int i, int k) {
        return i < k ? A[i * static_cast<long long>(ld) + k]
                     : A[k * static_cast<long long>(ld) + i];
      },
      [&](int j, int k) { return x[j * ld + k]; },
      [&](int i, int j, double value) { out[j * ld + i] = value; });
}
// A warp's share of map_features over features X, up to 32 of them: out_kf = x_f . V_k for K
// vectors, and acc_k (+)= sum_f out_kf x_f.
template <int K, class Block>
KRF_HD KRF_APART void project(Block block, const double *X, int ld, int features, const double *V,
                              double *out, int row) {
  multiply_tile<4, 1, double>(
      block, ld, [&](int f, int k) { return X[at_most(f, features - 1) * ld + k]; },
      [&](int j, int k) { return V[at_most(j, K - 1) * ld + k]; },
      [&](int f, int j, double value) {
        if (j < K && f < features)
          out[j * row + f] = value;
      });
}
template <int K, class Block>
KRF_HD KRF_APART void accumulate(Block block, const double *X, int ld, int features,
                                 const double *out, int row, double *acc, bool add) {
  for (int c0 = 0; c0 < ld; c0 += 16)
    multiply_tile<2, 1, double>(
        block, features, [&](int c, int f) { return X[f * ld + at_most(c0 + c, ld - 1)]; },
        [&](int j, int f) { return out[at_most(j, K - 1) * row + f]; },
        [&](int c, int j, double value) {
          if (j < K && c0 + c < ld)
            acc[j * ld + c0 + c] = value + (add ? acc[j * ld + c0 + c] : 0.0);
        });
}

KRF_END_NAMESPACE
