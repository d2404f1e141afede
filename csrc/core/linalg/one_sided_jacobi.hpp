// Turns the columns of a factor W until they are nearly orthogonal: W W^T and its flow do not
// change (W' = -S W holds for W Q as well), but each direction of W W^T then lives in a column of
// its own, however small.  Relative errors and rounding of a column are relative errors of that
// direction, so a direction that sleeps at 1e-20 beside one of size 1 keeps all its digits.
//
// One-sided Jacobi rotations (Hestenes; high relative accuracy: Demmel and Veselic, SIAM J. Matrix
// Anal. Appl. 13, 1992).
#pragma once

#include "../team.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class OneSidedJacobi {
  using T = typename TeamT::Value;
  static constexpr int kMaxCycles = 40; // through all pairs of columns

public:
  static constexpr int kParts = 7; // W and what turns with it

  Matrix Q; // (r, r): the columns of W are those of the caller times Q

  KRF_HD OneSidedJacobi(TeamT &team, int n, int r, Arena &arena)
      : Q(take_matrix(arena, r, padded(r))), team_(team), n_(n), r_(r), ldn_(padded(n)),
        columns_(take_matrix(arena, r, kParts * ldn_ + padded(r))),
        column_gram_(take_matrix(arena, r, padded(r))), norm2_(arena.take(padded(r))) {}

  KRF_HD void start() {
    team_.each(r_ * Q.ld, [&](int e) { Q.data[e] = e / Q.ld == e % Q.ld ? 1.0 : 0.0; });
  }

  // Rotates until no two columns of part[0] have a cosine above `cosine`; the other parts (n rows)
  // and Q turn along.  Returns whether anything turned.
  KRF_HD bool orthogonalise(double *const (&part)[kParts], double cosine) {
    const int ldr = Q.ld;
    load({part[0], ldr}, 0);
    if (!any_pair(cosine))
      return false;
    for (int k = 1; k < kParts; ++k)
      load({part[k], ldr}, k);
    team_.each(r_ * ldr, [&](int e) {
      const int c = e / ldr, i = e % ldr;
      columns_(c, kParts * ldn_ + i) = i < r_ ? Q(i, c) : 0.0;
    });
    for (int cycle = 0; cycle < kMaxCycles; ++cycle)
      if (!rotate_pairs(cosine))
        break;
    for (int k = 0; k < kParts; ++k)
      store({part[k], ldr}, k);
    team_.each(r_ * r_, [&](int e) {
      const int c = e / r_, i = e % r_;
      Q(i, c) = columns_(c, kParts * ldn_ + i);
    });
    return true;
  }

private:
  KRF_HD double cross(int i, int j) const {
    return team_.dot(columns_.row(i), columns_.row(j), ldn_);
  }

  KRF_HD void load(ConstMatrix W, int part) {
    team_.each(r_ * ldn_, [&](int e) {
      const int c = e / ldn_, i = e % ldn_;
      columns_(c, part * ldn_ + i) = i < n_ ? W(i, c) : 0.0;
    });
  }
  KRF_HD void store(Matrix W, int part) const {
    team_.each(r_ * n_, [&](int e) {
      const int c = e / n_, i = e % n_;
      W(i, c) = columns_(c, part * ldn_ + i);
    });
  }

  KRF_HD bool is_oblique(double product, int i, int j, double cosine) const {
    const double both = std::sqrt(norm2_[i]) * std::sqrt(norm2_[j]);
    return (product < 0 ? -product : product) > cosine * both;
  }
  KRF_HD bool any_pair(double cosine) {
    team_.products(columns_.data, columns_.ld, r_, columns_.data, columns_.ld, r_, ldn_,
                   column_gram_.data, column_gram_.ld, false);
    team_.each(r_, [&](int i) { norm2_[i] = column_gram_(i, i); });
    return team_.any(r_ * r_, [&](int e) {
      const int i = e / r_, j = e % r_;
      return i < j && is_oblique(column_gram_(i, j), i, j, cosine);
    });
  }

  KRF_HD bool rotate_pairs(double cosine) {
    bool any = false;
    for (int i = 0; i < r_; ++i)
      for (int j = i + 1; j < r_; ++j) {
        const double product = cross(i, j);
        if (!is_oblique(product, i, j, cosine))
          continue;
        any = true;
        rotate(i, j, product);
      }
    return any;
  }
  // The rotation that makes columns i and j orthogonal.
  KRF_HD void rotate(int i, int j, double product) {
    const double zeta = (norm2_[j] - norm2_[i]) / (2.0 * product);
    const double t =
        (zeta < 0 ? -1.0 : 1.0) / ((zeta < 0 ? -zeta : zeta) + std::sqrt(1.0 + zeta * zeta));
    const double c = 1.0 / std::sqrt(1.0 + t * t), s = c * t;
    double *x = columns_.row(i), *y = columns_.row(j);
    team_.for_each(columns_.ld, [&](int k) {
      const T u = read<T>(x + k), v = read<T>(y + k);
      write(x + k, c * u - s * v);
      write(y + k, s * u + c * v);
    });
    const double now_i = cross(i, i), now_j = cross(j, j);
    team_.once([&] { norm2_[i] = now_i, norm2_[j] = now_j; });
  }

  TeamT &team_;
  int n_, r_, ldn_;
  Matrix columns_;     // per column: kParts vectors of n, then the column of Q
  Matrix column_gram_; // of the columns of W
  double *norm2_;      // of the columns of W
};

KRF_END_NAMESPACE
