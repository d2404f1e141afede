// The t -> infinity limit of the flow: the minimiser of the convex dual, by damped Newton from the
// start of the flow; where that stalls, continued in the scale from the kernel regime down.
#pragma once

#include "dual_newton.hpp"

KRF_BEGIN_NAMESPACE

namespace limit_rules {
// Newton iterations without progress before a stage is cut shorter; from the start of the flow the
// damping may hold the residual as it is for long.
inline constexpr int kStall = 60, kDirectStall = 30;
// A stage lowers the scale to a residual of this part of |y|; only the last one goes to the goal.
inline constexpr double kStageGoal = 1e-4;
// The pace of the continuation, in stages: after a failure, after a success, and where it ends.
inline constexpr double kSlower = 0.3, kFaster = 1.5, kLeastPace = 1e-3;
// Coordinates above this part of the largest are restored after a change of scale.
inline constexpr double kLargePart = 1e-3;
inline constexpr double kSlack = 1.01;  // of the tolerance, for rounding
inline constexpr double kTiny = 1e-140; // a norm whose square has no digits to lose
} // namespace limit_rules

template <Team TeamT, Mirror MirrorT, QuadraticLoss LossT = SquaredLoss> class LimitSolver {
  using T = typename TeamT::Value;

public:
  KRF_HD KRF_APART LimitSolver(TeamT &team, const DiagonalProblem &p, Arena &arena)
      : team_(team), newton_(team, p, arena), s_(newton_.state), weight_(arena.take(s_.ldd)),
        phi_(arena.take(s_.ldd)), kept_beta_(arena.take(s_.ldd)),
        saved_mirror_(arena.take(static_cast<long long>(MirrorT::kArrays) * s_.ldd)),
        saved_nu_(arena.take(s_.ldn)) {}

  KRF_HD void run(const DiagonalProblem &p, const LimitOptions &o, LimitOutput &out) {
    out.n_iterations = 0;
    out.status = Status::kFailed;
    if (!s_.start(p)) { // weights outside the floating-point range
      team_.each(p.d, [&](int i) { out.beta[i] = out.w_plus[i] = out.w_minus[i] = 0.0; });
      team_.each(p.n, [&](int i) { out.nu[i] = 0.0; });
      out.loss = ((s_.y_norm2 + o.loss_offset) / p.unit) / p.unit;
      return;
    }
    newton_.loss_offset = newton_.offset = o.loss_offset;
    out.status = solve(p, o, out.n_iterations);
    s_.restore_basis(p);
    report(p, o, out);
  }

private:
  KRF_HD KRF_APART Status solve(const DiagonalProblem &p, const LimitOptions &o,
                                int &n_iterations) {
    using namespace limit_rules;
    newton_.scaled_gram.clear();
    team_.each(s_.ldd, [&](int i) { phi_[i] = p.depth == 2.0 ? mirror_phi(p, i) : 0.0; });
    const double level = kernel_level(p);
    if (!(level < kInfinity && o.y_norm < kInfinity)) // what is asked is not a number
      return Status::kFailed;
    const double goal = o.tolerance * o.y_norm;
    const Status direct =
        newton_.solve(p, goal, goal, kDirectStall, o.max_iterations, n_iterations);
    if (direct == Status::kConverged)
      return reached(goal);
    if (direct != Status::kFailed || !(level > 0) || team_.cancelled())
      return direct;
    restart(p);
    rescale(level, 1.0);
    return continue_down(p, o, level, n_iterations);
  }

  // From weights e^level times those wanted, in the kernel regime, down to those wanted.
  KRF_HD KRF_APART Status continue_down(const DiagonalProblem &p, const LimitOptions &o,
                                        double level, int &n_iterations) {
    using namespace limit_rules;
    const double goal = o.tolerance * o.y_norm;
    double below = 2.0; // how far, in the logarithm, the weights are below the kernel regime
    double drop = 0.0, pace = 1.0;
    bool saved = false;
    for (;;) {
      const double target = level > 0 ? larger(kStageGoal * o.y_norm, goal) : goal;
      const Status status = newton_.solve(p, goal, target, kStall, o.max_iterations, n_iterations);
      if (status == Status::kConverged) {
        if (level <= 0)
          return reached(goal);
        save();
        saved = true;
        pace = smaller(1.0, kFaster * pace);
      } else { // a shorter stage from the last one that converged
        if (status != Status::kFailed || !saved || pace < kLeastPace || team_.cancelled())
          return status;
        restore(p);
        level += drop;
        below -= drop;
        pace *= kSlower;
      }
      const double stage = p.depth == 2.0 ? below : (p.depth <= 3.0 ? 4.0 : 6.0) / p.depth;
      drop = smaller(level, pace * stage);
      const double stretch = (below + drop) / below;
      below += drop;
      level -= drop;
      lower_scale(p, drop, p.depth == 2.0 ? stretch : 1.0, goal);
    }
  }

  KRF_HD Status reached(double goal) const {
    return newton_.offset > goal * goal ? Status::kStationary : Status::kConverged;
  }
  // Whether the squares of some feature underflow: what it reaches is not known.
  KRF_HD bool has_tiny_feature() {
    return team_.any(s_.d, [&](int i) {
      return s_.feature_norm[i] > 0.0 && s_.feature_norm[i] < limit_rules::kTiny;
    });
  }

  // What was built for another basis or position is void.
  KRF_HD void forget() {
    newton_.offset = newton_.loss_offset;
    newton_.scaled_gram.clear();
  }
  // Back to the start of the flow.
  KRF_HD void restart(const DiagonalProblem &p) {
    s_.restore_basis(p);
    s_.start(p);
    forget();
  }

  // Position and dual, in the basis of the problem.
  KRF_HD void save() {
    copy(team_, s_.mirror_storage, saved_mirror_, MirrorT::kArrays * s_.ldd);
    copy(team_, s_.nu, saved_nu_, s_.ldn);
    s_.basis.to_original(saved_nu_);
  }
  KRF_HD void restore(const DiagonalProblem &p) {
    copy(team_, saved_mirror_, s_.mirror_storage, MirrorT::kArrays * s_.ldd);
    s_.restore_basis(p);
    copy(team_, saved_nu_, s_.nu, s_.ldn);
    s_.refresh();
    forget();
  }

  KRF_HD double mirror_phi(const DiagonalProblem &p, int i) const {
    return logarithm(p.w_plus0[i]) - logarithm(p.w_minus0[i]);
  }

  // log of how much larger weights must be for w^D to exceed the size of beta.
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
    scale(team_, s_.mirror.dual_scale(log_factor, stretch), s_.nu, s_.ldn);
    s_.refresh();
  }

  // Lowers the scale by e^-drop and moves to where the large coordinates of beta are as they were:
  // the weighted least-squares fit of nu to the z_i that would restore them.
  KRF_HD KRF_APART void lower_scale(const DiagonalProblem &p, double drop, double stretch,
                                    double goal) {
    const double largest = keep_beta();
    rescale(-drop, stretch);
    team_.each(s_.ldd, [&](int i) {
      const double size = i < s_.d ? (kept_beta_[i] < 0 ? -kept_beta_[i] : kept_beta_[i]) : 0.0;
      newton_.dz[i] = 0;
      weight_[i] = s_.here.slope[i];
      if (size > limit_rules::kLargePart * largest)
        newton_.dz[i] = s_.mirror.restore(i, kept_beta_[i], weight_[i]);
    });
    weighted_moves(newton_.step);
    if (!newton_.factor(p, weight_, newton_.relaxation(goal)))
      return;
    if (newton_.basis_changed) // the right-hand side belongs to the old basis
      weighted_moves(newton_.step);
    newton_.solve_factored(newton_.step);
    newton_.project_step();
    double length = smaller(1.0, newton_.longest_step() * 4.0);
    for (int tries = 0; tries < 40; ++tries, length *= 0.5)
      if (newton_.evaluate_trial(length))
        return newton_.accept_trial(length);
  }
  // Keeps beta; returns its largest size.
  KRF_HD double keep_beta() {
    team_.each(s_.d, [&](int i) { kept_beta_[i] = s_.here.beta[i]; });
    double largest = 0;
    for (int i = 0; i < s_.d; ++i)
      largest = larger(largest, kept_beta_[i] < 0 ? -kept_beta_[i] : kept_beta_[i]);
    return largest;
  }
  // out = X diag(weight) dz
  KRF_HD void weighted_moves(double *out) {
    NoSums none;
    team_.template map_features<1>(s_.X(), s_.ldn, s_.ldd, nullptr, out, none,
                                   [&](int i, const T *, T *o, NoSums &) {
                                     o[0] = read<T>(weight_ + i) * read<T>(newton_.dz + i);
                                   });
  }

  KRF_HD KRF_APART void report(const DiagonalProblem &p, const LimitOptions &o, LimitOutput &out) {
    // In the basis of the problem: the rows that were dropped may hold a residual, which no beta
    // removes, and rounding may leave one.
    out.loss = s_.loss() + newton_.loss_offset;
    const double goal = limit_rules::kSlack * o.tolerance * o.y_norm;
    if (out.status == Status::kConverged && out.loss > goal * goal)
      out.status = newton_.offset > goal * goal ? Status::kStationary : Status::kMaxSteps;
    if (!(out.loss < kInfinity) || (out.status == Status::kStationary && has_tiny_feature()))
      out.status = Status::kFailed;
    out.loss = (out.loss / p.unit) / p.unit;
    double *w_plus = newton_.dz, *w_minus = newton_.trial;
    team_.each(p.d, [&](int i) { out.beta[i] = s_.here.beta[i]; });
    team_.for_each(s_.ldd, [&](int i) {
      T plus, minus;
      s_.mirror.weights(i, splat<T>(0.0), plus, minus);
      write(w_plus + i, plus);
      write(w_minus + i, minus);
    });
    team_.each(p.d, [&](int i) { out.w_plus[i] = w_plus[i], out.w_minus[i] = w_minus[i]; });
    team_.each(p.n, [&](int i) { out.nu[i] = p.unit * s_.nu[i]; });
  }

  TeamT &team_;
  DualNewton<TeamT, MirrorT, LossT> newton_;
  DualState<TeamT, MirrorT, LossT> &s_;
  double *weight_, *phi_, *kept_beta_;
  double *saved_mirror_, *saved_nu_;
};

KRF_END_NAMESPACE
