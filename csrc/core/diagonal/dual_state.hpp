// Where a diagonal network stands in the flow of the squared loss: its mirror, and the residual.
#pragma once

#include "../loss.hpp"
#include "../ode/smooth_flow.hpp"
#include "mirror_state.hpp"
#include "weight_decay.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, Mirror MirrorT, QuadraticLoss LossT>
struct DualState : MirrorState<TeamT, MirrorT> {
  using Base = MirrorState<TeamT, MirrorT>;
  using Base::basis, Base::evaluate_mirror, Base::feature_norm, Base::here, Base::ldd, Base::ldn,
      Base::mirror, Base::next, Base::nu, Base::refresh_mirror, Base::team, Base::velocity, Base::X,
      Base::y;
  using typename Base::T;

  double *residual;
  double y_norm2 = 0;
  double noise = 0;          // rounding of the residual's norm
  double unreachable = -1.0; // |y|^2 that no beta reaches, once known (`beyond_reach`)

  KRF_HD DualState(TeamT &team_, const DiagonalProblem &p, Arena &arena)
      : Base(team_, p, arena), residual(arena.take(ldn)) {}

  // False if the initial weights are outside the floating-point range.
  KRF_HD KRF_APART bool start(const DiagonalProblem &p) {
    y_norm2 = team.dot(p.y, p.y, ldn);
    const double y_norm = std::sqrt(y_norm2);
    this->start_mirror(p, [&](int i) {
      return feature_norm[i] > 0 && y_norm > 0 ? y_norm / feature_norm[i] : kInfinity;
    });
    return refresh();
  }

  // Predictor, slopes and residual at the position.
  KRF_HD bool refresh() {
    if (!refresh_mirror())
      return false;
    renew_residual();
    return true;
  }

  // Predictions f become residuals.
  KRF_HD void to_residual(double *f) {
    team.for_each(ldn,
                  [&](int i) { write(f + i, LossT::residual(read<T>(f + i), read<T>(y + i))); });
  }
  KRF_HD void residual_of(const double *beta, double *out) {
    predict(team, X(), ldn, ldd, beta, out);
    to_residual(out);
  }
  KRF_HD void renew_residual() { residual_of(here.beta, residual); }

  KRF_HD double loss() { return team.dot(residual, residual, ldn); }
  // velocity = X' residual.  Returns true where it is nothing but rounding.
  KRF_HD KRF_APART bool measure_velocity() {
    this->renew_velocity(residual);
    noise = SmoothFlow::kRounding * (std::sqrt(y_norm2) + this->prediction_size());
    return !this->moves_faster_than(noise);
  }

  // Along the flow the loss never increases; whether a trial end keeps to that.
  KRF_HD bool decreases(const double *end_residual) {
    return SmoothFlow::falls(loss(), norm(team, end_residual, ldn), noise);
  }

  KRF_HD double step_cap() { return Base::step_cap(0.5 * std::log(loss()) + std::log(kFelt)); }

  // ResidualBasis, with what depends on the basis.
  KRF_HD bool rotate_stiff_first(const double *weight, double threshold, double *scratch) {
    const bool changed = basis.rotate_stiff_first(weight, threshold, scratch, y, nu);
    if (changed)
      renew_residual();
    return changed;
  }
  KRF_HD void restore_basis(const DiagonalProblem &p) {
    basis.restore(p, y, nu);
    renew_residual();
  }

  KRF_HD bool residual_is_rounding() { return std::sqrt(loss()) <= 2.0 * noise; }

  // Whether what is left of y lies where no beta reaches.  A residual along nearly dependent rows
  // has a velocity of rounding too, and still decays.  The rank of X is decided once a run, with
  // the scratch `weight` (d) and `remaining` (d); `basis_changed` tells that the basis is the
  // problem's again, which invalidates what was built on another.
  KRF_HD KRF_APART bool beyond_reach(const DiagonalProblem &p, double *weight, double *remaining,
                                     bool &basis_changed) {
    basis_changed = false;
    const double left = loss();
    if (unreachable < 0.0) {
      restore_basis(p);
      weigh(1.0, nullptr, weight);
      rotate_stiff_first(weight, 0.0, remaining);
      unreachable = basis.norm2_below(y);
      restore_basis(p);
      basis_changed = true;
    }
    return left <= 4.0 * unreachable;
  }

  // out_i = scale slope_i |x_i|^2; null slopes are one.
  KRF_HD void weigh(double scale, const double *slope, double *out) {
    team.for_each(ldd, [&](int i) {
      const T length = read<T>(feature_norm + i);
      const T weight = slope ? scale * read<T>(slope + i) : splat<T>(scale);
      write(out + i, weight * length * length);
    });
  }
};

KRF_END_NAMESPACE
