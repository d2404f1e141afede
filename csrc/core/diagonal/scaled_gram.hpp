// The scaled Gram matrix X diag(s) X^T, kept up to date column by column.
#pragma once

#include "../team.hpp"
#include "dual_state.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, Mirror MirrorT> struct ScaledGram {
  using T = typename TeamT::Value;

  double *matrix;  // lower triangle, by columns
  double *slope;   // s of every column as it stands in the matrix
  double *change;  // weights of the columns being moved
  double *index;   // room for d ints
  double *columns; // room for d pointers

  KRF_HD ScaledGram(int ldn, int ldd, Arena &arena)
      : matrix(arena.take(static_cast<long long>(ldn) * ldn)), slope(arena.take(ldd)),
        change(arena.take(ldd)), index(arena.take(ldd)), columns(arena.take(ldd)) {}

  KRF_HD void clear(DualState<TeamT, MirrorT> &s) {
    s.team.for_each(s.ldn * s.ldn, [&](int i) { write(matrix + i, splat<T>(0.0)); });
    s.team.for_each(s.ldd, [&](int i) { write(slope + i, splat<T>(0.0)); });
  }

  // Move the columns whose slope drifted by more than the fraction `drift`, unless all such
  // together weigh less than `drift` against shift I.  Then the true matrix G satisfies
  // -drift (shift I + G) <= G - matrix <= drift (shift I + G) up to a factor two, which bounds the
  // contraction of a simplified Newton iteration.  Returns whether anything moved.
  KRF_HD bool update(DualState<TeamT, MirrorT> &s, const double *target, double shift,
                     double drift) {
    int *moved = reinterpret_cast<int *>(index);
    const double negligible = drift * shift / s.d;
    int count = s.team.collect(
        s.d,
        [&](int i) {
          const double step = target[i] - slope[i];
          const double size = step < 0 ? -step : step;
          return size > drift * smaller(target[i], slope[i]) &&
                 size * s.feature_norm[i] * s.feature_norm[i] > negligible;
        },
        moved);
    if (count == 0)
      return false;
    if (2 * count > s.d) { // also sheds the rounding of earlier updates
      clear(s);
      s.team.each(s.d, [&](int i) { moved[i] = i, change[i] = target[i]; });
      count = s.d;
    } else {
      s.team.each(count, [&](int k) { change[k] = target[moved[k]] - slope[moved[k]]; });
    }
    s.team.add_columns(matrix, s.ldn, s.X, moved, change, count,
                       reinterpret_cast<const double **>(columns));
    s.team.each(count, [&](int k) { slope[moved[k]] = target[moved[k]]; });
    return true;
  }
};

KRF_END_NAMESPACE
