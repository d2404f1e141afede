// The CPU team: one thread and its vector registers.
//
// Core templates talk to a team in whole arrays: `sweep` streams X once through project - map -
// accumulate, `for_each` maps an array, `sum` and `max` reduce what the members hold, and the dense
// primitives act on matrices stored by columns with leading dimension padded(n).
#pragma once

#include "ldlt.hpp"

KRF_BEGIN_NAMESPACE

class SerialTeam {
public:
  using Value = Lanes;
  static constexpr int kWidth = KRF_LANES;

  explicit SerialTeam(const int *cancel) : cancel_(cancel) {}
  bool cancelled() const { return __atomic_load_n(cancel_, __ATOMIC_RELAXED) != 0; }

  static double sum(Lanes x) { return sum_of(x); }
  static double max(Lanes x) { return max_of(x); }

  // body(i) handles elements i .. i + kWidth - 1; count must be a multiple of eight.
  template <class Body> static void for_each(int count, Body body) {
    for (int i = 0; i < count; i += kWidth)
      body(i);
  }

  static double dot(const double *a, const double *b, int count) {
    Lanes s = {};
    for (int i = 0; i < count; i += kWidth)
      s += read<Lanes>(a + i) * read<Lanes>(b + i);
    return sum_of(s);
  }

  // For every feature i and k < K: z[k] = x_i . V_k, then body(i, z, out); if acc is given,
  // acc_k = sum_i out[k] x_i.  V and acc are K vectors of length ld.
  template <int K, class Body>
  static void sweep(const double *X, int ld, int d, const double *V, double *acc, Body body) {
    if (acc)
      for (int c = 0; c < K * ld; c += kWidth)
        write<Lanes>(acc + c, Lanes{});
    for (int i = 0; i < d; i += kWidth) {
      const double *x = X + static_cast<long>(i) * ld;
      Lanes dot[K][kWidth] = {};
      for (int c = 0; c < ld; c += kWidth) {
        Lanes v[K];
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
          v[k] = read<Lanes>(V + k * ld + c);
#pragma GCC unroll 8
        for (int f = 0; f < kWidth; ++f) {
          const Lanes xf = read<Lanes>(x + static_cast<long>(f) * ld + c);
#pragma GCC unroll 4
          for (int k = 0; k < K; ++k)
            dot[k][f] += xf * v[k];
        }
      }
      Lanes z[K], out[K];
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k)
        z[k] = sums_of(dot[k]);
      body(i, z, out);
      if (!acc)
        continue;
      for (int c = 0; c < ld; c += kWidth) {
        Lanes a[K];
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
          a[k] = read<Lanes>(acc + k * ld + c);
#pragma GCC unroll 8
        for (int f = 0; f < kWidth; ++f) {
          const Lanes xf = read<Lanes>(x + static_cast<long>(f) * ld + c);
#pragma GCC unroll 4
          for (int k = 0; k < K; ++k)
            a[k] += xf * out[k][f];
        }
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
          write<Lanes>(acc + k * ld + c, a[k]);
      }
    }
  }

  // out[i][j] (+)= A_i . B_j for the m rows of A and the q rows of B, each ld long.
  static void products(const double *A, int m, const double *B, int q, int ld, double *out, int ldo,
                       bool add) {
    int i = 0;
    for (; i + 4 <= m; i += 4) {
      int j = 0;
      for (; j + 4 <= q; j += 4)
        product_tile<4, 4>(A, B, i, j, ld, out, ldo, add);
      for (; j < q; ++j)
        product_tile<4, 1>(A, B, i, j, ld, out, ldo, add);
    }
    for (; i < m; ++i) {
      int j = 0;
      for (; j + 4 <= q; j += 4)
        product_tile<1, 4>(A, B, i, j, ld, out, ldo, add);
      for (; j < q; ++j)
        product_tile<1, 1>(A, B, i, j, ld, out, ldo, add);
    }
  }

  // x_i <- x_i - 2 (v . x_i) v for every feature.
  static void reflect(double *X, int ld, int d, const double *v) {
    sweep<1>(X, ld, d, v, nullptr, [&](int i, const Lanes *z, Lanes *) {
      for (int f = 0; f < kWidth; ++f) {
        double *x = X + static_cast<long>(i + f) * ld;
        const double scale = -2.0 * z[0][f];
        for (int c = 0; c < ld; c += kWidth)
          write<Lanes>(x + c, read<Lanes>(x + c) + scale * read<Lanes>(v + c));
      }
    });
  }

  // A += sum_k weight_k x_{column_k} x_{column_k}^T; `columns` is scratch for count pointers.
  static void add_columns(double *A, int ld, const double *X, const int *index,
                          const double *weight, int count, const double **columns) {
    for (int k = 0; k < count; ++k)
      columns[k] = X + static_cast<long>(index[k]) * ld;
    update_symmetric(A, ld, 0, columns, weight, count);
  }

  static double factor(double *A, int ld, int n, double *inverse_pivot) {
    return factor_ldlt(A, ld, n, inverse_pivot);
  }
  static void factor(double *Ar, double *Ai, int ld, int n, double *inverse_r, double *inverse_i) {
    factor_complex_ldlt(Ar, Ai, ld, n, inverse_r, inverse_i);
  }
  static void solve(const double *L, int ld, int n, const double *inverse_pivot, double *b) {
    solve_ldlt(L, ld, n, inverse_pivot, b);
  }
  static void solve(const double *Lr, const double *Li, int ld, int n, const double *inverse_r,
                    const double *inverse_i, double *br, double *bi) {
    solve_complex_ldlt(Lr, Li, ld, n, inverse_r, inverse_i, br, bi);
  }

private:
  template <int I, int J>
  static void product_tile(const double *A, const double *B, int i0, int j0, int ld, double *out,
                           int ldo, bool add) {
    Lanes sum[I][J] = {};
    const double *a = A + static_cast<long>(i0) * ld, *b = B + static_cast<long>(j0) * ld;
    for (int c = 0; c < ld; c += kWidth) {
      Lanes right[J];
#pragma GCC unroll 4
      for (int j = 0; j < J; ++j)
        right[j] = read<Lanes>(b + static_cast<long>(j) * ld + c);
#pragma GCC unroll 4
      for (int i = 0; i < I; ++i) {
        const Lanes left = read<Lanes>(a + static_cast<long>(i) * ld + c);
#pragma GCC unroll 4
        for (int j = 0; j < J; ++j)
          sum[i][j] += left * right[j];
      }
    }
    for (int i = 0; i < I; ++i)
      for (int j = 0; j < J; ++j) {
        double *to = out + static_cast<long>(i0 + i) * ldo + j0 + j;
        *to = sum_of(sum[i][j]) + (add ? *to : 0.0);
      }
  }

  const int *cancel_;
};

KRF_END_NAMESPACE
