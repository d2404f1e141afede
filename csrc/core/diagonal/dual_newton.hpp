// Damped Newton for the minimiser of the convex dual, from where a diagonal network stands.
//
// The equation solved is y - X beta = relax nu: components of y far below the tolerance, such as
// the rounding of exactly sparse data, need not be fitted by weights they would have to wake.
#pragma once

#include "dual_state.hpp"
#include "scaled_gram.hpp"

KRF_BEGIN_NAMESPACE

namespace newton_rules {
inline constexpr int kMaxIterations = 200; // in one call
// Iterations without progress after which the residual may be rounding.
inline constexpr int kSuspicious = 3;
inline constexpr double kProgress = 0.9; // of the residual, that an iteration with progress leaves
inline constexpr double kRelaxation = 0.3; // of the goal, that relax nu may take
inline constexpr double kGramDrift = 0.05;
// Below this share of a diagonal entry, left by an elimination, the basis is chosen anew.
inline constexpr double kGraded = 1e-9;
// Of a search along a step: trials, the fraction of a step out of the domain, the bounds of a
// secant's, and the fraction of the slope beyond which a step overshoots.
inline constexpr int kMaxTrials = 50;
inline constexpr double kOutside = 0.25, kLongest = 0.6, kShortest = 0.1, kOvershoot = 0.5;
} // namespace newton_rules

