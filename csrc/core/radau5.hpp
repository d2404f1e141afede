// Radau IIA, three stages, order 5, on the dual flow nu' = y - X beta(nu).
//
// Simplified Newton in the eigenbasis of the method's matrix (Hairer & Wanner, Solving Ordinary
// Differential Equations II, section IV.8), with three changes that the problem invites.  The
// Jacobian -X diag(s) X^T is one Gram matrix, moved column by column (gram.hpp).  Its slopes are
// the mean over the predicted stages, so an activation inside the step does not surprise Newton.
// Every iteration is one fused pass over X that moves the stages z by X^T dN, so each z_i keeps
// the precision of its own small change.
#pragma once

#include "gram.hpp"

KRF_BEGIN_NAMESPACE

namespace radau5 {
inline constexpr double kC[3] = {0.15505102572168219018, 0.64494897427831780982, 1.0};
inline constexpr double kGamma = 3.6378342527444957322;
inline constexpr double kAlpha = 2.6810828736277521339;
inline constexpr double kBeta = 3.0504301992474105694;
inline constexpr double kT[3][3] = {
    {0.094438762488975241487, -0.14125529502095420843, -0.030029194105147424492},
    {0.25021312296533331138, 0.204129352293799932, 0.3829421127572619378},
    {1.0, 1.0, 0.0}};
inline constexpr double kTInverse[3][3] = {
    {4.1787185915519047273, 0.32768282076106238708, 0.52337644549944954804},
    {-4.1787185915519047273, -0.32768282076106238708, 0.47662355450055045196},
    {-0.50287263494578687595, 2.5719269498556054292, -0.59603920482822492497}};
inline constexpr double kErrorWeights[3] = {-10.048809399827415562, 1.3821427331607488958,
                                            -0.33333333333333333333};
inline constexpr int kMaxNewton = 8;
inline constexpr double kGramDrift = 0.2;
// After a Newton iteration slower than this the matrix is brought up to date more closely.
inline constexpr double kSlowRate = 0.1;
inline constexpr double kFineDrift = 0.02;
// Longest step, in units of the last one, over which its polynomial is extrapolated.
inline constexpr double kExtrapolate = 2.0;
inline constexpr double kStepShare = 0.03;

// Lagrange weights at x of the polynomial through (0, 0) and the three stages.
KRF_HD inline void dense_weights(double x, double weights[3]) {
  for (int j = 0; j < 3; ++j) {
    double w = x / kC[j];
    for (int k = 0; k < 3; ++k)
      if (k != j)
        w *= (x - kC[k]) / (kC[j] - kC[k]);
    weights[j] = w;
  }
}
} // namespace radau5

