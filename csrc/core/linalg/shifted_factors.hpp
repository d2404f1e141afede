// Solves with G + (shift / h) I for the two shifts of a Radau step, one real, one complex: by
// factors of both, or by a stale inverse.
#pragma once

#include "../team.hpp"
#include "stale_inverse.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> struct ShiftedFactors {
  using T = typename TeamT::Value;

  TeamT &team;
  int n, ldn;
  double *real, *real_pivot;
  double *plane_r, *plane_i, *pivot_r, *pivot_i;
  double h_factored = 0; // zero where there is no factor to reuse

  KRF_HD ShiftedFactors(TeamT &team_, int n_, Arena &arena)
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
    if (team.cancelled()) // of a large matrix even the copies take time
      return 0.0;
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

// Solves with the same two matrices by a stale inverse, or by factors where an elimination loses
// digits: the factors of a graded matrix are accurate, because its large block comes first; its
// inverse is not.  The inverse is stored in the memory of the real factor.
template <Team TeamT> struct ShiftedSolver {
  // Least share of a diagonal entry that an elimination may leave for the inverse to be used.  At
  // 1e-5 flows of depth 8 with rows of condition 1e4 took 17 % more evaluations.
  static constexpr double kLeast = 1e-3;
  // The inverse is used up to diagonal entries of so many shifts.  Beyond, the rounding of rows
  // with small entries hides the rows with large ones in the norm at which conjugate gradients end.
  static constexpr double kWidest = 1e15;

  ShiftedFactors<TeamT> factors;
  StaleInverse<TeamT> stale;
  const double *G = nullptr;
  Shifts shifts{};
  double h = 0; // that `prepare` was last called for; zero where nothing is ready
  bool by_factors = false;

  KRF_HD ShiftedSolver(TeamT &team, int n, Arena &arena)
      : factors(team, n, arena), stale(team, n, factors.real, arena) {}

  KRF_HD void start() { forget(), by_factors = false; }
  KRF_HD void forget() { h = 0, stale.shift = 0; }

  // G by columns, lower triangle; it must stay as it is until the next call.  Returns the smallest
  // share of a diagonal entry that an elimination left, and 1 where there was none.
  KRF_HD double prepare(const double *G_, double h_, Shifts per_step) {
    G = G_, h = h_;
    shifts = {per_step.real / h, per_step.complex_r / h, per_step.complex_i / h};
    if (!by_factors && !is_wide()) {
      if (stale.serves(G, shifts.real))
        return 1.0;
      const double kept = stale.renew(G, shifts.real);
      if (kept > kLeast)
        return kept;
    }
    const double kept = factors.factor(G, h, per_step.real, per_step.complex_r, per_step.complex_i);
    by_factors = !(kept > 10.0 * kLeast);
    stale.shift = 0; // its place is taken
    if (!(kept > 0.0))
      forget();
    return kept;
  }

  KRF_HD bool is_wide() const {
    const int n = stale.n, ldn = stale.ldn;
    return stale.team.any(
        n, [&](int i) { return G[static_cast<long long>(i) * ldn + i] > kWidest * shifts.real; });
  }

  KRF_HD void solve(double *b) {
    if (stale.shift > 0.0)
      stale.template solve<1>(G, shifts, b);
    else
      factors.solve(b);
  }
  // Three columns: one for the real shift, and the parts of one for the complex.
  KRF_HD void solve_stages(double *b, int column) {
    if (stale.shift > 0.0)
      return stale.template solve<3>(G, shifts, b);
    factors.solve(b);
    factors.solve(b + column, b + 2LL * column);
  }
};

KRF_END_NAMESPACE
