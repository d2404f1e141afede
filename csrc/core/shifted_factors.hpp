// Factors of G + (shift / h) I for the two shifts of a Radau step, one real, one complex.
#pragma once

#include "arena.hpp"

KRF_BEGIN_NAMESPACE

template <class Team> struct ShiftedFactors {
  using T = typename Team::Value;

  Team &team;
  int n, ldn;
  double *real, *real_pivot;
  double *plane_r, *plane_i, *pivot_r, *pivot_i;
  double h_factored = 0; // zero where there is no factor to reuse

  KRF_HD ShiftedFactors(Team &team_, int n_, Arena &arena)
      : team(team_), n(n_), ldn(padded(n_)), real(square(arena)), real_pivot(arena.take(ldn)),
        plane_r(square(arena)), plane_i(square(arena)), pivot_r(arena.take(ldn)),
        pivot_i(arena.take(ldn)) {}

  KRF_HD double *square(Arena &arena) const {
    return arena.take(static_cast<long long>(ldn) * ldn);
  }

  // G by columns, lower triangle.  Returns the smallest share of a diagonal entry that the real
  // elimination left; not positive where G + shift I was not definite.
  KRF_HD double factor(const double *G, double h, double gamma, double alpha, double beta) {
    h_factored = h;
    team.for_each(ldn * ldn, [&](int i) {
      const T g = read<T>(G + i);
      write(real + i, g);
      write(plane_r + i, g);
      write(plane_i + i, splat<T>(0.0));
    });
    team.each(n, [&](int i) {
      const long long at = static_cast<long long>(i) * ldn + i;
      real[at] += gamma / h;
      plane_r[at] += alpha / h;
      plane_i[at] += beta / h;
    });
    team.factor(plane_r, plane_i, ldn, n, pivot_r, pivot_i);
    return team.factor(real, ldn, n, real_pivot);
  }

  KRF_HD void solve(double *b) { team.solve(real, ldn, n, real_pivot, b); }
  KRF_HD void solve(double *b_r, double *b_i) {
    team.solve(plane_r, plane_i, ldn, n, pivot_r, pivot_i, b_r, b_i);
  }
};

KRF_END_NAMESPACE
