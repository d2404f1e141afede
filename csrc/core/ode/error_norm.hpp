// The size of a change of the state, in the two measures that a tolerance bounds.
#pragma once

#include "../base/config.hpp"

KRF_BEGIN_NAMESPACE

// Why a flow no longer moves.  kRounding: rounding hides the motion that is left.  kLost: rounding
// exceeds the error that was allowed.  kStationary: nothing is left of the motion.
enum class Rest { kNone, kRounding, kLost, kStationary };

// Whether a residual may be nothing but rounding of large parts that cancel: it is at most `times`
// as large as `noise`, its rounding, and that is a visible part of the data, whose size is `scale`.
KRF_HD inline bool is_cancelled(double residual, double noise, double times, double scale) {
  constexpr double kVisible = 1e-9;
  return scale > 0.0 && noise > kVisible * scale && residual <= times * noise;
}

struct ErrorNorm {
  double componentwise =
      0;                // largest relative change of a part that keeps its own relative accuracy
  double predictor = 0; // norm of the change of the predictor
  double predictor_norm = 0; // norm of the predictor after the change
  double predictor_step = 0; // norm of the predictor's change over the whole trial step, if known
  double left = 1;           // the factor by which decay alone shrinks the predictor over the step
  bool too_far = false;      // a Newton correction beyond where its matrix holds: it shows no rate

  // Of a correction: whether it is of the size of the rounding of what it corrects.
  KRF_HD bool is_rounding() const {
    constexpr double kRounding = 4.0 * kEpsilon;
    return componentwise <= kRounding && predictor <= kRounding * predictor_norm;
  }

  // In units of the tolerance: at most 1 where the change is accurate enough.
  KRF_HD double relative_to(double atol, double rtol, double norm_before) const {
    const double scale = atol + rtol * larger(left * norm_before, predictor_norm);
    const double relative = scale > 0 ? predictor / scale : (predictor > 0 ? kInfinity : 0.0);
    return larger(componentwise / rtol, relative);
  }
};

KRF_END_NAMESPACE
