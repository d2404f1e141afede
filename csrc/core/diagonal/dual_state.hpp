// Where a diagonal network stands: the dual nu, the mirror's position z = X' nu, the predictor, its
// slopes and the residual.
#pragma once

#include "../loss.hpp"
#include "../ode/smooth_flow.hpp"
#include "mirror.hpp"
#include "residual_basis.hpp"
#include "weight_decay.hpp"

KRF_BEGIN_NAMESPACE

// What the mirror says of every coordinate at one position (MirrorValue).
struct MirrorArrays {
  double *beta, *slope, *relative_slope;
  KRF_HD MirrorArrays(int ldd, Arena &arena)
      : beta(arena.take(ldd)), slope(arena.take(ldd)), relative_slope(arena.take(ldd)) {}
  template <class T> KRF_HD void store(int i, const MirrorValue<T> &v) const {
    write(beta + i, v.beta);
    write(slope + i, v.slope);
    write(relative_slope + i, v.relative_slope);
  }
};

template <Team TeamT, Mirror MirrorT, QuadraticLoss LossT> struct DualState {
  using T = typename TeamT::Value;

  TeamT &team;
  int d, ldn, ldd;
  const double *feature_norm;
  ResidualBasis<TeamT> basis;
  double *y, *nu, *residual;
  MirrorArrays here, next; // at the position, and at a trial end
  double *velocity;        // of z: X' residual
  double *next_velocity;   // the same at the trial end
  double *mirror_storage;
  MirrorT mirror;
  double *pair; // two vectors to be projected at once
  bool velocity_is_known = false;
  double y_norm2 = 0;
  double noise = 0;          // rounding of the residual's norm
  double unreachable = -1.0; // |y|^2 that no beta reaches, once known (`beyond_reach`)

  KRF_HD DualState(TeamT &team_, const DiagonalProblem &p, Arena &arena)
      : team(team_), d(p.d), ldn(padded(p.n)), ldd(padded(p.d)), feature_norm(p.feature_norm),
        basis(team_, p, arena), y(arena.take(ldn)), nu(arena.take(ldn)), residual(arena.take(ldn)),
        here(ldd, arena), next(ldd, arena), velocity(arena.take(ldd)),
        next_velocity(arena.take(ldd)),
        mirror_storage(arena.take(static_cast<long long>(MirrorT::kArrays) * ldd)),
        mirror(p.depth, mirror_storage, ldd), pair(arena.take(2LL * ldn)) {}

  KRF_HD int n() const { return basis.n; }
  KRF_HD const double *X() const { return basis.X; }

  // False if the initial weights are outside the floating-point range.
  KRF_HD KRF_APART bool start(const DiagonalProblem &p) {
    copy(team, p.y, y, ldn);
    fill(team, 0.0, nu, ldn);
    y_norm2 = team.dot(y, y, ldn);
    const double y_norm = std::sqrt(y_norm2);
    team.each(ldd, [&](int i) {
      const double largest =
          feature_norm[i] > 0 && y_norm > 0 ? y_norm / feature_norm[i] : kInfinity;
      mirror.start(i, p.w_plus0[i], p.w_minus0[i], largest);
      basis.is_leading[i] = 0.0;
    });
    return refresh();
  }

  // Both weights by e^log_factor, where they are; the residual is left as it was.
  KRF_HD KRF_APART void shrink(double log_factor) {
    team.each(ldd, [&](int i) { mirror.shrink(i, log_factor); });
    T bad = splat<T>(0.0);
    team.for_each(ldd, [&](int i) { evaluate_mirror(i, splat<T>(0.0), bad); });
    swap(here, next);
  }

  // Predictor, slopes and residual at the position.
  KRF_HD bool refresh() {
    T bad = splat<T>(0.0);
    team.for_each(ldd, [&](int i) { evaluate_mirror(i, splat<T>(0.0), bad); });
    if (team.max(bad) > 0.0)
      return false;
    swap(here, next);
    renew_residual();
    return true;
  }

  // The mirror at position + dz, kept as the trial end; `bad` is one where that is outside its
  // domain.  Returns beta.
  KRF_HD T evaluate_mirror(int i, T dz, T &bad) {
    auto good = dz < dz;
    const MirrorValue<T> v = mirror.evaluate(i, dz, good);
    next.store(i, v);
    bad = select(good, bad, splat<T>(1.0));
    return v.beta;
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
  KRF_HD double beta_norm() {
    T sum = splat<T>(0.0);
    team.for_each(ldd, [&](int i) { sum += read<T>(here.beta + i) * read<T>(here.beta + i); });
    return std::sqrt(team.sum(sum));
  }

  // velocity = X' residual.  Returns true where it is nothing but rounding.
  KRF_HD KRF_APART bool measure_velocity() {
    if (!velocity_is_known)
      project(team, X(), ldn, ldd, residual, velocity);
    velocity_is_known = false;
    T prediction = splat<T>(0.0);
    team.for_each(ldd, [&](int i) {
      prediction += absolute(read<T>(here.beta + i)) * read<T>(feature_norm + i);
    });
    noise = SmoothFlow::kRounding * (std::sqrt(y_norm2) + team.sum(prediction));
    T above = splat<T>(0.0);
    team.for_each(ldd, [&](int i) {
      above =
          greater_of(above, absolute(read<T>(velocity + i)) - noise * read<T>(feature_norm + i));
    });
    return !(team.max(above) > 0.0);
  }

  // Along the flow the loss never increases; whether a trial end keeps to that.
  KRF_HD bool decreases(const double *end_residual) {
    return SmoothFlow::falls(loss(), norm(team, end_residual, ldn), noise);
  }

  // How long every coordinate stays predictable at constant velocity.
  KRF_HD double step_cap() {
    const double log_residual = 0.5 * std::log(loss()) + std::log(kFelt);
    T cap = splat<T>(kInfinity);
    team.for_each(ldd, [&](int i) {
      const T log_felt = log_residual - logarithm(read<T>(feature_norm + i));
      const T v = read<T>(velocity + i);
      const T longest = mirror.step_cap(i, v, log_felt);
      // A feature that relaxes within that time does not keep its velocity; a padding or zero one
      // never moves (0 / 0 above).
      const T length = read<T>(feature_norm + i);
      const T relaxation = longest * read<T>(here.slope + i) * length * length;
      const auto binds = (absolute(v) > 0.0) & (relaxation < 1.0);
      cap = lesser_of(cap, select(binds, longest, splat<T>(kInfinity)));
    });
    return min(team, cap);
  }

  // The change of beta and of the weights if z moved by X' dnu, measured at the trial end.  The
  // same pass over X projects the residual there, which is wanted next if the step is accepted.
  KRF_HD ErrorNorm error_norm_at_end(const double *dnu, const double *end_residual) {
    copy(team, dnu, pair, ldn);
    copy(team, end_residual, pair + ldn, ldn);
    EndSums sums;
    team.template map_features<2>(X(), ldn, ldd, pair, nullptr,
                                  [&](int i, const T *z, T *) { map_error(i, z, sums); });
    double of[3];
    team.template reduce<2, 1>(sums.parts, of);
    return {of[2], std::sqrt(of[0]), std::sqrt(of[1])};
  }

  struct EndSums {
    // Squares of the change of the predictor and of the predictor; the largest change of a part.
    T parts[3] = {};
  };
  // What a pass over X computes at feature i, where z moves by z[0] at the trial end, and the
  // velocity there is z[1].
  KRF_HD void map_error(int i, const T *z, EndSums &sums) {
    const T moved = read<T>(next.slope + i) * absolute(z[0]), b = read<T>(next.beta + i);
    sums.parts[2] = greater_of(sums.parts[2], read<T>(next.relative_slope + i) * absolute(z[0]));
    sums.parts[0] += moved * moved;
    sums.parts[1] += b * b;
    write(next_velocity + i, z[1]);
  }

  // To position + dz, whose predictor and slopes are the trial end's.
  KRF_HD void advance_by(const double *dz, const double *dnu, double nu_scale = 1.0) {
    team.for_each(ldd, [&](int i) { mirror.advance(i, read<T>(dz + i)); });
    axpy(team, nu_scale, dnu, nu, ldn);
    swap(here, next);
  }

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
