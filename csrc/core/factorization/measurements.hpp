// The linear map M -> (<X_i, M>)_i of a factorisation problem and its adjoint, in terms of the
// lifted factor W: with A_i the symmetric matrix for which <X_i, M> = tr(A_i W W^T) / 2, the loss
// has gradient -2 sum_i r_i A_i W for residuals r = y - f, and the tangent kernel is
// K_ij = tr(A_i W W^T A_j).
#pragma once

#include "../team.hpp"
#include "problem.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class Measurements {
  using T = typename TeamT::Value;

public:
  TeamT &team;
  int n, r, p, q, c0, n_samples, ldr, ldn, entries;
  const int *row, *column;
  const double *dense; // X, or null where entries are observed
  const double *scale; // of the entries, or null where all are 1
  double *M;           // an image of M, (p, q)

  KRF_HD Measurements(TeamT &team_, const FactorProblem &problem, Arena &arena)
      : team(team_), n(problem.n), r(problem.r), p(problem.p), q(problem.q), c0(problem.c0),
        n_samples(problem.n_samples), ldr(padded(r)), ldn(padded(n_samples)),
        entries(padded(p * q)), row(problem.row), column(problem.column), dense(problem.X),
        scale(problem.weight), M(arena.take(entries)), lifted_(take_matrix(arena, n, n)),
        factors_(take_matrix(arena, ldr, ldn)), which_(arena.take<int>(ldr)),
        weights_(arena.take(ldr)), scratch_(arena.take<const double *>(ldr)),
        scaled_(arena.take(dense ? 0 : ldn)) {}

  KRF_HD ConstMatrix rows_of(const double *W) const { return {W, ldr}; }
  KRF_HD Matrix rows_of(double *W) const { return {W, ldr}; }
  // The entry of X_i at row a and column b of M.
  KRF_HD double weight(int i, int a, int b) const { return ConstMatrix{dense, ldn}(a * q + b, i); }
  // Of the entry that sample i observes.
  KRF_HD double scale_of(int i) const { return scale ? scale[i] : 1.0; }

  // Multiplications in one evaluation of a field.
  KRF_HD double work() const {
    return dense ? 2.0 * n_samples * p * q + 3.0 * p * q * ldr : 3.0 * n_samples * ldr;
  }

  // M = B_p W_q^T (+ W_p B_q^T).
  KRF_HD void image(const double *B, const double *W, bool both) {
    team.products(B, ldr, p, rows_of(W).row(c0), ldr, q, ldr, M, q, false);
    if (both)
      team.products(W, ldr, p, rows_of(B).row(c0), ldr, q, ldr, M, q, true);
  }
  KRF_HD double image_norm(const double *B, const double *W, bool both) {
    image(B, W, both);
    clear_padding();
    return norm(team, M, entries);
  }

  // out_i = <X_i, W_p W_q^T>
  KRF_HD void predict(const double *W, double *out) {
    if (dense) {
      image(W, W, false);
      observe(out);
    } else {
      team.pair_dots(n_samples, W, row, W, column, ldr, out, false);
      scale_entries(out, out);
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
      scale_entries(out, out);
    }
  }

  // Frobenius norm of sum_i c_i X_i.
  KRF_HD double adjoint_norm(const double *c) {
    if (!dense)
      return norm(team, scaled(c), ldn);
    project(team, dense, ldn, entries, c, M);
    return norm(team, M, entries);
  }

  // out -= factor sum_i c_i A_i W
  KRF_HD void subtract_adjoint(const double *c, double factor, const double *W, double *out) {
    if (!dense)
      return team.subtract_pairs(n_samples, scaled(c), factor, row, column, W, ldr, out);
    NoSums none;
    team.template map_features<1>(
        dense, ldn, entries, c, nullptr, none,
        [&](int i, const T *z, T *, NoSums &) { write(M + i, z[0] * factor); });
    subtract_rows(M, q, 1, rows_of(W).row(c0), p, q, out);
    subtract_rows(M, 1, q, W, q, p, rows_of(out).row(c0));
  }

  // Whether the loss of targets y is the same at M and at its transpose.  For entries: whether what
  // is observed of each, and how often, is the same as of its mirror image.
  KRF_HD KRF_APART bool is_symmetric(const double *y) {
    if (c0 != p || p != q)
      return false;
    const auto differs = [&](int e) { return M[e] != M[e % q * q + e / q]; };
    if (dense)
      return !team.any(p * q, [&](int e) {
        bool same = true;
        for (int i = 0; i < n_samples; ++i)
          same = same && weight(i, e / q, e % q) == weight(i, e % q, e / q);
        return !same;
      });
    for (int pass = 0; pass < 2; ++pass) {
      fill(team, 0.0, M, entries);
      team.once([&] {
        for (int i = 0; i < n_samples; ++i)
          M[row[i] * q + column[i] - c0] += scale_of(i) * (pass == 0 ? scale_of(i) : y[i]);
      });
      if (team.any(p * q, differs))
        return false;
    }
    return true;
  }

  // K = J J^T, lower triangle by columns.
  KRF_HD KRF_APART void tangent_kernel(const double *W, double *K) {
    if (dense) {
      fill(team, 0.0, K, ldn * ldn);
      for (int i = 0; i < p; ++i)
        add_features(ConstMatrix{dense, ldn}.row(i * q), ldn, rows_of(W).row(c0), q, c0 ? 1.0 : 4.0,
                     K);
      // For the symmetric model both sides are the same, X_i + X_i^T = 2 X_i.
      for (int j = 0; c0 && j < q; ++j)
        add_features(ConstMatrix{dense, ldn}.row(j), static_cast<long long>(q) * ldn, W, p, 1.0, K);
      return;
    }
    team.products(W, ldr, n, W, ldr, n, ldr, lifted_.data, n, false);
    team.each(ldn, [&](int j) { entry_kernel_column(j, Matrix{K, ldn}.row(j)); });
  }

