// Full-batch gradient descent as a method of constant step: w <- w + h field.
#pragma once

#include "flow_options.hpp"
#include "system.hpp"

KRF_BEGIN_NAMESPACE

// Whether only rounding is between a time that was asked for and that of a step.
KRF_HD inline bool is_descent_time(double asked, double t) {
  return absolute(asked - t) <= 4.0 * kEpsilon * t;
}
// The time after so many steps of length h.  Where it differs by rounding alone from an evaluation
// time, of this row or a later one, or from the end, it is that time.
KRF_HD inline double descent_time(double h, long long steps, const FlowOptions &o, int row,
                                  double end) {
  const double t = static_cast<double>(steps) * h;
  double shown = is_descent_time(end, t) ? end : t;
  for (; row < o.n_eval && (o.t_eval[row] <= t || is_descent_time(o.t_eval[row], t)); ++row)
    shown = is_descent_time(o.t_eval[row], t) ? o.t_eval[row] : shown;
  return shown;
}
// The time of a row: a flow has a state at the time that was asked for; the state of a descent may
// be that of a step that ended later, at t.
KRF_HD inline double row_time(double asked, double t, bool descending) {
  return !descending || is_descent_time(asked, t) ? asked : t;
}

// Where a system cannot descend: no steps, and none counted.
template <FlowSystem System> struct GradientDescent {
  long long n_rhs = 0;
  KRF_HD explicit GradientDescent(System &) {}
};

template <DescentSystem System> struct GradientDescent<System> {
  static constexpr bool kChecksLoss = true; // descent at a large step may raise the loss

  System &s;
  long long n_rhs = 0;

  KRF_HD explicit GradientDescent(System &system) : s(system) {}

  KRF_HD static double tolerance(double rtol) { return rtol; }
  KRF_HD static double step_factor(double) { return 1.0; }
  KRF_HD static const double *end_field() { return nullptr; }

  // There is no error to estimate: zero, or negative where the new field is not finite.
  KRF_HD double attempt(double h, double, double, double) {
    ++n_rhs;
    return s.descend(h) ? 0.0 : -1.0;
  }
  KRF_HD void accept(double) { s.accept_descent(); }
};

KRF_END_NAMESPACE