template <Team TeamT, Mirror MirrorT, QuadraticLoss LossT> class DualNewton {
  using T = typename TeamT::Value;

public:
  TeamT &team;
  DualState<TeamT, MirrorT, LossT> state;
  ScaledGram<TeamT> scaled_gram;
  double *step;               // of nu
  double *dz;                 // X' step
  double *trial;              // of z; scratch
  double loss_offset = 0;     // of the problem
  double offset = 0;          // of the present basis: dropped rows keep their part of y
  bool basis_changed = false; // by the last `factor`

  KRF_HD DualNewton(TeamT &team_, const DiagonalProblem &p, Arena &arena)
      : team(team_), state(team_, p, arena), scaled_gram(state.basis, arena),
        step(arena.take(state.ldn)), dz(arena.take(state.ldd)), trial(arena.take(state.ldd)),
        factor_(arena.take(static_cast<long long>(state.ldn) * state.ldn)),
        pivot_(arena.take(state.ldn)), trial_residual_(arena.take(state.ldn)),
        field_(arena.take(state.ldn)), scratch_(arena.take(state.ldd)) {}

  KRF_HD double relaxation(double goal) {
    const double size = norm(team, state.nu, state.ldn);
    return size > 0 ? newton_rules::kRelaxation * goal / size : 0.0;
  }

  // To the residual `target`; fails after `patience` iterations without progress.
  KRF_HD KRF_APART Status solve(const DiagonalProblem &p, double goal, double target, int patience,
                                int max_iterations, int &n_iterations) {
    using namespace newton_rules;
    double best = kInfinity;
    int stalled = 0;
    for (int iterations = 0;; ++iterations) {
      const double size = std::sqrt(state.loss());
      if (size <= target)
        return Status::kConverged;
      stalled = size < kProgress * best ? 0 : stalled + 1;
      best = smaller(best, size);
      // Rounding can keep an ill-conditioned problem above its target.
      if (stalled > kSuspicious && state.measure_velocity()) {
        if (ends_beyond_reach(p))
          return Status::kConverged;
        if (state.residual_is_rounding())
          return offset > goal * goal ? Status::kConverged : Status::kMaxSteps;
      }
      if (n_iterations >= max_iterations)
        return Status::kMaxSteps;
      if (team.cancelled() || stalled > patience || iterations > kMaxIterations)
        return Status::kFailed;
      ++n_iterations;
      const double relax = relaxation(goal);
      if (!factor(p, state.here.slope, relax))
        return Status::kFailed;
      if (basis_changed && std::sqrt(state.loss()) <= target)
        return Status::kConverged;
      if (!search(relax))
        return Status::kFailed;
    }
  }

  // Factors X diag(weight) X' + relax I; where digits were lost, in a basis that has the stiff
  // features first, and no null rows.
  KRF_HD KRF_APART bool factor(const DiagonalProblem &p, const double *weight, double relax) {
    const int ldn = state.ldn;
    basis_changed = false;
    for (int tries = 0;; ++tries) {
      // A graded matrix is built anew: what an update leaves of a large column is not small there.
      if (state.basis.is_rotated())
        scaled_gram.clear();
      scaled_gram.update(weight, 0.0, newton_rules::kGramDrift);
      copy(team, scaled_gram.matrix, factor_, ldn * ldn);
      team.each(state.n(), [&](int i) { factor_[static_cast<long long>(i) * ldn + i] += relax; });
      const double kept = team.factor(factor_, ldn, state.n(), pivot_);
      if (kept > newton_rules::kGraded)
        return true;
      if (tries > 0 || team.cancelled())
        return kept > 0.0;
      rotate(p, weight);
    }
  }
  KRF_HD void solve_factored(double *b) { team.solve(factor_, state.ldn, state.n(), pivot_, b); }

  KRF_HD void project_step() { project(team, state.X(), state.ldn, state.ldd, step, dz); }

  // Longest step along dz over which the mirror's local model holds; coordinates too small to be
  // felt by the residual may go further.
  KRF_HD double longest_step() {
    const double log_residual = 0.5 * std::log(larger(state.loss(), 1e-300)) + std::log(kFelt);
    T cap = splat<T>(kInfinity);
    team.for_each(state.ldd, [&](int i) {
      const T z = read<T>(dz + i);
      const T log_felt = log_residual - logarithm(read<T>(state.feature_norm + i));
      const T longest =
          greater_of(state.mirror.damping(i, z), state.mirror.step_cap(i, z, log_felt));
      cap = lesser_of(cap, select(absolute(z) > 0.0, longest, splat<T>(kInfinity)));
    });
    return min(team, cap);
  }

  // The residual at position + length dz; false where that is outside the mirror's domain.
  KRF_HD KRF_APART bool evaluate_trial(double length) {
    T bad = splat<T>(0.0);
    team.for_each(state.ldd, [&](int i) {
      const T z = length * read<T>(dz + i);
      write(trial + i, z);
      state.evaluate_mirror(i, z, bad);
    });
    if (team.max(bad) > 0.0)
      return false;
    state.residual_of(state.next.beta, trial_residual_);
    return true;
  }
  KRF_HD void accept_trial(double length) {
    scale(team, length, step, state.ldn);
    copy(team, trial_residual_, state.residual, state.ldn);
    state.advance_by(trial, step);
  }

private:
  KRF_HD bool ends_beyond_reach(const DiagonalProblem &p) {
    bool changed;
    const bool end = state.beyond_reach(p, trial, scratch_, changed);
    if (changed) {
      scaled_gram.clear();
      offset = loss_offset;
    }
    return end;
  }

  KRF_HD void rotate(const DiagonalProblem &p, const double *weight) {
    if (state.basis.is_rotated()) {
      state.restore_basis(p);
      offset = loss_offset;
    }
    state.weigh(1.0, weight, trial);
    state.rotate_stiff_first(trial, 0.0, scaled_gram.change);
    basis_changed = true;
    if (state.basis.n_reflectors < state.n()) {
      // The rank is decided by X alone.  Rows that only features with underflowing weights reach
      // are kept; no step is found for them.
      state.weigh(1.0, nullptr, trial);
      state.rotate_stiff_first(trial, 0.0, scaled_gram.change);
    }
    if (state.basis.n_reflectors < state.n()) {
      offset += state.basis.drop_null_rows(state.y, state.nu, state.residual);
      state.renew_residual();
    }
    scaled_gram.clear();
  }

  // out = residual - relax (nu + ahead along)
  KRF_HD void field_at(const double *residual, double relax, double ahead, const double *along,
                       double *out) {
    team.for_each(state.ldn, [&](int i) {
      const T nu = read<T>(state.nu + i) + ahead * read<T>(along + i);
      write(out + i, read<T>(residual + i) - relax * nu);
    });
  }

  // A Newton step and the search along it; false where no length of it lowers the field.
  KRF_HD bool search(double relax) {
    using namespace newton_rules;
    const int ldn = state.ldn;
    field_at(state.residual, relax, 0.0, state.nu, step);
    copy(team, step, field_, ldn);
    solve_factored(step);
    project_step();
    const double start = team.dot(step, field_, ldn); // minus the slope of the dual
    const double before = team.dot(field_, field_, ldn);
    double length = smaller(1.0, longest_step());
    for (int tries = 0; tries < kMaxTrials; ++tries) {
      if (!evaluate_trial(length)) {
        length *= kOutside;
        continue;
      }
      field_at(trial_residual_, relax, length, step, field_);
      const double now = team.dot(step, field_, ldn);
      if (now >= -kOvershoot * start || team.dot(field_, field_, ldn) < before) {
        accept_trial(length);
        return true;
      }
      const double secant = start / (start - now);
      length *= smaller(kLongest, larger(kShortest, secant));
    }
    return false;
  }

  double *factor_, *pivot_, *trial_residual_, *field_, *scratch_;
};

KRF_END_NAMESPACE
