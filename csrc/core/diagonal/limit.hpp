// The t -> infinity limit of the flow: the minimiser of the convex dual, by damped Newton from the
// start of the flow; where that stalls, continued in the scale from the kernel regime down.
#pragma once

#include "../team.hpp"
#include "scaled_gram.hpp"

KRF_BEGIN_NAMESPACE

// Newton iterations a stage may take, and may take without progress, before it is cut shorter.
inline constexpr int kStage = 200;
inline constexpr int kStall = 60;
// From the start of the flow, where the damping may hold the residual as it is for long.
inline constexpr int kDirectStall = 30;

template <Team TeamT, Mirror MirrorT> class LimitSolver {
  using T = typename TeamT::Value;
  TeamT &team_;
  DualState<TeamT, MirrorT> s_;
  ScaledGram<TeamT, MirrorT> scaled_gram_;
  double *factor_, *pivot_, *step_, *dz_, *trial_, *weight_, *phi_, *kept_, *trial_residual_,
      *field_, *saved_mirror_, *saved_nu_;
  double loss_offset_ = 0, offset_ = 0;
  bool basis_changed_ = false;

public:
  KRF_HD KRF_APART LimitSolver(TeamT &team, const DiagonalProblem &p, Arena &arena)
      : team_(team), s_(team, p, arena), scaled_gram_(s_.ldn, s_.ldd, arena),
        factor_(arena.take(static_cast<long long>(s_.ldn) * s_.ldn)), pivot_(arena.take(s_.ldn)),
        step_(arena.take(s_.ldn)), dz_(arena.take(s_.ldd)), trial_(arena.take(s_.ldd)),
        weight_(arena.take(s_.ldd)), phi_(arena.take(s_.ldd)), kept_(arena.take(s_.ldd)),
        trial_residual_(arena.take(s_.ldn)), field_(arena.take(s_.ldn)),
        saved_mirror_(arena.take(static_cast<long long>(MirrorT::kArrays) * s_.ldd)),
        saved_nu_(arena.take(s_.ldn)) {}

  KRF_HD void run(const DiagonalProblem &p, const LimitOptions &o, LimitOutput &out) {
    out.n_iterations = 0;
    out.status = Status::kFailed;
    if (!s_.start(p)) { // weights outside the floating-point range
      team_.each(p.d, [&](int i) { out.beta[i] = out.w_plus[i] = out.w_minus[i] = 0.0; });
      team_.each(p.n, [&](int i) { out.nu[i] = 0.0; });
      out.loss = s_.y_norm2 + o.loss_offset;
      return;
    }
    loss_offset_ = offset_ = o.loss_offset;
    out.status = solve(p, o, out);
    s_.restore_basis(p);
    report(p, o, out);
  }

private:
  KRF_HD KRF_APART Status solve(const DiagonalProblem &p, const LimitOptions &o, LimitOutput &out) {
    scaled_gram_.clear(s_);
    team_.each(s_.ldd, [&](int i) { phi_[i] = p.depth == 2 ? mirror_phi(p, i) : 0.0; });
    // log of how many times larger the weights are than wanted; each stage lowers it.
    double level = kernel_level(p);
    if (!(level < kInfinity && o.y_norm < kInfinity)) // what is asked is not a number
      return Status::kFailed;
    const double goal = o.tolerance * o.y_norm;
    const Status direct = newton(p, goal, goal, kDirectStall, o.max_iterations, out);
    if (direct == Status::kConverged)
      return reached(goal);
    if (direct != Status::kFailed || !(level > 0) || team_.cancelled())
      return direct;
    restart(p);
    rescale(level, 1.0);
    double below = 2.0; // how far, in the logarithm, the weights are below the kernel regime
    double drop = 0.0, pace = 1.0;
    bool saved = false;
    for (;;) {
      const double target = level > 0 ? larger(1e-4 * o.y_norm, goal) : goal;
      const Status status = newton(p, goal, target, kStall, o.max_iterations, out);
      if (status == Status::kConverged) {
        if (level <= 0)
          return reached(goal);
        save();
        saved = true;
        pace = smaller(1.0, 1.5 * pace);
      } else { // a shorter stage from the last one that converged
        if (status != Status::kFailed || !saved || pace < 1e-3 || team_.cancelled())
          return status;
        restore(p);
        level += drop;
        below -= drop;
        pace *= 0.3;
      }
      const double stage = p.depth == 2 ? below : (p.depth == 3 ? 4.0 : 6.0) / p.depth;
      drop = smaller(level, pace * stage);
      const double stretch = (below + drop) / below;
      below += drop;
      level -= drop;
      continue_to(p, drop, p.depth == 2 ? stretch : 1.0, goal);
    }
  }

  KRF_HD Status reached(double goal) const {
    return offset_ > goal * goal ? Status::kStationary : Status::kConverged;
  }

  // Back to the start of the flow.
  KRF_HD void restart(const DiagonalProblem &p) {
    s_.restore_basis(p);
    s_.start(p);
    offset_ = loss_offset_;
    scaled_gram_.clear(s_);
  }

  // Position and dual, in the basis of the problem.
  KRF_HD void save() {
    team_.each(MirrorT::kArrays * s_.ldd, [&](int i) { saved_mirror_[i] = s_.mirror_storage[i]; });
    set_vector(saved_nu_, s_.nu);
    s_.to_original(saved_nu_);
  }
  KRF_HD void restore(const DiagonalProblem &p) {
    team_.each(MirrorT::kArrays * s_.ldd, [&](int i) { s_.mirror_storage[i] = saved_mirror_[i]; });
    s_.restore_basis(p);
    set_vector(s_.nu, saved_nu_);
    s_.refresh();
    offset_ = loss_offset_;
    scaled_gram_.clear(s_);
  }

  KRF_HD double mirror_phi(const DiagonalProblem &p, int i) const {
    return logarithm(p.w_plus0[i]) - logarithm(p.w_minus0[i]);
  }

  // How much larger weights must be for w^D to exceed the size of beta.
  KRF_HD double kernel_level(const DiagonalProblem &p) {
    double largest = 0, log_weight = 0;
    for (int i = 0; i < s_.d; ++i) {
      largest = larger(largest, s_.feature_norm[i]);
      log_weight += 0.5 * (std::log(p.w_plus0[i]) + std::log(p.w_minus0[i])) / s_.d;
    }
    const double size = largest > 0 ? std::sqrt(s_.y_norm2) / largest : 0.0;
    return size > 0 ? larger(0.0, std::log(size) / p.depth - log_weight) : 0.0;
  }

  KRF_HD void rescale(double log_factor, double stretch) {
    team_.each(s_.ldd, [&](int i) { s_.mirror.rescale(i, log_factor, stretch, phi_[i]); });
    const double nu_scale = s_.mirror.dual_scale(log_factor, stretch);
    team_.each(s_.ldn, [&](int i) { s_.nu[i] *= nu_scale; });
    s_.refresh();
  }

  // Lower the scale by e^-drop and move to where the large coordinates of beta are as they were:
  // the weighted least-squares fit of nu to the z_i that would restore them.
  KRF_HD KRF_APART void continue_to(const DiagonalProblem &p, double drop, double stretch,
                                    double goal) {
    double largest = 0;
    team_.each(s_.d, [&](int i) { kept_[i] = s_.beta[i]; });
    for (int i = 0; i < s_.d; ++i)
      largest = larger(largest, kept_[i] < 0 ? -kept_[i] : kept_[i]);
    rescale(-drop, stretch);
    team_.each(s_.ldd, [&](int i) {
      const double size = i < s_.d ? (kept_[i] < 0 ? -kept_[i] : kept_[i]) : 0.0;
      dz_[i] = 0;
      weight_[i] = s_.slope[i];
      if (size > 1e-3 * largest)
        dz_[i] = s_.mirror.restore(i, kept_[i], weight_[i]);
    });
    team_.template map_features<1>(
        s_.X, s_.ldn, s_.ldd, nullptr, step_,
        [&](int i, const T *, T *o) { o[0] = read<T>(weight_ + i) * read<T>(dz_ + i); });
    if (!factor(p, weight_, relaxation(goal)))
      return;
    if (basis_changed_) { // the right-hand side belongs to the old basis
      team_.template map_features<1>(
          s_.X, s_.ldn, s_.ldd, nullptr, step_,
          [&](int i, const T *, T *o) { o[0] = read<T>(weight_ + i) * read<T>(dz_ + i); });
    }
    team_.solve(factor_, s_.ldn, s_.n, pivot_, step_);
    project();
    double length = smaller(1.0, longest() * 4.0);
    for (int tries = 0; tries < 40 && !move_by(length); ++tries)
      length *= 0.5;
  }

  // The equation solved is y - X beta = relax nu: components of y far below the tolerance, such as
  // the rounding of exactly sparse data, need not be fitted by weights they would have to wake.
  KRF_HD double relaxation(double goal) {
    const double norm = std::sqrt(team_.dot(s_.nu, s_.nu, s_.ldn));
    return norm > 0 ? 0.3 * goal / norm : 0.0;
  }

  KRF_HD void set_vector(double *to, const double *from) {
    team_.for_each(s_.ldn, [&](int i) { set(to + i, read<T>(from + i)); });
  }

  // Factor X diag(weight) X^T + relax I; rotates the stiff features first, and drops null rows,
  // when digits were lost in the present one.
  KRF_HD KRF_APART bool factor(const DiagonalProblem &p, const double *weight, double relax) {
    basis_changed_ = false;
    for (int tries = 0;; ++tries) {
      // A graded matrix is built anew: what an update leaves of a large column is not small there.
      if (s_.n_reflectors > 0)
        scaled_gram_.clear(s_);
      scaled_gram_.update(s_, weight, 0.0, 0.05);
      team_.for_each(s_.ldn * s_.ldn,
                     [&](int i) { set(factor_ + i, read<T>(scaled_gram_.matrix + i)); });
      team_.each(s_.n, [&](int i) { factor_[static_cast<long long>(i) * s_.ldn + i] += relax; });
      const double kept = team_.factor(factor_, s_.ldn, s_.n, pivot_);
      if (kept > 1e-9)
        return true;
      if (tries > 0)
        return kept > 0.0;
      if (s_.n_reflectors > 0) {
        s_.restore_basis(p);
        offset_ = loss_offset_;
      }
      team_.for_each(s_.ldd, [&](int i) {
        const T norm = read<T>(s_.feature_norm + i);
        set(trial_ + i, read<T>(weight + i) * norm * norm);
      });
      s_.rotate_stiff_first(trial_, 0.0, scaled_gram_.change);
      basis_changed_ = true;
      if (s_.n_reflectors < s_.n) {
        offset_ += s_.drop_null_rows();
        s_.subtract_prediction(s_.beta, s_.residual);
      }
      scaled_gram_.clear(s_);
    }
  }

  KRF_HD static void set(double *p, T x) { Arithmetic<T>::write(p, x); }

  KRF_HD void project() { // dz = X^T step
    team_.template map_features<1>(s_.X, s_.ldn, s_.ldd, step_, nullptr,
                                   [&](int i, const T *z, T *) { set(dz_ + i, z[0]); });
  }

  // Longest step along dz over which the mirror's local model holds; coordinates too small to be
  // felt by the residual may go further.
  KRF_HD double longest() {
    const double log_residual = 0.5 * std::log(larger(s_.loss(), 1e-300)) + std::log(kFelt);
    T cap = splat<T>(kInfinity);
    team_.for_each(s_.ldd, [&](int i) {
      const T z = read<T>(dz_ + i);
      const T log_felt = log_residual - logarithm(read<T>(s_.feature_norm + i));
      const T here = greater_of(s_.mirror.damping(i, z), s_.mirror.step_cap(i, z, log_felt));
      cap = lesser_of(cap, select(absolute(z) > 0.0, here, splat<T>(kInfinity)));
    });
    return -team_.max(0.0 - cap);
  }

  KRF_HD KRF_APART bool evaluate_trial(double length) { // trial residual at position + length dz
    T bad = splat<T>(0.0);
    team_.for_each(s_.ldd, [&](int i) {
      const T z = length * read<T>(dz_ + i);
      set(trial_ + i, z);
      s_.store(i, z, bad);
    });
    if (team_.max(bad) > 0.0)
      return false;
    s_.subtract_prediction(s_.next_beta, trial_residual_);
    return true;
  }

  KRF_HD void accept_trial(double length) {
    team_.for_each(s_.ldn, [&](int i) {
      set(step_ + i, length * read<T>(step_ + i));
      set(s_.residual + i, read<T>(trial_residual_ + i));
    });
    s_.advance(trial_, step_);
  }

  KRF_HD bool move_by(double length) {
    if (!evaluate_trial(length))
      return false;
    accept_trial(length);
    return true;
  }

  // To the residual `target`; fails after `patience` iterations without progress.
  KRF_HD KRF_APART Status newton(const DiagonalProblem &p, double goal, double target, int patience,
                                 int max_iterations, LimitOutput &out) {
    double best = kInfinity;
    int stalled = 0;
    for (int stage_iterations = 0;; ++stage_iterations) {
      const double size = std::sqrt(s_.loss());
      if (size <= target)
        return Status::kConverged;
      stalled = size < 0.9 * best ? 0 : stalled + 1;
      best = smaller(best, size);
      // Rounding can keep an ill-conditioned problem above its target.
      if (stalled > 3 && s_.measure_velocity()) {
        bool basis_changed;
        const bool end = s_.beyond_reach(p, trial_, weight_, basis_changed);
        if (basis_changed) {
          scaled_gram_.clear(s_);
          offset_ = loss_offset_;
        }
        if (end)
          return Status::kConverged;
        if (s_.residual_is_rounding())
          return offset_ > goal * goal ? Status::kConverged : Status::kMaxSteps;
      }
      if (out.n_iterations >= max_iterations)
        return Status::kMaxSteps;
      if (team_.cancelled() || stalled > patience || stage_iterations > kStage)
        return Status::kFailed;
      ++out.n_iterations;
      const double relax = relaxation(goal);
      if (!factor(p, s_.slope, relax))
        return Status::kFailed;
      if (basis_changed_ && std::sqrt(s_.loss()) <= target)
        return Status::kConverged;
      const auto field = [&](const double *residual, double ahead, const double *along,
                             double *out) {
        team_.for_each(s_.ldn, [&](int i) {
          const T nu = read<T>(s_.nu + i) + ahead * read<T>(along + i);
          set(out + i, read<T>(residual + i) - relax * nu);
        });
      };
      field(s_.residual, 0.0, s_.nu, step_);
      set_vector(field_, step_);
      team_.solve(factor_, s_.ldn, s_.n, pivot_, step_);
      project();
      const double start = team_.dot(step_, field_, s_.ldn); // minus the slope of the dual
      const double before = team_.dot(field_, field_, s_.ldn);
      double length = smaller(1.0, longest());
      bool moved = false;
      for (int tries = 0; tries < 50; ++tries) {
        if (!evaluate_trial(length)) {
          length *= 0.25;
          continue;
        }
        field(trial_residual_, length, step_, field_);
        const double now = team_.dot(step_, field_, s_.ldn);
        if (now >= -0.5 * start || team_.dot(field_, field_, s_.ldn) < before) {
          moved = true;
          break;
        }
        const double secant = start / (start - now);
        length *= smaller(0.6, larger(0.1, secant));
      }
      if (!moved)
        return Status::kFailed;
      accept_trial(length);
    }
  }

  KRF_HD KRF_APART void report(const DiagonalProblem &p, const LimitOptions &o, LimitOutput &out) {
    // In the basis of the problem: what grading took for dependent rows may hold a residual there,
    // and so may rounding.
    out.loss = s_.loss() + loss_offset_;
    const double goal = 1.01 * o.tolerance * o.y_norm;
    if (out.status == Status::kConverged && out.loss > goal * goal)
      out.status = Status::kStationary;
    if (!(out.loss < kInfinity))
      out.status = Status::kFailed;
    team_.each(p.d, [&](int i) { out.beta[i] = s_.beta[i]; });
    team_.for_each(s_.ldd, [&](int i) {
      T plus, minus;
      s_.mirror.weights(i, splat<T>(0.0), plus, minus);
      set(dz_ + i, plus);
      set(trial_ + i, minus);
    });
    team_.each(p.d, [&](int i) { out.w_plus[i] = dz_[i], out.w_minus[i] = trial_[i]; });
    team_.each(p.n, [&](int i) { out.nu[i] = s_.nu[i]; });
  }
};

template <Team TeamT, Mirror MirrorT>
KRF_HD void solve_limit(TeamT &team, const DiagonalProblem &p, const LimitOptions &o,
                        LimitOutput &out, Arena &arena) {
  LimitSolver<TeamT, MirrorT>(team, p, arena).run(p, o, out);
}

KRF_END_NAMESPACE
