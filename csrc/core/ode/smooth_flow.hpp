// What the two flows without kinks share: constants, tolerances, and when a loss counts as falling.
#pragma once

#include "dopri5.hpp"

KRF_BEGIN_NAMESPACE

struct SmoothFlow {
  static constexpr double kFirstStepPower = 0.2, kMaxGrowth = 10.0;
  static constexpr int kMaxFailures = 100;
  static constexpr double kRounding = 32.0 * kEpsilon; // of a residual, relative to its terms

  KRF_HD static double explicit_tolerance(double rtol) { return dopri5::step_tolerance(rtol); }

  // Whether a residual of norm `end` belongs to a loss that is not above `loss`, up to rounding:
  // `noise` is that of the residual's norm.
  KRF_HD static bool falls(double loss, double end, double noise) {
    return end <= std::sqrt(loss) * (1.0 + 1e-9) + 2.0 * noise;
  }
};

KRF_END_NAMESPACE
