// Radau IIA, three stages, order 5, for the gradient flow of any model family (Hairer & Wanner,
// Solving Ordinary Differential Equations II, section IV.8, whose names are used).
//
// The unknowns N_j are the stages less the state: N = h A F(N).  With J the Jacobian of the field,
// simplified Newton solves
//
//     (A^-1 / h - J) dN = F - A^-1 N / h.
//
// A has the real form  A^-1 = T [ gamma 0 0 ; 0 alpha -beta ; 0 beta alpha ] T^-1, so that in
// W = T^-1 N this is one real and one complex system of the size of the state,
//
//     (gamma / h - J) dW_0 = ...,        ((alpha + i beta) / h - J) (dW_1 + i dW_2) = ....
//
// The system evaluates the field at the stages, owns the Jacobian (prepare, solve) and measures
// changes in its own terms.
#pragma once

#include "step_control.hpp"
#include "system.hpp"

KRF_BEGIN_NAMESPACE

namespace radau5 {
// Tables are functions, because device code cannot read a host array.
KRF_HD inline double c(int stage) {
  static constexpr double kC[3] = {0.15505102572168219018, 0.64494897427831780982, 1.0};
  return kC[stage];
}
// c = (4 - sqrt 6) / 10, (4 + sqrt 6) / 10, 1; with a = 3^(1/3):
inline constexpr double kGamma = 3.6378342527444957322; // 3 + a^2 - a
inline constexpr double kAlpha = 2.6810828736277521339; // 3 + (a - a^2) / 2
inline constexpr double kBeta = 3.0504301992474105694;  // sqrt 3 (a + a^2) / 2
KRF_HD inline double t(int j, int k) {
  static constexpr double kT[3][3] = {
      {0.094438762488975241487, -0.14125529502095420843, -0.030029194105147424492},
      {0.25021312296533331138, 0.204129352293799932, 0.3829421127572619378},
      {1.0, 1.0, 0.0}};
  return kT[j][k];
}
KRF_HD inline double t_inverse(int j, int k) {
  static constexpr double kTInverse[3][3] = {
      {4.1787185915519047273, 0.32768282076106238708, 0.52337644549944954804},
      {-4.1787185915519047273, -0.32768282076106238708, 0.47662355450055045196},
      {-0.50287263494578687595, 2.5719269498556054292, -0.59603920482822492497}};
  return kTInverse[j][k];
}
// (-13 - 7 sqrt 6) / 3, (-13 + 7 sqrt 6) / 3, -1 / 3
KRF_HD inline double error_weight(int j) {
  static constexpr double kErrorWeights[3] = {-10.048809399827415562, 1.3821427331607488958,
                                              -0.33333333333333333333};
  return kErrorWeights[j];
}
inline constexpr int kMaxNewton = 8;
// Longest step, in units of the last one, over which its polynomial is extrapolated.
inline constexpr double kExtrapolate = 2.0;
inline constexpr double kStepShare = 0.03;
inline constexpr double kMostNewtonTolerance = 0.03;
// The embedded error is of order 3 while the step is of order 5, hence the power 2/3 (as in
// Hairer & Wanner's RADAU5).
KRF_HD inline double step_tolerance(double rtol) {
  return smaller(0.5 * std::pow(rtol, 2.0 / 3.0), 30.0 * rtol);
}

// Lagrange weights at x of the polynomial through (0, 0) and the three stages.
KRF_HD inline void dense_weights(double x, double weights[3]) {
  for (int j = 0; j < 3; ++j) {
    double w = x / c(j);
    for (int k = 0; k < 3; ++k)
      if (k != j)
        w *= (x - c(k)) / (c(j) - c(k));
    weights[j] = w;
  }
}
} // namespace radau5

