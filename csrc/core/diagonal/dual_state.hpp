// Where one diagonal run stands: the dual nu, the mirror, predictor, slopes and residual.
#pragma once

#include "../ode/error_norm.hpp"
#include "../team.hpp"
#include "mirror.hpp"
#include "problem.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, Mirror MirrorT> struct DualState {
  using T = typename TeamT::Value;

  TeamT &team;
  int n, d, ldn, ldd;
  const double *X;
  const double *feature_norm;
  double *y, *nu, *residual;
  double *beta, *slope, *size;                // at the position
  double *next_beta, *next_slope, *next_size; // at the end of a trial step
  double *velocity;                           // X^T residual
  double *next_velocity;                      // the same at the end of a trial step
  bool velocity_known = false;                // `velocity` belongs to the residual already
  double *mirror_storage;
  MirrorT mirror;
  // The residual space may be turned by Householder reflections so that features with huge slope
  // occupy leading rows only.  Inner products are unchanged; what changes is that x_i . nu of such
  // a feature no longer sums large numbers of opposite sign, and that the Gram matrix is graded:
  // its large block comes first, its tiny complement is not drowned in rounding.
  double *rotated_X, *reflectors, *is_leading;
  double *pair; // two vectors to be projected at once
  int n_reflectors = 0;
  double y_norm2 = 0;
  double noise = 0;          // rounding of the residual's norm
  double unreachable = -1.0; // |y|^2 that no beta reaches, once known (`beyond_reach`)

  KRF_HD DualState(TeamT &team_, const DiagonalProblem &p, Arena &arena)
      : team(team_), n(p.n), d(p.d), ldn(padded(p.n)), ldd(padded(p.d)), X(p.X),
        feature_norm(p.feature_norm), y(arena.take(ldn)), nu(arena.take(ldn)),
        residual(arena.take(ldn)), beta(arena.take(ldd)), slope(arena.take(ldd)),
        size(arena.take(ldd)), next_beta(arena.take(ldd)), next_slope(arena.take(ldd)),
        next_size(arena.take(ldd)), velocity(arena.take(ldd)), next_velocity(arena.take(ldd)),
        mirror_storage(arena.take(static_cast<long long>(MirrorT::kArrays) * ldd)),
        mirror(p.depth, mirror_storage, ldd),
        rotated_X(arena.take(static_cast<long long>(ldd) * ldn)),
        reflectors(arena.take(static_cast<long long>(ldn) * ldn)), is_leading(arena.take(ldd)),
        pair(arena.take(2LL * ldn)) {}

  // False if the initial weights are outside the floating-point range.
  KRF_HD KRF_APART bool start(const DiagonalProblem &p) {
    team.for_each(ldn, [&](int i) {
      write(y + i, read<T>(p.y + i));
      write(nu + i, splat<T>(0.0));
    });
    y_norm2 = team.dot(y, y, ldn);
    const double y_norm = std::sqrt(y_norm2);
    team.each(ldd, [&](int i) {
      const double largest =
          feature_norm[i] > 0 && y_norm > 0 ? y_norm / feature_norm[i] : kInfinity;
      mirror.start(i, p.w_plus0[i], p.w_minus0[i], largest);
      is_leading[i] = 0.0;
    });
    if (!refresh())
      return false;
    return true;
  }

  // Predictor, slopes and residual at the position.
  KRF_HD bool refresh() {
    T bad = splat<T>(0.0);
    team.for_each(ldd, [&](int i) { store(i, splat<T>(0.0), bad); });
    if (team.max(bad) > 0.0)
      return false;
    swap_next();
    subtract_prediction(beta, residual);
    return true;
  }

  KRF_HD void store(int i, T dz, T &bad) {
    auto good = dz < dz;
    const MirrorValue<T> v = mirror.evaluate(i, dz, good);
    write(next_beta + i, v.beta);
    write(next_slope + i, v.slope);
    write(next_size + i, v.size);
    bad = select(good, bad, splat<T>(1.0));
  }

  KRF_HD void swap_next() {
    double *b = beta, *s = slope, *z = size;
    beta = next_beta, slope = next_slope, size = next_size;
    next_beta = b, next_slope = s, next_size = z;
  }

  // out = y - X b
  KRF_HD void subtract_prediction(const double *b, double *out) {
    team.template map_features<1>(X, ldn, ldd, nullptr, out,
                                  [&](int i, const T *, T *o) { o[0] = read<T>(b + i); });
    team.for_each(ldn, [&](int i) { write(out + i, read<T>(y + i) - read<T>(out + i)); });
  }

  KRF_HD double loss() { return team.dot(residual, residual, ldn); }
  KRF_HD double beta_norm() {
    T sum = splat<T>(0.0);
    team.for_each(ldd, [&](int i) { sum += read<T>(beta + i) * read<T>(beta + i); });
    return std::sqrt(team.sum(sum));
  }

  // velocity = X^T residual.  Returns true where it is nothing but rounding.
  KRF_HD KRF_APART bool measure_velocity() {
    if (!velocity_known)
      team.template map_features<1>(X, ldn, ldd, residual, nullptr,
                                    [&](int i, const T *z, T *) { write(velocity + i, z[0]); });
    velocity_known = false;
    T prediction = splat<T>(0.0);
    team.for_each(
        ldd, [&](int i) { prediction += absolute(read<T>(beta + i)) * read<T>(feature_norm + i); });
    noise = 32.0 * kEpsilon * (std::sqrt(y_norm2) + team.sum(prediction));
    T above = splat<T>(0.0);
    team.for_each(ldd, [&](int i) {
      above =
          greater_of(above, absolute(read<T>(velocity + i)) - noise * read<T>(feature_norm + i));
    });
    return !(team.max(above) > 0.0);
  }

  // Along the flow the loss never increases; whether a trial end keeps to that.
  KRF_HD bool decreases(const double *end) {
    const double bound = std::sqrt(loss()) * (1.0 + 1e-9) + 2.0 * noise;
    return std::sqrt(team.dot(end, end, ldn)) <= bound;
  }

  // How long every coordinate stays predictable at constant velocity.
  KRF_HD double step_cap() {
    const double log_residual = 0.5 * std::log(loss()) + std::log(kFelt);
    T cap = splat<T>(kInfinity);
    team.for_each(ldd, [&](int i) {
      const T log_felt = log_residual - logarithm(read<T>(feature_norm + i));
      const T v = read<T>(velocity + i);
      const T here = mirror.step_cap(i, v, log_felt);
      // A feature that relaxes within that time does not keep its velocity; a padding or zero one
      // never moves (0 / 0 above).
      const T norm = read<T>(feature_norm + i);
      const T relaxation = here * read<T>(slope + i) * norm * norm;
      const auto binds = (absolute(v) > 0.0) & (relaxation < 1.0);
      cap = lesser_of(cap, select(binds, here, splat<T>(kInfinity)));
    });
    return -team.max(0.0 - cap);
  }

  // The change of beta and of the weights if z moved by X^T dnu, measured at the trial end.  The
  // same pass over X projects the residual there, which is wanted next if the step is accepted.
  KRF_HD ErrorNorm error_norm_at_end(const double *dnu, const double *end_residual) {
    T componentwise = splat<T>(0.0), predictor = splat<T>(0.0), predictor_norm = splat<T>(0.0);
    team.for_each(ldn, [&](int i) {
      write(pair + i, read<T>(dnu + i));
      write(pair + ldn + i, read<T>(end_residual + i));
    });
    team.template map_features<2>(X, ldn, ldd, pair, nullptr, [&](int i, const T *z, T *) {
      const T moved = read<T>(next_slope + i) * absolute(z[0]);
      componentwise = greater_of(componentwise, moved / read<T>(next_size + i));
      predictor += moved * moved;
      const T b = read<T>(next_beta + i);
      predictor_norm += b * b;
      write(next_velocity + i, z[1]);
    });
    const T parts[3] = {predictor, predictor_norm, componentwise};
    double of[3];
    team.template reduce<2, 1>(parts, of);
    return {of[2], std::sqrt(of[0]), std::sqrt(of[1])};
  }

  // Move to position + dz, whose predictor and slopes are in next_*.
  KRF_HD void advance(const double *dz, const double *dnu) {
    team.for_each(ldd, [&](int i) { mirror.advance(i, read<T>(dz + i)); });
    team.for_each(ldn, [&](int i) { write(nu + i, read<T>(nu + i) + read<T>(dnu + i)); });
    swap_next();
  }

  KRF_HD void reflect_vector(const double *v, double *x) {
    const double scale = -2.0 * team.dot(v, x, ldn);
    team.for_each(ldn, [&](int i) { write(x + i, read<T>(x + i) + scale * read<T>(v + i)); });
  }

  // Turn the residual space so that features with weight > threshold, largest first, lead.
  // `remaining` (d) is scratch.  Returns whether anything basis_changed; the residual is renewed
  // then.
  KRF_HD KRF_APART bool rotate_stiff_first(const double *weight, double threshold,
                                           double *remaining) {
    // A feature with less than 1e-12 of its length left lies in the rows already taken.
    constexpr double kDependent = 1e-24;
    const auto rest_of = [&](int i) {
      const double *x = X + static_cast<long long>(i) * ldn;
      double rest = 0;
      for (int c = n_reflectors; c < n; ++c)
        rest += x[c] * x[c];
      return rest;
    };
    team.each(d, [&](int i) {
      remaining[i] = is_leading[i] == 0.0 && weight[i] > threshold ? rest_of(i) : 0.0;
    });
    bool basis_changed = false;
    while (n_reflectors < n) {
      // Greedy by what is left of each weighted feature below the rows already taken.
      const int best = team.largest(d, [&](int i) {
        const double norm = feature_norm[i] * feature_norm[i];
        return remaining[i] > kDependent * norm ? weight[i] * remaining[i] / norm : 0.0;
      });
      if (best < 0)
        break;
      apply_reflector(best, std::sqrt(rest_of(best)));
      basis_changed = true;
      team.each(d, [&](int i) {
        if (i == best) {
          is_leading[i] = 1.0;
          remaining[i] = 0.0;
        }
        if (remaining[i] == 0.0)
          return;
        const double taken = X[static_cast<long long>(i) * ldn + n_reflectors - 1];
        remaining[i] -= taken * taken;
        if (remaining[i] < 1e-6 * feature_norm[i] * feature_norm[i])
          remaining[i] = rest_of(i);
      });
    }
    if (basis_changed)
      subtract_prediction(beta, residual);
    return basis_changed;
  }

  // Back to the basis of the problem.
  KRF_HD void restore_basis(const DiagonalProblem &p) {
    to_original(nu);
    X = p.X;
    n = p.n;
    n_reflectors = 0;
    team.for_each(ldn, [&](int i) { write(y + i, read<T>(p.y + i)); });
    team.for_each(ldd, [&](int i) { write(is_leading + i, splat<T>(0.0)); });
    subtract_prediction(beta, residual);
  }

  // The Householder turn that leaves feature i with nothing below row n_reflectors.
  KRF_HD void apply_reflector(int i, double left) {
    if (X != rotated_X) {
      team.for_each(ldd * ldn, [&](int c) { write(rotated_X + c, read<T>(X + c)); });
      X = rotated_X;
    }
    const int k = n_reflectors++;
    double *x = rotated_X + static_cast<long long>(i) * ldn;
    double *v = reflectors + static_cast<long long>(k) * ldn;
    team.each(ldn, [&](int c) {
      v[c] = c >= k ? x[c] : 0.0;
      if (c == k)
        v[c] += v[c] < 0 ? -left : left;
    });
    const double scale = 1.0 / std::sqrt(team.dot(v, v, ldn));
    team.each(ldn, [&](int c) { v[c] *= scale; });
    team.reflect(rotated_X, ldn, ldd, v);
    team.each(ldn, [&](int c) {
      if (c > k)
        x[c] = 0.0;
    });
    reflect_vector(v, y);
    reflect_vector(v, nu);
  }

  // After grading with threshold zero: rows beyond the rank of X hold nothing but rounding.  Drops
  // them and returns the part of |y|^2 that lies there.
  KRF_HD KRF_APART double drop_null_rows() {
    double unreachable = 0;
    for (int c = n_reflectors; c < n; ++c)
      unreachable += y[c] * y[c];
    team.sync();
    team.each(ldd, [&](int i) {
      for (int c = n_reflectors; c < n; ++c)
        rotated_X[static_cast<long long>(i) * ldn + c] = 0.0;
    });
    team.each(n, [&](int c) {
      if (c >= n_reflectors)
        y[c] = nu[c] = residual[c] = 0.0;
    });
    n = n_reflectors;
    return unreachable;
  }

  KRF_HD bool residual_is_rounding() { return std::sqrt(loss()) <= 2.0 * noise; }

  // Whether what is left of y lies where no beta reaches.  A residual along nearly dependent rows
  // has a velocity of rounding too, and still decays.  The rank of X is decided once a run, in
  // `remaining` (d) and `weight` (d); `basis_changed` tells that the basis is the problem's again,
  // which invalidates what was built on another.
  KRF_HD KRF_APART bool beyond_reach(const DiagonalProblem &p, double *weight, double *remaining,
                                     bool &basis_changed) {
    basis_changed = false;
    const double left = loss();
    if (unreachable < 0.0) {
      restore_basis(p);
      team.for_each(ldd, [&](int i) {
        const T norm = read<T>(feature_norm + i);
        write(weight + i, norm * norm);
      });
      rotate_stiff_first(weight, 0.0, remaining);
      double sum = 0;
      for (int c = n_reflectors; c < n; ++c)
        sum += y[c] * y[c];
      team.sync();
      unreachable = sum;
      restore_basis(p);
      basis_changed = true;
    }
    return left <= 4.0 * unreachable;
  }

  // A dual vector in the caller's basis, in place.
  KRF_HD void to_original(double *x) {
    for (int k = n_reflectors - 1; k >= 0; --k)
      reflect_vector(reflectors + static_cast<long long>(k) * ldn, x);
  }
};

KRF_END_NAMESPACE
