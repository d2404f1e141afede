// Full-batch gradient descent as a method of constant step: w <- w + h field.
#pragma once

#include "flow_options.hpp"
#include "system.hpp"

KRF_BEGIN_NAMESPACE

// The time after so many steps of length h.  Where it differs by rounding alone from the evaluation
// time of the row, or from the end, it is that time.
KRF_HD inline double descent_time(double h, long long steps, const FlowOptions &o, int row,
                                  double end) {
  const double t = static_cast<double>(steps) * h, slack = 4.0 * kEpsilon * t;
  if (row < o.n_eval && absolute(o.t_eval[row] - t) <= slack)
    return o.t_eval[row];
  return absolute(end - t) <= slack ? end : t;
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