template <StiffSystem System> struct Radau5 {
  static constexpr bool kChecksLoss = true, kKeepsMatrices = true;
  using T = typename System::Value;

  System &s;
  int length;
  double *N, *dN, *F; // stages, changes, fields
  double *defect;
  double *old_N; // stages of the last accepted step
  double h_old = 0, newton_tolerance = 0;
  double rate = 0; // of the last Newton iteration that measured one
  int iterations = 0;
  long long n_rhs = 0;

  KRF_HD Radau5(System &system, Arena &arena)
      : s(system), length(s.length), N(arena.take(3LL * length)), dN(arena.take(3LL * length)),
        F(arena.take(3LL * length)), defect(arena.take(length)), old_N(arena.take(3LL * length)) {}

  KRF_HD void start(double rtol) {
    s.start_stiff();
    fill(s.team, 0.0, old_N, 3 * length);
    newton_tolerance = smaller(radau5::kMostNewtonTolerance,
                               System::kNewtonShare * s.explicit_tolerance(rtol) / tolerance(rtol));
  }
  KRF_HD void restart() { h_old = 0; }
  KRF_HD double *history() { return old_N; }
  KRF_HD const double *end_field() const { return F + 2 * length; }
  KRF_HD double largest_eigenvalue() { return s.largest_eigenvalue(); }

  KRF_HD static double tolerance(double rtol) { return radau5::step_tolerance(rtol); }
  // A step that took many iterations is followed by a shorter one (Hairer & Wanner).
  KRF_HD double step_factor(double error) const {
    return step_control::step_factor(error, 4.0) * (17.0 / (16.0 + iterations));
  }

  // Stages of the last step extrapolated; far ahead only their mean velocity, which unlike the
  // field is free of what has relaxed; at first the field.
  KRF_HD KRF_APART void predict(double h) {
    const double ratio = h_old > 0 ? h / h_old : 0.0;
    for (int j = 0; j < 3; ++j) {
      double w[3] = {0.0, 0.0, ratio * radau5::c(j)}, along_field = 0.0;
      if (h_old == 0.0) {
        along_field = h * radau5::c(j);
      } else if (ratio < radau5::kExtrapolate) {
        radau5::dense_weights(1.0 + ratio * radau5::c(j), w);
        w[2] -= 1.0;
      }
      s.team.for_each(length, [&](int i) {
        write(N + j * length + i, w[0] * read<T>(old_N + i) + w[1] * read<T>(old_N + length + i) +
                                      w[2] * read<T>(old_N + 2 * length + i) +
                                      along_field * read<T>(s.field + i));
      });
    }
  }

  // A trial step.  Returns the error in units of the tolerance, negative where Newton did not
  // converge.  Afterwards the third stage and the system's trial values describe the end point.
  KRF_HD KRF_APART double attempt(double h, double rtol, double atol, double norm_before) {
    iterations = 0;
    if (!predict_stages(h) || !converge(h, rtol, atol, norm_before))
      return -1.0;
    s.team.for_each(length, [&](int i) {
      T sum = read<T>(s.field + i);
      for (int j = 0; j < 3; ++j)
        sum += (radau5::error_weight(j) / h) * read<T>(N + j * length + i);
      write(defect + i, sum);
    });
    s.solve(defect);
    return s.error_norm_at_end(defect, end_field()).relative_to(atol, rtol, norm_before);
  }

  KRF_HD void accept(double h) {
    s.advance(N + 2 * length, end_field());
    swap(N, old_N);
    h_old = h;
  }

  // The state at fraction x of the step just tried, relative to its start.
  KRF_HD void interpolate(double x, double, double *dN_out) {
    double w[3];
    radau5::dense_weights(x, w);
    s.team.for_each(length, [&](int i) {
      write(dN_out + i, w[0] * read<T>(N + i) + w[1] * read<T>(N + length + i) +
                            w[2] * read<T>(N + 2 * length + i));
    });
    s.interpolate_stages(w);
  }

private:
  // Predicted stages, their fields, and the matrices for a step h there.
  KRF_HD bool predict_stages(double h) {
    ErrorNorm change;
    bool basis_changed = true;
    while (basis_changed) {
      predict(h);
      if (!move_stages(N, false, change)) {
        fill(s.team, 0.0, N, 3 * length);
        if (!move_stages(N, false, change))
          return false;
      }
      if (!s.prepare(h, rate, old_N, basis_changed))
        return false;
    }
    return true;
  }

  // Simplified Newton, from the predicted stages.
  KRF_HD bool converge(double h, double rtol, double atol, double norm_before) {
    ErrorNorm change;
    double previous = 0;
    bool too_far = false; // the correction before
    rate = 0;
    for (iterations = 1;; ++iterations) {
      correct(h);
      if (!move_stages(dN, true, change))
        return false;
      const double size = change.relative_to(atol, rtol, norm_before);
      if (iterations > 1) {
        rate = size / previous;
        // Corrections of a step shorter than rounding shows are rounding from the start.
        if (!(rate < 1.0))
          return change.is_rounding() && !too_far && s.decreases(end_field());
      }
      // Without a measured rate the first change stands for the error left.  Unless that is also
      // small against the step itself, a second correction is made: a residual that the tolerance
      // no longer sees still has to decay.
      const double shrink = iterations > 1 ? rate / (1.0 - rate) : 1.0;
      const double left = size * shrink;
      const bool decays =
          iterations > 1 || change.predictor <= radau5::kStepShare * change.predictor_step;
      if (left <= newton_tolerance && decays && !too_far && s.decreases(end_field()))
        return true;
      if (iterations == radau5::kMaxNewton)
        return false;
      if (iterations > 2 &&
          left * std::pow(rate, radau5::kMaxNewton - iterations) > newton_tolerance)
        return false;
      previous = size;
      too_far = change.too_far;
    }
  }

  KRF_HD bool move_stages(const double *V, bool add, ErrorNorm &change) {
    n_rhs += 3;
    return s.move_stages(N, V, add, F, change);
  }

  // dN from the current stages: one simplified Newton correction.
  KRF_HD KRF_APART void correct(double h) {
    const double g = radau5::kGamma / h, a = radau5::kAlpha / h, b = radau5::kBeta / h;
    s.team.for_each(length, [&](int i) {
      T w[3], f[3];
      for (int j = 0; j < 3; ++j) {
        w[j] = f[j] = splat<T>(0.0);
        for (int k = 0; k < 3; ++k) {
          w[j] += radau5::t_inverse(j, k) * read<T>(N + k * length + i);
          f[j] += radau5::t_inverse(j, k) * read<T>(F + k * length + i);
        }
      }
      write(dN + i, f[0] - g * w[0]);
      write(dN + length + i, f[1] - (a * w[1] - b * w[2]));
      write(dN + 2 * length + i, f[2] - (b * w[1] + a * w[2]));
    });
    s.solve_stages(dN);
    s.team.for_each(length, [&](int i) {
      const T w0 = read<T>(dN + i), w1 = read<T>(dN + length + i),
              w2 = read<T>(dN + 2 * length + i);
      for (int j = 0; j < 3; ++j) {
        const T change = radau5::t(j, 0) * w0 + radau5::t(j, 1) * w1 + radau5::t(j, 2) * w2;
        write(dN + j * length + i, change);
        write(N + j * length + i, read<T>(N + j * length + i) + change);
      }
    });
  }
};

KRF_END_NAMESPACE
