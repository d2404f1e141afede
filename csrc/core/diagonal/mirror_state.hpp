// Where the mirror of a diagonal network stands: the dual nu, the position z = X' nu with the
// predictor and its slopes there, and a trial end of the step under way.
#pragma once

#include "../ode/error_norm.hpp"
#include "mirror.hpp"
#include "residual_basis.hpp"

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

template <Team TeamT, Mirror MirrorT> struct MirrorState {
  using T = typename TeamT::Value;

  TeamT &team;
  int d, ldn, ldd;
  const double *feature_norm;
  ResidualBasis<TeamT> basis;
  double *y, *nu;
  MirrorArrays here, next; // at the position, and at a trial end
  double *velocity;        // of z: X' field
  double *next_velocity;   // the same at the trial end
  double *mirror_storage;
  MirrorT mirror;
  double *pair; // two vectors to be projected at once
  bool velocity_is_known = false;

  KRF_HD MirrorState(TeamT &team_, const DiagonalProblem &p, Arena &arena)
      : team(team_), d(p.d), ldn(padded(p.n)), ldd(padded(p.d)), feature_norm(p.feature_norm),
        basis(team_, p, arena), y(arena.take(ldn)), nu(arena.take(ldn)), here(ldd, arena),
        next(ldd, arena), velocity(arena.take(ldd)), next_velocity(arena.take(ldd)),
        mirror_storage(arena.take(static_cast<long long>(MirrorT::kArrays) * ldd)),
        mirror(p.depth, mirror_storage, ldd), pair(arena.take(2LL * ldn)) {}

  KRF_HD int n() const { return basis.n; }
  KRF_HD const double *X() const { return basis.X; }

  // At t = 0; `largest(i)` is the largest beta_i that the targets ask for.
  template <class Largest> KRF_HD void start_mirror(const DiagonalProblem &p, Largest largest) {
    basis.load(p);
    copy(team, p.y, y, ldn);
    fill(team, 0.0, nu, ldn);
    team.each(ldd, [&](int i) {
      mirror.start(i, p.w_plus0[i], p.w_minus0[i], largest(i));
      basis.is_leading[i] = 0.0;
    });
  }
  // Predictor and slopes at the position; false where they are no numbers.
  KRF_HD bool refresh_mirror() {
    T bad = splat<T>(0.0);
    team.for_each(ldd, [&](int i) { evaluate_mirror(i, splat<T>(0.0), bad); });
    if (team.max(bad) > 0.0)
      return false;
    swap(here, next);
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

  // Both weights by e^log_factor, where they are.
  KRF_HD KRF_APART void shrink(double log_factor) {
    team.each(ldd, [&](int i) { mirror.shrink(i, log_factor); });
    T bad = splat<T>(0.0);
    team.for_each(ldd, [&](int i) { evaluate_mirror(i, splat<T>(0.0), bad); });
    swap(here, next);
  }

  KRF_HD double beta_norm() {
    T sum = splat<T>(0.0);
    team.for_each(ldd, [&](int i) { sum += read<T>(here.beta + i) * read<T>(here.beta + i); });
    return std::sqrt(team.sum(sum));
  }

  // velocity = X' field, unless the last step left it there.
  KRF_HD void renew_velocity(const double *field) {
    if (!velocity_is_known)
      project(team, X(), ldn, ldd, field, velocity);
    velocity_is_known = false;
  }

  // What predictions are sums of: sum_i |beta_i| |x_i|.
  KRF_HD double prediction_size() {
    T sum = splat<T>(0.0);
    team.for_each(
        ldd, [&](int i) { sum += absolute(read<T>(here.beta + i)) * read<T>(feature_norm + i); });
    return team.sum(sum);
  }
  // Whether some |velocity_i| is more than still |x_i|.
  KRF_HD bool moves_faster_than(double still) {
    T above = splat<T>(0.0);
    team.for_each(ldd, [&](int i) {
      above =
          greater_of(above, absolute(read<T>(velocity + i)) - still * read<T>(feature_norm + i));
    });
    return team.max(above) > 0.0;
  }

  // How long every coordinate stays predictable at constant velocity; predictions below the size
  // e^log_felt are not felt.
  KRF_HD double step_cap(double log_felt) {
    T cap = splat<T>(kInfinity);
    team.for_each(ldd, [&](int i) {
      const T log_felt_here = log_felt - logarithm(read<T>(feature_norm + i));
      const T v = read<T>(velocity + i);
      const T longest = mirror.step_cap(i, v, log_felt_here);
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
  // same pass over X projects the field there, which is wanted next if the step is accepted.
  KRF_HD ErrorNorm error_norm_at_end(const double *dnu, const double *end_field) {
    copy(team, dnu, pair, ldn);
    copy(team, end_field, pair + ldn, ldn);
    EndSums sums;
    team.template map_features<2>(
        X(), ldn, ldd, pair, nullptr, sums,
        [&](int i, const T *z, T *, EndSums &own) { map_error(i, z, own); });
    double of[3];
    team.template reduce<2, 1>(sums.parts, of);
    return {of[2], std::sqrt(of[0]), std::sqrt(of[1])};
  }

  // Squares of the change of the predictor and of the predictor; the largest change of a part.
  using EndSums = PassSums<T, 2, 1>;
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
  // Both weights where z is moved by dz (null: nowhere), times `left`, as row `row` of the results;
  // `room` is for two vectors of features.
  KRF_HD KRF_APART void write_weights(DiagonalFlowOutput &out, int row, const double *dz,
                                      double left, double *room) {
    double *w_plus = room, *w_minus = room + ldd;
    team.for_each(ldd, [&](int i) {
      T plus, minus;
      mirror.weights(i, dz ? read<T>(dz + i) : splat<T>(0.0), plus, minus);
      write(w_plus + i, left * plus);
      write(w_minus + i, left * minus);
    });
    const long long at = static_cast<long long>(row) * d;
    team.each(d, [&](int i) {
      out.w_plus[at + i] = w_plus[i];
      out.w_minus[at + i] = w_minus[i];
    });
  }
  // Of a run that could not start.
  KRF_HD KRF_APART void write_unstarted(DiagonalFlowOutput &out, int row, double loss, double t) {
    const long long at = static_cast<long long>(row) * d, at_nu = static_cast<long long>(row) * n();
    team.each(d, [&](int i) { out.beta[at + i] = out.w_plus[at + i] = out.w_minus[at + i] = 0.0; });
    team.each(n(), [&](int i) { out.nu[at_nu + i] = 0.0; });
    team.once([&] { out.loss[row] = loss, out.t[row] = t; });
  }

  // The velocity that error_norm_at_end found at the end is that of the state.
  KRF_HD void take_velocity_of_end() {
    swap(velocity, next_velocity);
    velocity_is_known = true;
  }
};

KRF_END_NAMESPACE
