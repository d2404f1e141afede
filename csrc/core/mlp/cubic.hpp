// The Hermite cubic through the values and rates of a function at both ends of a step.
#pragma once

#include "../base/config.hpp"

KRF_BEGIN_NAMESPACE

// z(x), 0 <= x <= 1; the rates are those by x.
struct Cubic {
  double z0, d0, z1, d1;

  KRF_HD double at(double x) const {
    const double y = 1.0 - x;
    return y * y * ((1.0 + 2.0 * x) * z0 + x * d0) + x * x * ((3.0 - 2.0 * x) * z1 - y * d1);
  }
  KRF_HD double rate(double x) const {
    const double y = 1.0 - x;
    return y * (1.0 - 3.0 * x) * d0 + x * (3.0 * x - 2.0) * d1 + 6.0 * x * y * (z1 - z0);
  }
  // Positive at both ends, and heading for zero from both.
  KRF_HD bool dips() const {
    return z0 > 0.0 && z1 > 0.0 && d0 < 0.0 && d1 > 0.0 && z0 + d0 < 0.0 && z1 - d1 < 0.0;
  }
  // Where a function falls from positive to negative between low and high.
  template <class F> KRF_HD static double root(F f, double low, double high) {
    for (int i = 0; i < 40; ++i) {
      const double x = 0.5 * (low + high);
      (f(x) > 0.0 ? low : high) = x;
    }
    return high;
  }
  KRF_HD double lowest() const {
    return root([&](double x) { return -rate(x); }, 0.0, 1.0);
  }
  // For which share of the step it is negative.
  KRF_HD double below() const {
    const double low = lowest();
    return root([&](double x) { return -at(x); }, low, 1.0) -
           root([&](double x) { return at(x); }, 0.0, low);
  }
};

KRF_END_NAMESPACE
