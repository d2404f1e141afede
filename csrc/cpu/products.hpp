// Products of small matrices in tiles of registers: 4 x 4 sums of products, and 4 rows of
// combinations.
#pragma once

#include "lanes.hpp"

KRF_BEGIN_NAMESPACE

template <int I, int J>
inline void combine_tile(const double *C, long long row_stride, long long column_stride, int q,
                         const double *B, int ldb, double *out, int ldo, bool add) {
  Lanes sum[I][J];
#pragma GCC unroll 4
  for (int i = 0; i < I; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j)
      sum[i][j] =
          add ? read<Lanes>(out + static_cast<long long>(i) * ldo + j * kWidth) : splat<Lanes>(0.0);
  for (int k = 0; k < q; ++k) {
    const double *b = B + static_cast<long long>(k) * ldb;
    Lanes right[J];
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j)
      right[j] = read<Lanes>(b + j * kWidth);
#pragma GCC unroll 4
    for (int i = 0; i < I; ++i) {
      const double left = C[i * row_stride + k * column_stride];
#pragma GCC unroll 4
      for (int j = 0; j < J; ++j)
        sum[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < I; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j)
      write<Lanes>(out + static_cast<long long>(i) * ldo + j * kWidth, sum[i][j]);
}

template <int I, int J>
inline void product_tile(const double *a, int lda, const double *b, int ldb, int length,
                         double *out, int ldo, bool add) {
  Lanes sum[I][J] = {};
  for (int c = 0; c < length; c += kWidth) {
    Lanes right[J];
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j)
      right[j] = read<Lanes>(b + static_cast<long long>(j) * ldb + c);
#pragma GCC unroll 4
    for (int i = 0; i < I; ++i) {
      const Lanes left = read<Lanes>(a + static_cast<long long>(i) * lda + c);
#pragma GCC unroll 4
      for (int j = 0; j < J; ++j)
        sum[i][j] += left * right[j];
    }
  }
  each_sum(sum, [&](int i, int j, double total) {
    double *to = out + static_cast<long long>(i) * ldo + j;
    *to = total + (add ? *to : 0.0);
  });
}

template <int I>
inline void products_with_rows(const double *a, int lda, const double *B, int ldb, int q,
                               int length, double *out, int ldo, bool add) {
  int j = 0;
  for (; j + 4 <= q; j += 4)
    product_tile<I, 4>(a, lda, B + static_cast<long long>(j) * ldb, ldb, length, out + j, ldo, add);
  for (; j < q; ++j)
    product_tile<I, 1>(a, lda, B + static_cast<long long>(j) * ldb, ldb, length, out + j, ldo, add);
}

template <int I>
inline void combine_rows(const double *C, long long row_stride, long long column_stride, int q,
                         const double *B, int ldb, int length, double *out, int ldo, bool add) {
  int c = 0;
  for (; c + 4 * kWidth <= length; c += 4 * kWidth)
    combine_tile<I, 4>(C, row_stride, column_stride, q, B + c, ldb, out + c, ldo, add);
  for (; c < length; c += kWidth)
    combine_tile<I, 1>(C, row_stride, column_stride, q, B + c, ldb, out + c, ldo, add);
}

KRF_END_NAMESPACE
