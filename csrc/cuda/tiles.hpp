// Matrix products of a block of threads: tiles of eight by eight that a warp multiplies on the FP64
// tensor cores of a device, or one host thread in loops.
//
// The two differ only in which elements of a tile a member holds; the block says so (kSide, kSums,
// side_row, side_k, sum_row, sum_column) and multiplies (multiply_add).
#pragma once

#include "../core/math.hpp"

#ifdef __CUDACC__
#define KRF_PRAGMA(text) _Pragma(#text)
#define KRF_UNROLL(count) KRF_PRAGMA(unroll count)
#else
#define KRF_UNROLL(count)
#endif

KRF_BEGIN_NAMESPACE

struct Complex {
  double r, i;
};
KRF_HD inline double product(double a, double b) { return a * b; }
KRF_HD inline Complex product(Complex a, Complex b) {
  return {a.r * b.r - a.i * b.i, a.r * b.i + a.i * b.r};
}
KRF_HD inline double plus(double a, double b) { return a + b; }
KRF_HD inline Complex plus(Complex a, Complex b) { return {a.r + b.r, a.i + b.i}; }
KRF_HD inline double negative(double a) { return -a; }
KRF_HD inline Complex negative(Complex a) { return {-a.r, -a.i}; }
KRF_HD inline double inverse(double a) { return 1.0 / a; }
KRF_HD inline Complex inverse(Complex a) {
  const double size = a.r * a.r + a.i * a.i;
  return {a.r / size, -a.i / size};
}

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

// A member's share of a left or right tile of eight by four, and of a tile of sums.
template <class Block, class V> struct Side;
template <class Block> struct Side<Block, double> {
  double x[Block::kSide];
  KRF_HD void set(int e, double v) { x[e] = v; }
};
template <class Block> struct Side<Block, Complex> {
  double r[Block::kSide], i[Block::kSide];
  KRF_HD void set(int e, Complex v) { r[e] = v.r, i[e] = v.i; }
};
template <class Block, class V> struct Sums;
template <class Block> struct Sums<Block, double> {
  double x[Block::kSums] = {};
  KRF_HD double get(int e) const { return x[e]; }
  KRF_HD void add(const Side<Block, double> &a, const Side<Block, double> &b) {
    Block::multiply_add(x, a.x, b.x);
  }
};
template <class Block> struct Sums<Block, Complex> {
  double rr[Block::kSums] = {}, ii[Block::kSums] = {}, ri[Block::kSums] = {};
  KRF_HD Complex get(int e) const { return {rr[e] - ii[e], ri[e]}; }
  KRF_HD void add(const Side<Block, Complex> &a, const Side<Block, Complex> &b) {
    Block::multiply_add(rr, a.r, b.r);
    Block::multiply_add(ii, a.i, b.i);
    Block::multiply_add(ri, a.r, b.i);
    Block::multiply_add(ri, a.i, b.r);
  }
};

// get(row, k) of a left tile, or get(column, k) of a right one.
template <class V, class Block, class Get>
KRF_HD Side<Block, V> load_side(const Block &block, Get get) {
  Side<Block, V> side;
  KRF_UNROLL(64)
  for (int e = 0; e < Block::kSide; ++e)
    side.set(e, get(block.side_row(e), block.side_k(e)));
  return side;
}
// put(row, column, value) of what this member holds.
template <class V, class Block, class Put>
KRF_HD void store_sums(const Block &block, const Sums<Block, V> &sums, Put put) {
  KRF_UNROLL(64)
  for (int e = 0; e < Block::kSums; ++e)
    put(block.sum_row(e), block.sum_column(e), sums.get(e));
}

// A warp's product of 8 I rows and 8 J columns over `count` terms: put(i, j, sum_k left(i, k)
// right(j, k)) with i < 8 I and j < 8 J.  left and right give zero where they have nothing; k may
// reach the next multiple of four.
template <int I, int J, class V, int Steps = (sizeof(V) > sizeof(double) ? 1 : 4), class Block,
          class Left, class Right, class Put>
