// The linear map M -> (<X_i, M>)_i of a factorisation problem and its adjoint, in terms of the
// lifted factor W: with A_i the symmetric matrix for which <X_i, M> = tr(A_i W W^T) / 2, the loss
// has gradient -2 sum_i r_i A_i W for residuals r = y - f, and the tangent kernel is
// K_ij = tr(A_i W W^T A_j).
#pragma once

#include "../team.hpp"
#include "problem.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> struct Measurements {
  using T = typename TeamT::Value;

  TeamT &team;
  int n, r, p, q, c0, n_samples, ldr, ldn, entries;
  const int *row, *column;
  const double *dense; // X, or null
  double *M;           // an image of M, (p, q)
  double *lifted;      // W W^T, (n, n): for entries
  double *columns;     // factors of the tangent kernel, r of padded(n_samples): for dense X
  double *index;       // room for r ints, weights and pointers

  KRF_HD Measurements(TeamT &team_, const FactorProblem &problem, Arena &arena)
      : team(team_), n(problem.n), r(problem.r), p(problem.p), q(problem.q), c0(problem.c0),
        n_samples(problem.n_samples), ldr(padded(r)), ldn(padded(n_samples)),
        entries(padded(p * q)), row(problem.row), column(problem.column), dense(problem.X),
        M(arena.take(entries)), lifted(arena.take(static_cast<long long>(n) * n)),
        columns(arena.take(static_cast<long long>(ldr) * ldn)), index(arena.take(3LL * ldr)) {}

  KRF_HD const double *at(const double *W, int i) const {
    return W + static_cast<long long>(i) * ldr;
  }
  KRF_HD double *at(double *W, int i) const { return W + static_cast<long long>(i) * ldr; }

  // Multiplications in one evaluation of a field.
  KRF_HD double work() const {
    return dense ? 2.0 * n_samples * p * q + 3.0 * p * q * ldr : 3.0 * n_samples * ldr;
  }

  // M = B_p W_q^T (+ W_p B_q^T).
  KRF_HD void image(const double *B, const double *W, bool both) {
    team.products(B, ldr, p, at(W, c0), ldr, q, ldr, M, q, false);
    if (both)
      team.products(W, ldr, p, at(B, c0), ldr, q, ldr, M, q, true);
  }
  KRF_HD double image_norm(const double *B, const double *W, bool both) {
    image(B, W, both);
    clear_padding();
    return std::sqrt(team.dot(M, M, entries));
  }

  // out_i = <X_i, W_p W_q^T>
  KRF_HD void predict(const double *W, double *out) {
    if (dense) {
      image(W, W, false);
      observe(out);
    } else {
      team.pair_dots(n_samples, W, row, W, column, ldr, out, false);
    }
  }
  // out = J B: the change of the predictions along B.
  KRF_HD void linearise(const double *W, const double *B, double *out) {
    if (dense) {
      image(B, W, true);
      observe(out);
    } else {
      team.pair_dots(n_samples, W, row, B, column, ldr, out, false);
      team.pair_dots(n_samples, B, row, W, column, ldr, out, true);
    }
  }

  // Frobenius norm of sum_i c_i X_i.
  KRF_HD double adjoint_norm(const double *c) {
    if (!dense)
      return std::sqrt(team.dot(c, c, ldn));
    team.template map_features<1>(dense, ldn, entries, c, nullptr,
                                  [&](int i, const T *z, T *) { write(M + i, z[0]); });
    return std::sqrt(team.dot(M, M, entries));
  }

  // out -= scale sum_i c_i A_i W
  KRF_HD void subtract_adjoint(const double *c, double scale, const double *W, double *out) {
    if (dense) {
      team.template map_features<1>(dense, ldn, entries, c, nullptr,
                                    [&](int i, const T *z, T *) { write(M + i, z[0] * scale); });
      subtract_rows(M, q, 1, at(W, c0), p, q, out);
      subtract_rows(M, 1, q, W, q, p, at(out, c0));
      return;
    }
    team.subtract_pairs(n_samples, c, scale, row, column, W, ldr, out);
  }

  // K = J J^T, lower triangle by columns.
  KRF_HD KRF_APART void tangent_kernel(const double *W, double *K) {
    if (dense) {
      team.for_each(ldn * ldn, [&](int i) { write(K + i, splat<T>(0.0)); });
      for (int i = 0; i < p; ++i)
        add_features(dense + static_cast<long long>(i) * q * ldn, ldn, at(W, c0), q, c0 ? 1.0 : 4.0,
                     K);
      // For the symmetric model both sides are the same, X_i + X_i^T = 2 X_i.
      for (int j = 0; c0 && j < q; ++j)
        add_features(dense + static_cast<long long>(j) * ldn, static_cast<long long>(q) * ldn, W, p,
                     1.0, K);
      return;
    }
    team.products(W, ldr, n, W, ldr, n, ldr, lifted, n, false);
    team.each(ldn, [&](int j) {
      double *out = K + static_cast<long long>(j) * ldn;
      if (j >= n_samples) {
        for (int i = 0; i < ldn; ++i)
          out[i] = 0.0;
        return;
      }
      const double *from_row = lifted + static_cast<long long>(row[j]) * n;
      const double *from_column = lifted + static_cast<long long>(column[j]) * n;
      for (int i = j; i < n_samples; ++i) {
        double sum = 0;
        if (row[i] == row[j])
          sum += from_column[column[i]];
        if (column[i] == column[j])
          sum += from_row[row[i]];
        if (row[i] == column[j])
          sum += from_row[column[i]];
        if (column[i] == row[j])
          sum += from_column[row[i]];
        out[i] = sum;
      }
      for (int i = n_samples; i < ldn; ++i)
        out[i] = 0.0;
    });
  }

private:
  KRF_HD void clear_padding() {
    team.each(entries - p * q, [&](int i) { M[p * q + i] = 0.0; });
  }

  // out = X^T M: M weighs the entries' vectors.
  KRF_HD void observe(double *out) {
    clear_padding();
    team.template map_features<1>(dense, ldn, entries, out, out,
                                  [&](int i, const T *, T *o) { o[0] = read<T>(M + i); });
  }

  // out_i -= sum_j C_ij W_j, with C_ij at C + i row_stride + j column_stride.
  KRF_HD void subtract_rows(const double *C, int row_stride, int column_stride, const double *W,
                            int rows, int count, double *out) {
    team.for_rows(rows, ldr, [&](int i, int k) {
      const double *c = C + static_cast<long long>(i) * row_stride;
      T sum = read<T>(at(out, i) + k);
      for (int j = 0; j < count; ++j)
        sum -= c[static_cast<long long>(j) * column_stride] * read<T>(at(W, j) + k);
      write(at(out, i) + k, sum);
    });
  }

  // K += weight F F^T for the features F_c = sum_j W_jc x_j, c < r.
  KRF_HD void add_features(const double *x, long long stride, const double *W, int count,
                           double weight, double *K) {
    int *which = reinterpret_cast<int *>(index);
    double *weights = index + ldr;
    team.each(r, [&](int c) { which[c] = c, weights[c] = weight; });
    team.for_rows(r, ldn, [&](int c, int k) {
      T sum = splat<T>(0.0);
      for (int j = 0; j < count; ++j)
        sum += W[static_cast<long long>(j) * ldr + c] * read<T>(x + j * stride + k);
      write(columns + static_cast<long long>(c) * ldn + k, sum);
    });
    team.add_columns(K, ldn, columns, which, weights, r,
                     reinterpret_cast<const double **>(index + 2 * ldr));
  }
};

KRF_END_NAMESPACE
