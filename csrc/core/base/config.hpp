// Names shared by every core header.
//
// The CPU executor compiles the core once per instruction set.  Each of those translation units
// defines KRF_ISA, and the inline namespace keeps their symbols apart: without it the linker
// would merge one template instantiated with different machine flags into one body.
#pragma once

#ifdef __CUDACC__
#define KRF_HD __host__ __device__
// Not inlined on a device: a whole run inlined into one kernel would need more registers than a
// thread has.
#define KRF_APART __noinline__
#else
#define KRF_HD
#define KRF_APART
#endif

#ifndef KRF_ISA
#define KRF_ISA generic
#endif

#define KRF_BEGIN_NAMESPACE                                                                        \
  namespace krf {                                                                                  \
  inline namespace KRF_ISA {
#define KRF_END_NAMESPACE                                                                          \
  }                                                                                                \
  }

KRF_BEGIN_NAMESPACE

inline constexpr double kInfinity = __builtin_huge_val();
inline constexpr double kEpsilon = 2.220446049250313e-16;
// Rows of X, and the features, are padded to this many doubles: one AVX-512 register.
inline constexpr int kPadding = 8;

template <class Int> KRF_HD constexpr Int padded(Int n) {
  return (n + kPadding - 1) / kPadding * kPadding;
}
KRF_HD inline double square(double x) { return x * x; }
KRF_HD inline double larger(double a, double b) { return a > b ? a : b; }
KRF_HD inline double smaller(double a, double b) { return a < b ? a : b; }
template <class P> KRF_HD void swap(P &a, P &b) {
  const P c = a;
  a = b;
  b = c;
}

KRF_END_NAMESPACE