template <class Team, class Mirror> struct Radau5 {
  using T = typename Team::Value;
  using State = DualState<Team, Mirror>;

  State &s;
  ScaledGram<Team, Mirror> gram;
  double *real, *real_pivot;                     // factor of gamma / h + G
  double *plane_r, *plane_i, *pivot_r, *pivot_i; // factor of (alpha + i beta) / h + G
  double *N, *dN, *F;                            // stages of the dual, changes, fields
  double *Z;                                     // stages of z
  double *mean_slope, *scratch, *defect;
  double *old_N; // stages of the last accepted step
  double h_factored = 0, h_old = 0, newton_tolerance = 0, step_change = 0;
  double rate = 0; // of the last Newton iteration that measured one
  int iterations = 0;
  long long n_rhs = 0;

  Radau5(State &state, Arena &arena)
      : s(state), gram(s.ldn, s.ldd, arena), real(square(arena)), real_pivot(arena.take(s.ldn)),
        plane_r(square(arena)), plane_i(square(arena)), pivot_r(arena.take(s.ldn)),
        pivot_i(arena.take(s.ldn)), N(arena.take(3 * s.ldn)), dN(arena.take(3 * s.ldn)),
        F(arena.take(3 * s.ldn)), Z(arena.take(3 * s.ldd)), mean_slope(arena.take(s.ldd)),
        scratch(arena.take(s.ldd)), defect(arena.take(s.ldn)), old_N(arena.take(3 * s.ldn)) {}

  double *square(Arena &arena) { return arena.take(static_cast<long long>(s.ldn) * s.ldn); }

  void start() {
    gram.clear(s);
    for (int i = 0; i < 3 * s.ldn; ++i)
      old_N[i] = 0.0;
  }
  void forget() { h_old = 0; }

  // Stages of the last step extrapolated; far ahead only their mean velocity, which unlike the
  // residual is free of what has relaxed; at first the residual.
  void predict(double h) {
    const double ratio = h_old > 0 ? h / h_old : 0.0;
    for (int j = 0; j < 3; ++j) {
      double w[3] = {0.0, 0.0, ratio * radau5::kC[j]}, along_residual = 0.0;
      if (h_old == 0.0) {
        along_residual = h * radau5::kC[j];
      } else if (ratio < radau5::kExtrapolate) {
        radau5::dense_weights(1.0 + ratio * radau5::kC[j], w);
        w[2] -= 1.0;
      }
      s.team.for_each(s.ldn, [&](int i) {
        write(N + j * s.ldn + i, w[0] * read<T>(old_N + i) + w[1] * read<T>(old_N + s.ldn + i) +
                                     w[2] * read<T>(old_N + 2 * s.ldn + i) +
                                     along_residual * read<T>(s.residual + i));
      });
    }
  }

  // One pass: Z (+)= X^T V, fields F at the new stages, and the size of the change.  False where a
  // stage leaves the domain of the mirror.  step_change is that of beta over the whole step.
  bool move_stages(const double *V, bool add, Change &change) {
    T bad = splat<T>(0.0), single = splat<T>(0.0);
    T whole[3] = {}, norm = splat<T>(0.0), total = splat<T>(0.0);
    const int ldd = s.ldd;
    s.team.template sweep<3>(s.X, s.ldn, ldd, V, F, [&](int i, const T *z, T *out) {
      T mean = splat<T>(0.0);
      for (int j = 0; j < 3; ++j) {
        double *at = Z + j * ldd + i;
        const T dz = add ? read<T>(at) + z[j] : z[j];
        write(at, dz);
        auto good = dz < dz;
        const MirrorValue<T> v = s.mirror.evaluate(i, dz, good);
        bad = select(good, bad, splat<T>(1.0));
        const T moved = v.slope * absolute(z[j]);
        single = greater_of(single, moved / v.size);
        whole[j] += moved * moved;
        mean += v.slope;
        out[j] = v.beta;
        if (j == 2) {
          norm += v.beta * v.beta;
          total += v.slope * dz * (v.slope * dz);
          write(s.next_beta + i, v.beta);
          write(s.next_slope + i, v.slope);
          write(s.next_size + i, v.size);
        }
      }
      write(mean_slope + i, mean * (1.0 / 3.0));
    });
    n_rhs += 3;
    if (s.team.max(bad) > 0.0)
      return false;
    step_change = std::sqrt(s.team.sum(total));
    for (int j = 0; j < 3; ++j)
      s.team.for_each(s.ldn, [&](int i) {
        double *f = F + j * s.ldn + i;
        write(f, read<T>(s.y + i) - read<T>(f));
      });
    const double worst =
        larger(s.team.sum(whole[0]), larger(s.team.sum(whole[1]), s.team.sum(whole[2])));
    change = {s.team.max(single), std::sqrt(worst), std::sqrt(s.team.sum(norm))};
    return true;
  }

  // Gram matrix and factors for a step h; false if the matrix was not definite.  Sets `turned` if
  // the basis changed, which invalidates N.
  bool prepare(double h, bool &turned) {
    turned = false;
    const double drift = rate > radau5::kSlowRate ? radau5::kFineDrift : radau5::kGramDrift;
    if (!gram.update(s, mean_slope, radau5::kGamma / h, drift) && h == h_factored)
      return true;
    const double kept = factor(h);
    if (kept > 1e-8)
      return true;
    s.team.for_each(s.ldd, [&](int i) {
      const T norm = read<T>(s.feature_norm + i);
      write(scratch + i, h * read<T>(mean_slope + i) * norm * norm);
    });
    const int known = s.n_reflectors;
    if (s.grade(scratch, 1e3, gram.change)) {
      gram.clear(s);
      for (int k = known; k < s.n_reflectors; ++k)
        for (int j = 0; j < 3; ++j)
          s.reflect_vector(s.reflectors + static_cast<long long>(k) * s.ldn, old_N + j * s.ldn);
      h_factored = 0;
      turned = true;
      return true;
    }
    if (!(kept > 0.0))
      h_factored = 0; // there is no factor to reuse
    return kept > 0.0;
  }

  double factor(double h) {
    const int n = s.n, ldn = s.ldn;
    h_factored = h;
    s.team.for_each(ldn * ldn, [&](int i) {
      const T g = read<T>(gram.matrix + i);
      write(real + i, g);
      write(plane_r + i, g);
      write(plane_i + i, splat<T>(0.0));
    });
    for (int i = 0; i < n; ++i) {
      const long long at = static_cast<long long>(i) * ldn + i;
      real[at] += radau5::kGamma / h;
      plane_r[at] += radau5::kAlpha / h;
      plane_i[at] += radau5::kBeta / h;
    }
    s.team.factor(plane_r, plane_i, ldn, n, pivot_r, pivot_i);
    return s.team.factor(real, ldn, n, real_pivot);
  }

  // dN from the current stages: one simplified Newton correction.
  void correct(double h) {
    const int ldn = s.ldn;
    const double g = radau5::kGamma / h, a = radau5::kAlpha / h, b = radau5::kBeta / h;
    s.team.for_each(ldn, [&](int i) {
      T w[3], f[3];
      for (int j = 0; j < 3; ++j) {
        w[j] = f[j] = splat<T>(0.0);
        for (int k = 0; k < 3; ++k) {
          w[j] += radau5::kTInverse[j][k] * read<T>(N + k * ldn + i);
          f[j] += radau5::kTInverse[j][k] * read<T>(F + k * ldn + i);
        }
      }
      write(dN + i, f[0] - g * w[0]);
      write(dN + ldn + i, f[1] - (a * w[1] - b * w[2]));
      write(dN + 2 * ldn + i, f[2] - (b * w[1] + a * w[2]));
    });
    s.team.solve(real, ldn, s.n, real_pivot, dN);
    s.team.solve(plane_r, plane_i, ldn, s.n, pivot_r, pivot_i, dN + ldn, dN + 2 * ldn);
    s.team.for_each(ldn, [&](int i) {
      const T w0 = read<T>(dN + i), w1 = read<T>(dN + ldn + i), w2 = read<T>(dN + 2 * ldn + i);
      for (int j = 0; j < 3; ++j) {
        const T change = radau5::kT[j][0] * w0 + radau5::kT[j][1] * w1 + radau5::kT[j][2] * w2;
        write(dN + j * ldn + i, change);
        write(N + j * ldn + i, read<T>(N + j * ldn + i) + change);
      }
    });
  }

  // Try a step.  Returns the error relative to the tolerance, or a negative number if Newton did
  // not converge.  Afterwards N + 2 ldn, Z + 2 ldd and next_* describe the end point.
  double attempt(double h, double rtol, double atol, double norm_before) {
    Change change;
    bool turned = true;
    iterations = 0;
    while (turned) {
      predict(h);
      if (!move_stages(N, false, change)) {
        for (int i = 0; i < 3 * s.ldn; ++i)
          N[i] = 0.0;
        if (!move_stages(N, false, change))
          return -1.0;
      }
      if (!prepare(h, turned))
        return -1.0;
    }
    double previous = 0;
    rate = 0;
    for (iterations = 1;; ++iterations) {
      correct(h);
      if (!move_stages(dN, true, change))
        return -1.0;
      const double size = change.relative_to(atol, rtol, norm_before);
      if (iterations > 1) {
        rate = size / previous;
        if (!(rate < 1.0))
          return -1.0;
      }
      // Without a measured rate the first change stands for the error left.  Unless that is also
      // small against the step itself, a second correction is made: a residual that the tolerance
      // no longer sees still has to decay.
      const double shrink = iterations > 1 ? rate / (1.0 - rate) : 1.0;
      const double left = size * shrink;
      const bool decays = iterations > 1 || change.whole <= radau5::kStepShare * step_change;
      if (left <= newton_tolerance && decays && s.decreases(F + 2 * s.ldn))
        break;
      if (iterations == radau5::kMaxNewton)
        return -1.0;
      if (iterations > 2 &&
          left * std::pow(rate, radau5::kMaxNewton - iterations) > newton_tolerance)
        return -1.0;
      previous = size;
    }
    s.team.for_each(s.ldn, [&](int i) {
      T sum = read<T>(s.residual + i);
      for (int j = 0; j < 3; ++j)
        sum += (radau5::kErrorWeights[j] / h) * read<T>(N + j * s.ldn + i);
      write(defect + i, sum);
    });
    s.team.solve(real, s.ldn, s.n, real_pivot, defect);
    return s.change_of(defect).relative_to(atol, rtol, norm_before);
  }

  const double *end_z() const { return Z + 2 * s.ldd; }

  void accept(double h) {
    for (int i = 0; i < s.ldn; i += Team::kWidth)
      write(s.residual + i, read<T>(F + 2 * s.ldn + i));
    s.advance(Z + 2 * s.ldd, N + 2 * s.ldn);
    double *swap = old_N;
    old_N = N;
    N = swap;
    h_old = h;
  }

  // z and nu at fraction x of the step just tried, relative to its start.
  void interpolate(double x, double *dz, double *dnu) {
    double w[3];
    radau5::dense_weights(x, w);
    const int ldd = s.ldd, ldn = s.ldn;
    s.team.for_each(ldd, [&](int i) {
      write(dz + i,
            w[0] * read<T>(Z + i) + w[1] * read<T>(Z + ldd + i) + w[2] * read<T>(Z + 2 * ldd + i));
    });
    s.team.for_each(ldn, [&](int i) {
      write(dnu + i,
            w[0] * read<T>(N + i) + w[1] * read<T>(N + ldn + i) + w[2] * read<T>(N + 2 * ldn + i));
    });
  }
};

KRF_END_NAMESPACE
