// The linear map M -> (<X_i, M>)_i of a factorisation problem and its adjoint, in terms of the
// lifted factor W: with A_i the symmetric matrix for which <X_i, M> = tr(A_i W W^T) / 2, the loss
// has gradient 2 sum_i r_i A_i W, and the tangent kernel is K_ij = tr(A_i W W^T A_j).
#pragma once

#include "arena.hpp"
#include "math.hpp"
#include "problem.hpp"

KRF_BEGIN_NAMESPACE

template <class Team> struct Measurements {
  using T = typename Team::Value;

  Team &team;
  int n, r, p, q, c0, n_samples, ldr, ldn, entries;
  const int *row, *column;
  const double *X;
  double *M;       // an image of M, (p, q)
  double *lifted;  // W W^T, (n, n): for entries
  double *columns; // factors of the tangent kernel, r of padded(n_samples): for dense X
  double *index;   // room for r ints, weights and pointers

  Measurements(Team &team_, const FactorProblem &problem, Arena &arena)
      : team(team_), n(problem.n), r(problem.r), p(problem.p), q(problem.q), c0(problem.c0),
        n_samples(problem.n_samples), ldr(padded(r)), ldn(padded(n_samples)),
        entries(padded(p * q)), row(problem.row), column(problem.column), X(problem.X),
        M(arena.take(entries)), lifted(arena.take(static_cast<long long>(n) * n)),
        columns(arena.take(static_cast<long long>(ldr) * ldn)), index(arena.take(3LL * ldr)) {}

  const double *at(const double *W, int i) const { return W + static_cast<long long>(i) * ldr; }
  double *at(double *W, int i) const { return W + static_cast<long long>(i) * ldr; }

  // Multiplications in one evaluation of a field.
  double work() const {
    return X ? 2.0 * n_samples * p * q + 3.0 * p * q * ldr : 3.0 * n_samples * ldr;
  }

  // M = B_p W_q^T (+ W_p B_q^T).
  void image(const double *B, const double *W, bool both) {
    team.products(B, p, at(W, c0), q, ldr, M, q, false);
    if (both)
      team.products(W, p, at(B, c0), q, ldr, M, q, true);
  }
  double image_norm(const double *B, const double *W, bool both) {
    image(B, W, both);
    clear_padding();
    return std::sqrt(team.dot(M, M, entries));
  }

  // out_i = <X_i, W_p W_q^T>
  void predict(const double *W, double *out) {
    if (X) {
      image(W, W, false);
      observe(out);
    } else {
      for (int i = 0; i < n_samples; ++i)
        out[i] = team.dot(at(W, row[i]), at(W, column[i]), ldr);
    }
  }
  // out = J B: the change of the predictions along B.
  void linearise(const double *W, const double *B, double *out) {
    if (X) {
      image(B, W, true);
      observe(out);
    } else {
      for (int i = 0; i < n_samples; ++i)
        out[i] = team.dot(at(W, row[i]), at(B, column[i]), ldr) +
                 team.dot(at(B, row[i]), at(W, column[i]), ldr);
    }
  }

  // out -= scale sum_i c_i A_i W
  void subtract_adjoint(const double *c, double scale, const double *W, double *out) {
    if (X) {
      team.template sweep<1>(X, ldn, entries, c, nullptr,
                             [&](int i, const T *z, T *) { write(M + i, z[0] * scale); });
      for (int i = 0; i < p; ++i)
        subtract_rows(M + static_cast<long long>(i) * q, 1, at(W, c0), q, at(out, i));
      for (int j = 0; j < q; ++j)
        subtract_rows(M + j, q, W, p, at(out, c0 + j));
      return;
    }
    for (int i = 0; i < n_samples; ++i) {
      const double weight = scale * c[i];
      const double *wa = at(W, row[i]), *wb = at(W, column[i]);
      double *a = at(out, row[i]), *b = at(out, column[i]);
      team.for_each(ldr, [&](int k) { write(a + k, read<T>(a + k) - weight * read<T>(wb + k)); });
      team.for_each(ldr, [&](int k) { write(b + k, read<T>(b + k) - weight * read<T>(wa + k)); });
    }
  }

  // K = J J^T, lower triangle by columns.
  void tangent_kernel(const double *W, double *K) {
    if (X) {
      team.for_each(ldn * ldn, [&](int i) { write(K + i, splat<T>(0.0)); });
      for (int i = 0; i < p; ++i)
        add_features(X + static_cast<long long>(i) * q * ldn, ldn, at(W, c0), q, c0 ? 1.0 : 4.0, K);
      // For the symmetric model both sides are the same, X_i + X_i^T = 2 X_i.
      for (int j = 0; c0 && j < q; ++j)
        add_features(X + static_cast<long long>(j) * ldn, static_cast<long long>(q) * ldn, W, p,
                     1.0, K);
      return;
    }
    team.products(W, n, W, n, ldr, lifted, n, false);
    for (int j = 0; j < n_samples; ++j) {
      const double *from_row = lifted + static_cast<long long>(row[j]) * n;
      const double *from_column = lifted + static_cast<long long>(column[j]) * n;
      double *out = K + static_cast<long long>(j) * ldn;
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
    }
    for (int j = n_samples; j < ldn; ++j)
      team.for_each(ldn,
                    [&](int i) { write(K + static_cast<long long>(j) * ldn + i, splat<T>(0.0)); });
  }

private:
  void clear_padding() {
    for (int i = p * q; i < entries; ++i)
      M[i] = 0.0;
  }

  // out = X^T M: M weighs the entries' vectors.
  void observe(double *out) {
    clear_padding();
    team.template sweep<1>(X, ldn, entries, out, out,
                           [&](int i, const T *, T *o) { o[0] = read<T>(M + i); });
  }

  // out -= sum_j c_j W_j
  void subtract_rows(const double *c, int stride, const double *W, int count, double *out) {
    team.for_each(ldr, [&](int k) {
      T sum = read<T>(out + k);
      for (int j = 0; j < count; ++j)
        sum -= c[static_cast<long long>(j) * stride] *
               read<T>(W + static_cast<long long>(j) * ldr + k);
      write(out + k, sum);
    });
  }

  // K += weight F F^T for the features F_c = sum_j W_jc x_j, c < r.
  void add_features(const double *x, long long stride, const double *W, int count, double weight,
                    double *K) {
    int *which = reinterpret_cast<int *>(index);
    double *weights = index + ldr;
    for (int c = 0; c < r; ++c) {
      which[c] = c;
      weights[c] = weight;
      double *feature = columns + static_cast<long long>(c) * ldn;
      team.for_each(ldn, [&](int k) {
        T sum = splat<T>(0.0);
        for (int j = 0; j < count; ++j)
          sum += W[static_cast<long long>(j) * ldr + c] * read<T>(x + j * stride + k);
        write(feature + k, sum);
      });
    }
    team.add_columns(K, ldn, columns, which, weights, r,
                     reinterpret_cast<const double **>(index + 2 * ldr));
  }
};

KRF_END_NAMESPACE