private:
  // Column j of the kernel of entries, from W W^T.
  KRF_HD void entry_kernel_column(int j, double *out) const {
    const int first = j < n_samples ? j : 0, last = j < n_samples ? n_samples : 0;
    for (int i = first; i < last; ++i) {
      const double *from_row = lifted_.row(row[j]), *from_column = lifted_.row(column[j]);
      double sum = 0;
      if (row[i] == row[j])
        sum += from_column[column[i]];
      if (column[i] == column[j])
        sum += from_row[row[i]];
      if (row[i] == column[j])
        sum += from_row[column[i]];
      if (column[i] == row[j])
        sum += from_column[row[i]];
      out[i] = scale_of(i) * scale_of(j) * sum;
    }
    for (int i = last; i < ldn; ++i)
      out[i] = 0.0;
  }

  // to_i = scale_i from_i
  KRF_HD void scale_entries(const double *from, double *to) {
    if (scale)
      team.each(n_samples, [&](int i) { to[i] = scale[i] * from[i]; });
  }
  KRF_HD const double *scaled(const double *c) {
    if (!scale)
      return c;
    team.each(ldn, [&](int i) { scaled_[i] = i < n_samples ? scale[i] * c[i] : 0.0; });
    return scaled_;
  }

  KRF_HD void clear_padding() {
    team.each(entries - p * q, [&](int i) { M[p * q + i] = 0.0; });
  }

  // out = X^T M: M weighs the entries' vectors.
  KRF_HD void observe(double *out) {
    clear_padding();
    krf::predict(team, dense, ldn, entries, M, out);
  }

  // out_i -= sum_j C_ij W_j, with C_ij at C + i row_stride + j column_stride.
  KRF_HD void subtract_rows(const double *C, int row_stride, int column_stride, const double *W,
                            int rows, int count, double *out) {
    team.for_rows(rows, ldr, [&](int i, int k) {
      const double *c = C + static_cast<long long>(i) * row_stride;
      double *to = rows_of(out).row(i) + k;
      T sum = read<T>(to);
      for (int j = 0; j < count; ++j)
        sum -= c[static_cast<long long>(j) * column_stride] * read<T>(rows_of(W).row(j) + k);
      write(to, sum);
    });
  }

  // K += weight F F^T for the features F_c = sum_j W_jc x_j, c < r.
  KRF_HD void add_features(const double *x, long long stride, const double *W, int count,
                           double weight, double *K) {
    team.each(r, [&](int c) { which_[c] = c, weights_[c] = weight; });
    team.for_rows(r, ldn, [&](int c, int k) {
      T sum = splat<T>(0.0);
      for (int j = 0; j < count; ++j)
        sum += rows_of(W)(j, c) * read<T>(x + j * stride + k);
      write(factors_.row(c) + k, sum);
    });
    team.add_columns(K, ldn, factors_.data, which_, weights_, r, scratch_);
  }

  Matrix lifted_;  // W W^T: for entries
  Matrix factors_; // of the tangent kernel, r of padded(n_samples): for dense X
  int *which_;     // of the factors, with their weights and the team's scratch
  double *weights_;
  const double **scratch_;
  double *scaled_; // of a vector of samples
};

KRF_END_NAMESPACE