KRF_HD void multiply_tile(const Block &block, int count, Left left, Right right, Put put) {
  Sums<Block, V> sums[I][J];
  // Loads of several steps are under way before the first product wants them, as many as registers
  // allow.
  KRF_UNROLL(Steps)
  for (int k0 = 0; k0 < count; k0 += 4) {
    Side<Block, V> a[I], b[J];
    KRF_UNROLL(4)
    for (int s = 0; s < I; ++s)
      a[s] = load_side<V>(block, [&](int i, int k) { return left(8 * s + i, k0 + k); });
    KRF_UNROLL(4)
    for (int u = 0; u < J; ++u)
      b[u] = load_side<V>(block, [&](int j, int k) { return right(8 * u + j, k0 + k); });
    KRF_UNROLL(4)
    for (int s = 0; s < I; ++s)
      KRF_UNROLL(4)
    for (int u = 0; u < J; ++u)
      sums[s][u].add(a[s], b[u]);
  }
  KRF_UNROLL(4)
  for (int s = 0; s < I; ++s)
    KRF_UNROLL(4)
  for (int u = 0; u < J; ++u)
    store_sums<V>(block, sums[s][u],
                  [&](int i, int j, V value) { put(8 * s + i, 8 * u + j, value); });
}

// All tiles of an m by q product, or those that touch its lower triangle, dealt to the warps; no
// barrier after.  left(i, k) and right(j, k) are asked inside the matrix only.
template <int I, int J, int Steps, class Block, class Left, class Right, class Put>
KRF_HD void multiply_tiles(const Block &block, int m, int q, int count, bool lower, Left left,
                           Right right, Put put) {
  const int across = (q + 8 * J - 1) / (8 * J), tiles = (m + 8 * I - 1) / (8 * I) * across;
  for (int t = block.warp(); t < tiles; t += block.warps()) {
    const int i0 = 8 * I * (t / across), j0 = 8 * J * (t % across);
    if (lower && i0 + 8 * I <= j0)
      continue;
    multiply_tile<I, J, double, Steps>(
        block, count, [&](int i, int k) { return i0 + i < m && k < count ? left(i0 + i, k) : 0.0; },
        [&](int j, int k) { return j0 + j < q && k < count ? right(j0 + j, k) : 0.0; },
        [&](int i, int j, double value) {
          if (i0 + i < m && j0 + j < q && (!lower || i0 + i >= j0 + j))
            put(i0 + i, j0 + j, value);
        });
  }
}
// Large tiles read less, small ones keep more warps busy; the sums are the same bit for bit.
template <class Block, class Left, class Right, class Put>
KRF_HD void multiply(const Block &block, int m, int q, int count, Left left, Right right, Put put) {
  if (m / 16 * (q / 16) >= block.warps())
    multiply_tiles<2, 2, 1>(block, m, q, count, false, left, right, put);
  else
    multiply_tiles<1, 1, 4>(block, m, q, count, false, left, right, put);
}

// The products of csrc/cpu/team.hpp, each a call of its own for the sake of registers; no barrier.
template <class Block>
KRF_HD KRF_APART void add_columns(Block block, double *A, int ld, const double *X, const int *index,
                                  const double *weight, int count) {
  multiply_tiles<2, 2, 4>(
      block, ld, ld, count, true,
      [&](int i, int k) { return weight[k] * X[static_cast<long long>(index[k]) * ld + i]; },
      [&](int j, int k) { return X[static_cast<long long>(index[k]) * ld + j]; },
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
// A warp's share of a sweep over features X, up to 32 of them: out_kf = x_f . V_k for K vectors,
// and acc_k (+)= sum_f out_kf x_f.
template <int K, class Block>
KRF_HD KRF_APART void project(Block block, const double *X, int ld, int features, const double *V,
                              double *out, long long row) {
  multiply_tile<4, 1, double>(
      block, ld,
      [&](int f, int k) { return f < features ? X[static_cast<long long>(f) * ld + k] : 0.0; },
      [&](int j, int k) { return j < K ? V[j * ld + k] : 0.0; },
      [&](int f, int j, double value) {
        if (j < K && f < features)
          out[j * row + f] = value;
      });
}
template <int K, class Block>
KRF_HD KRF_APART void accumulate(Block block, const double *X, int ld, int features,
                                 const double *out, long long row, double *acc, bool add) {
  for (int c0 = 0; c0 < ld; c0 += 8)
    multiply_tile<1, 1, double>(
        block, features, [&](int c, int f) { return X[static_cast<long long>(f) * ld + c0 + c]; },
        [&](int j, int f) { return j < K ? out[j * row + f] : 0.0; },
        [&](int c, int j, double value) {
          if (j < K)
            acc[j * ld + c0 + c] = value + (add ? acc[j * ld + c0 + c] : 0.0);
        });
}

KRF_END_NAMESPACE
