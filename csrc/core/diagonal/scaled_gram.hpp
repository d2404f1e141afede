// The scaled Gram matrix X diag(s) X', kept up to date column by column.
#pragma once

#include "residual_basis.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> struct ScaledGram {
  const ResidualBasis<TeamT> &basis;
  double *matrix;         // lower triangle, by columns
  double *slope;          // s of every column as it stands in the matrix
  double *change;         // weights of the columns being moved
  int *moved;             // their indices
  const double **columns; // scratch of the team
  double largest = 0;     // the largest trace of a column since the matrix was empty

  static constexpr double kDrift = 0.2;
  // The matrix is built anew once its largest column has shrunk by this factor.
  static constexpr double kTakenBack = 1e8;

  KRF_HD ScaledGram(const ResidualBasis<TeamT> &basis_, Arena &arena)
      : basis(basis_), matrix(arena.take(static_cast<long long>(basis.ldn) * basis.ldn)),
        slope(arena.take(basis.ldd)), change(arena.take(basis.ldd)),
        moved(arena.take<int>(basis.ldd)), columns(arena.take<const double *>(basis.ldd)) {}

  KRF_HD void clear() {
    fill(basis.team, 0.0, matrix, basis.ldn * basis.ldn);
    fill(basis.team, 0.0, slope, basis.ldd);
  }

  // A step that is too long makes slopes exponentially large.  When they are subtracted again, only
  // their rounding is left of the matrix, so it is built anew.
  KRF_HD KRF_APART void shed_rounding(const double *target) {
    using T = typename TeamT::Value;
    T most = splat<T>(0.0);
    basis.team.for_each(basis.ldd, [&](int i) {
      const T length = read<T>(basis.feature_norm + i);
      most = greater_of(most, read<T>(target + i) * length * length);
    });
    const double now = basis.team.max(most);
    if (largest > kTakenBack * now) {
      clear();
      largest = 0;
    }
    largest = larger(largest, now);
  }

  // Moves the columns whose slope drifted by more than the fraction `drift`, unless all such
  // together weigh less than `drift` against shift I.  Then the true matrix G satisfies
  // -drift (shift I + G) <= G - matrix <= drift (shift I + G) up to a factor two, which bounds the
  // contraction of a simplified Newton iteration.  Returns whether anything moved.
  KRF_HD bool update(const double *target, double shift, double drift) {
    TeamT &team = basis.team;
    const int d = basis.d;
    const double *norm = basis.feature_norm;
    const double negligible = drift * shift / d;
    int count = team.collect(
        d,
        [&](int i) {
          const double step = target[i] - slope[i];
          const double size = step < 0 ? -step : step;
          return size > drift * smaller(target[i], slope[i]) &&
                 size * norm[i] * norm[i] > negligible;
        },
        moved);
    if (count == 0)
      return false;
    if (2 * count > d) { // also sheds the rounding of earlier updates
      clear();
      team.each(d, [&](int i) { moved[i] = i, change[i] = target[i]; });
      count = d;
    } else {
      team.each(count, [&](int k) { change[k] = target[moved[k]] - slope[moved[k]]; });
    }
    team.add_columns(matrix, basis.ldn, basis.X, moved, change, count, columns);
    team.each(count, [&](int k) { slope[moved[k]] = target[moved[k]]; });
    return true;
  }
};

KRF_END_NAMESPACE
