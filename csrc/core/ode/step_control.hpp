// How long the next step is.  bench/NOTES.md has the measurements behind the numbers.
#pragma once

#include "../base/elementary.hpp"

KRF_BEGIN_NAMESPACE

namespace step_control {
inline constexpr double kSafety = 0.9;
// Bounds on the next step, in units of the last one: after an accepted step, after a rejected one.
inline constexpr double kLeastGrowth = 0.2, kLeastShrink = 0.1, kRejected = 0.9;
// Where an attempt has no error to go by: it left the domain, or the loss increased.
inline constexpr double kFailed = 0.25;
// The next step grows by at most this factor where the system's cap, not the error, cut it short.
inline constexpr double kRecovery = 4.0;

// A method that solves systems with matrices of the step keeps a step that could grow by less.
inline constexpr double kLeastRefactoredGrowth = 1.2;

// By what factor a step may be longer, if the error is of order h^order.  Errors below 1e-14 are
// rounding.
KRF_HD inline double step_factor(double error, double order) {
  return kSafety * std::pow(larger(error, 1e-14), -1.0 / order);
}
KRF_HD inline double after_rejection(double step, double factor) {
  return step * larger(kLeastShrink, smaller(factor, kRejected));
}

// To a time that is `left` away and beyond it by the part `beyond`, in one step or in two halves
// instead of a step and a sliver.
KRF_HD inline double fit(double step, double left, double beyond) {
  const double longest = (1.0 + beyond) * left;
  return step < 0.5 * longest ? step : step < longest ? 0.5 * longest : longest;
}

// The controller's next step after an accepted one.  `wanted` is what it asked for; the step taken
// may be shorter, at the end, for an evaluation time, or because of `cap`, the longest over which
// the system is predictable.
KRF_HD inline double after_acceptance(double step, double factor, double wanted, double cap) {
  // An end or an evaluation time shortened the step: no reason to ask for less than before.
  if (step < cap && step < wanted)
    return larger(wanted, step * factor);
  // The cap shortened it: it says little for the longer step that was asked for.
  if (step < wanted)
    return larger(step * factor, smaller(wanted, kRecovery * step));
  return step * factor;
}
} // namespace step_control

KRF_END_NAMESPACE
