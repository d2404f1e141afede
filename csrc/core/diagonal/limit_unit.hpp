// The unit in which the limit of a diagonal network is computed.
#pragma once

#include "../base/complex.hpp"
#include "problem.hpp"

KRF_BEGIN_NAMESPACE

namespace unit_rules {
// Natural logarithms between which slopes at the start times squares of features may lie as they
// are: far enough from the ends of the doubles for products with what changes on the way.
inline constexpr double kLeast = -640.0, kMost = 640.0;
// The unit keeps the targets within these bounds, whose squares are numbers, and features below
// the second.
inline constexpr double kSmallest = 1e-140, kLargest = 1e140, kLargestFeature = 1e60;
} // namespace unit_rules

// A power of two, by which X and y are to be multiplied; one for ordinary problems.  `size` is the
// norm of the targets.
KRF_HD inline double limit_unit(const DiagonalProblem &p, double size) {
  using namespace unit_rules;
  double least = kInfinity, most = 0.0, weakest = kInfinity, strongest = 0.0;
  for (int i = 0; i < p.d; ++i) {
    const double norm = p.feature_norm[i];
    if (norm > 0.0)
      least = smaller(least, norm), most = larger(most, norm);
    weakest = smaller(weakest, smaller(p.w_plus0[i], p.w_minus0[i]));
    strongest = larger(strongest, larger(p.w_plus0[i], p.w_minus0[i]));
  }
  if (!(most > 0.0 && size > 0.0))
    return 1.0;
  const double power = 2.0 * p.depth - 2.0;
  const bool low = power * logarithm(weakest) + 2.0 * logarithm(least) < kLeast;
  const bool high = power * logarithm(strongest) + 2.0 * logarithm(most) > kMost;
  if (!low && !high)
    return 1.0;
  // The smallest feature becomes one, as far as the largest and the targets allow.
  const double wanted = smaller(1.0 / least, kLargestFeature / most);
  const double bounded = smaller(larger(wanted, kSmallest / size), kLargest / size);
  return 1.0 / power_of_two_for(bounded);
}

KRF_END_NAMESPACE
