// A complex number, for the solves of implicit steps.
#pragma once

#include <cmath>

#include "elementary.hpp"

KRF_BEGIN_NAMESPACE

struct Complex {
  double r, i;
};

// A power of two whose product with x, not negative, is about one; its product with another number
// rounds nothing.  What is below 2^-1000 is multiplied by 2^1000.
KRF_HD inline double power_of_two_for(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, exponent > -1000 ? -exponent : 1000);
}

// The matrix of a step of length 1e165 has entries whose squares underflow, so the number is scaled
// by a power of two, which rounds nothing.
KRF_HD inline Complex inverse(Complex a) {
  const double r = a.r < 0 ? -a.r : a.r, i = a.i < 0 ? -a.i : a.i;
  const double unit = power_of_two_for(larger(r, i));
  const Complex b = {a.r * unit, a.i * unit};
  const double size = b.r * b.r + b.i * b.i;
  return {b.r / size * unit, -b.i / size * unit};
}

KRF_END_NAMESPACE
