// Branch-free elementary functions, for a double or for a vector of doubles.
//
// A value type T needs arithmetic, comparisons and the operations of Arithmetic<T>.  Errors are
// below 2 ulp over the ranges the mirrors use (measured with mpmath by
// tests/native/test_cpu_parts.py).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "config.hpp"

KRF_BEGIN_NAMESPACE

template <class T> struct Arithmetic;

template <> struct Arithmetic<double> {
  using Bits = std::int64_t;
  KRF_HD static double splat(double x) { return x; }
  KRF_HD static double read(const double *p) { return *p; }
  KRF_HD static void write(double *p, double x) { *p = x; }
  KRF_HD static double select(bool mask, double a, double b) { return mask ? a : b; }
  KRF_HD static double abs(double x) { return x < 0 ? -x : x; }
  KRF_HD static bool all(bool mask) { return mask; }
  KRF_HD static Bits bits(double x) {
    Bits b;
    std::memcpy(&b, &x, sizeof b);
    return b;
  }
  KRF_HD static double value(Bits b) {
    double x;
    std::memcpy(&x, &b, sizeof x);
    return x;
  }
};

template <class T> KRF_HD inline T splat(double x) { return Arithmetic<T>::splat(x); }
template <class T, class M> KRF_HD inline T select(M mask, T a, T b) {
  return Arithmetic<T>::select(mask, a, b);
}
// Whether a comparison holds in all lanes.
template <class T, class M> KRF_HD inline bool all(M mask) { return Arithmetic<T>::all(mask); }
template <class T> KRF_HD inline T read(const double *p) { return Arithmetic<T>::read(p); }
// A scalar of one member, for a sum or a maximum (of what is not negative) over the team.
template <class T> KRF_HD inline T one_lane(double x) {
  const double lanes[8] = {x, 0, 0, 0, 0, 0, 0, 0};
  return read<T>(lanes);
}
template <class T> KRF_HD inline void write(double *p, T x) { Arithmetic<T>::write(p, x); }
template <class T> KRF_HD inline T absolute(T x) { return Arithmetic<T>::abs(x); }
template <class T> KRF_HD inline T greater_of(T a, T b) { return select(a > b, a, b); }
template <class T> KRF_HD inline T lesser_of(T a, T b) { return select(a < b, a, b); }

// Adding 1.5 * 2^52 rounds to the nearest integer and leaves it in the low mantissa bits, which
// converts to an exponent without an integer conversion instruction.
inline constexpr double kRound = 6755399441055744.0;
inline constexpr double kLn2High = 6.93147180369123816490e-01;
inline constexpr double kLn2Low = 1.90821492927058770002e-10;

// 2^k for integral k in [-1022, 1023], k given as k + kRound.
template <class T> KRF_HD inline T power_of_two(T shifted) {
  return Arithmetic<T>::value((Arithmetic<T>::bits(shifted) + 1023) << 52);
}

// e^r - 1 for |r| <= 0.36: Taylor to r^14, remainder below 1e-18 relative; even and odd powers
// apart, so that the chain of dependent operations is half as long.
template <class T> KRF_HD inline T expm1_small(T r) {
  const T q = r * r;
  T even = splat<T>(1.0 / 87178291200.0), odd = splat<T>(1.0 / 6227020800.0);
  even = even * q + 1.0 / 479001600.0;
  odd = odd * q + 1.0 / 39916800.0;
  even = even * q + 1.0 / 3628800.0;
  odd = odd * q + 1.0 / 362880.0;
  even = even * q + 1.0 / 40320.0;
  odd = odd * q + 1.0 / 5040.0;
  even = even * q + 1.0 / 720.0;
  odd = odd * q + 1.0 / 120.0;
  even = even * q + 1.0 / 24.0;
  odd = odd * q + 1.0 / 6.0;
  even = even * q + 0.5;
  return r + q * (even + r * odd);
}

template <class T> KRF_HD inline T exponential(T x) {
  const T clipped = greater_of(lesser_of(x, splat<T>(709.78)), splat<T>(-745.2));
  const T shifted = clipped * 1.4426950408889634 + kRound;
  const T k = shifted - kRound;
  const T r = (clipped - k * kLn2High) - k * kLn2Low;
  // Two factors, so that k = 1024 and subnormal results stay representable on the way.
  const T half_shifted = k * 0.5 + kRound;
  const T half = half_shifted - kRound;
  const T rest_shifted = (k - half) + kRound;
  const T y = (1.0 + expm1_small(r)) * power_of_two(half_shifted) * power_of_two(rest_shifted);
  return select(x > 709.78, splat<T>(kInfinity), select(x < -745.2, splat<T>(0.0), y));
}

template <class T> KRF_HD inline T expm1(T x) {
  return select(absolute(x) < 0.36,
                expm1_small(lesser_of(greater_of(x, splat<T>(-0.36)), splat<T>(0.36))),
                exponential(x) - 1.0);
}

// 2 atanh(f) = log((1 + f) / (1 - f)) for |f| <= 0.1716.
template <class T> KRF_HD inline T twice_atanh(T f) {
  const T q = f * f;
  T p = splat<T>(2.0 / 23.0);
  p = p * q + 2.0 / 21.0;
  p = p * q + 2.0 / 19.0;
  p = p * q + 2.0 / 17.0;
  p = p * q + 2.0 / 15.0;
  p = p * q + 2.0 / 13.0;
  p = p * q + 2.0 / 11.0;
  p = p * q + 2.0 / 9.0;
  p = p * q + 2.0 / 7.0;
  p = p * q + 2.0 / 5.0;
  p = p * q + 2.0 / 3.0;
  return 2.0 * f + f * q * p;
}

// log(1 + x) for |x| <= 1/4.
template <class T> KRF_HD inline T log1p_small(T x) { return twice_atanh(x / (2.0 + x)); }

// log of a positive normal number; anything below 2^-1022 is read as 2^-1022.
template <class T> KRF_HD inline T logarithm(T x) {
  using A = Arithmetic<T>;
  const T positive = greater_of(x, splat<T>(2.2250738585072014e-308));
  // Exponent of x / sqrt(1/2), so that the mantissa lies in [sqrt(1/2), sqrt(2)).
  const auto raw = A::bits(positive) - 0x3fe6a09e667f3bcdLL;
  const auto exponent = raw >> 52;
  const T m = A::value(A::bits(positive) - (exponent << 52));
  const T k = A::value(exponent + 0x4338000000000000LL) - kRound;
  return k * kLn2High + (k * kLn2Low + twice_atanh((m - 1.0) / (m + 1.0)));
}

// sinh(x) for |x| <= 1: Taylor to x^19, remainder below 1e-19 relative.
template <class T> KRF_HD inline T sinh_small(T x) {
  const T q = x * x;
  T p = splat<T>(1.0 / 121645100408832000.0);
  p = p * q + 1.0 / 355687428096000.0;
  p = p * q + 1.0 / 1307674368000.0;
  p = p * q + 1.0 / 6227020800.0;
  p = p * q + 1.0 / 39916800.0;
  p = p * q + 1.0 / 362880.0;
  p = p * q + 1.0 / 5040.0;
  p = p * q + 1.0 / 120.0;
  p = p * q + 1.0 / 6.0;
  return x + x * q * p;
}

KRF_END_NAMESPACE
