// phi_k(-x), x >= 0, of exponential integrators: phi_0 = exp, phi_{k+1}(y) = (phi_k(y) - 1/k!) / y.
#pragma once

#include <cmath>

#include "../base/config.hpp"

KRF_BEGIN_NAMESPACE

// k = 1 .. 4.  Relative errors are below 1e-14 (with mpmath, tests/native/test_cpu_parts.py): below
// one the Taylor series of phi_4 and the recurrence downwards, above it the recurrence upwards,
// which loses at most two digits where it begins.
KRF_HD inline double phi(int k, double x) {
  if (x < 1.0) {
    double p = 0; // sum of (-x)^i / (i + 4)!, i < 15
    for (int i = 14; i >= 0; --i)
      p = 1.0 / (i + 4.0) * (1.0 - x * p);
    p /= 6.0;
    if (k == 4)
      return p;
    p = 1.0 / 6.0 - x * p;
    if (k == 3)
      return p;
    p = 0.5 - x * p;
    return k == 2 ? p : 1.0 - x * p;
  }
  double p = -std::expm1(-x) / x;
  if (k > 1)
    p = (1.0 - p) / x;
  if (k > 2)
    p = (0.5 - p) / x;
  if (k > 3)
    p = (1.0 / 6.0 - p) / x;
  return p;
}

KRF_END_NAMESPACE
