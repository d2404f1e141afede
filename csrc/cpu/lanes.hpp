// The value type of the CPU team: a vector register of doubles.
//
// GCC and Clang vector types, as wide as the widest register of the instruction set this
// translation unit is compiled for (wider ones would be split through memory).
#pragma once

#include "../core/base/elementary.hpp"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define KRF_LANES 8
#elif defined(__AVX__)
#define KRF_LANES 4
#else
#define KRF_LANES 2
#endif

KRF_BEGIN_NAMESPACE

inline constexpr int kWidth = KRF_LANES;
static_assert(kPadding % kWidth == 0, "padding must hold whole registers");

typedef double Lanes __attribute__((vector_size(8 * KRF_LANES)));
typedef std::int64_t LaneBits __attribute__((vector_size(8 * KRF_LANES)));
// For memory that is only known to be aligned like a double.
typedef double UnalignedLanes __attribute__((vector_size(8 * KRF_LANES), aligned(8), may_alias));

template <> struct Arithmetic<Lanes> {
  using Bits = LaneBits;
  static Lanes splat(double x) { return Lanes{} + x; }
  static Lanes read(const double *p) { return *reinterpret_cast<const UnalignedLanes *>(p); }
  static void write(double *p, Lanes x) { *reinterpret_cast<UnalignedLanes *>(p) = x; }
  static Lanes select(LaneBits mask, Lanes a, Lanes b) { return mask ? a : b; }
  static Lanes abs(Lanes x) { return value(bits(x) & 0x7fffffffffffffffLL); }
  static Bits bits(Lanes x) { return reinterpret_cast<LaneBits>(x); }
  static Lanes value(LaneBits b) { return reinterpret_cast<Lanes>(b); }
  static bool all(LaneBits mask) {
#if KRF_LANES == 8 && defined(__AVX512DQ__)
    return _mm512_movepi64_mask(reinterpret_cast<__m512i>(mask)) == 0xff;
#elif KRF_LANES == 4 && defined(__AVX__)
    return _mm256_movemask_pd(reinterpret_cast<__m256d>(mask)) == 0xf;
#elif KRF_LANES == 2 && (defined(__x86_64__) || defined(_M_X64))
    return _mm_movemask_pd(reinterpret_cast<__m128d>(mask)) == 0x3;
#else
    for (int i = 0; i < KRF_LANES; ++i)
      if (mask[i] == 0)
        return false;
    return true;
#endif
  }
};

// Keeps x in a register. Otherwise the compiler loads it again for each of several multiply-adds,
// and loads, one per cycle, become the bottleneck. The constraint emits no instruction, so nothing
// here depends on the processor.
// NOLINTBEGIN(portability-no-assembler)
inline void keep_in_register([[maybe_unused]] Lanes &x) {
#if defined(__x86_64__) || defined(_M_X64)
#if KRF_LANES == 8
  asm("" : "+v"(x));
#else
  asm("" : "+x"(x));
#endif
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
}
// NOLINTEND(portability-no-assembler)

inline double sum_of(Lanes x) {
#if KRF_LANES == 8
  return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
#elif KRF_LANES == 4
  return (x[0] + x[2]) + (x[1] + x[3]);
#else
  return x[0] + x[1];
#endif
}

inline double max_of(Lanes x) {
  double m = x[0];
  for (int i = 1; i < kWidth; ++i)
    m = larger(m, x[i]);
  return m;
}

// Lane i of the result is the sum over the lanes of x[i], i < kWidth.
// Always inlined: a call would pass the registers through memory.
[[gnu::always_inline]] inline Lanes sums_of(const Lanes *x) {
#if KRF_LANES == 8
  Lanes pair[4], quad[2];
  for (int i = 0; i < 4; ++i)
    pair[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14) +
              __builtin_shufflevector(x[2 * i], x[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  for (int i = 0; i < 2; ++i)
    quad[i] = __builtin_shufflevector(pair[2 * i], pair[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13) +
              __builtin_shufflevector(pair[2 * i], pair[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
  return __builtin_shufflevector(quad[0], quad[1], 0, 1, 2, 3, 8, 9, 10, 11) +
         __builtin_shufflevector(quad[0], quad[1], 4, 5, 6, 7, 12, 13, 14, 15);
#elif KRF_LANES == 4
  Lanes pair[2];
  for (int i = 0; i < 2; ++i)
    pair[i] = __builtin_shufflevector(x[2 * i], x[2 * i + 1], 0, 4, 2, 6) +
              __builtin_shufflevector(x[2 * i], x[2 * i + 1], 1, 5, 3, 7);
  return __builtin_shufflevector(pair[0], pair[1], 0, 1, 4, 5) +
         __builtin_shufflevector(pair[0], pair[1], 2, 3, 6, 7);
#else
  return __builtin_shufflevector(x[0], x[1], 0, 2) + __builtin_shufflevector(x[0], x[1], 1, 3);
#endif
}

// put(i, j, the sum over the lanes of x[i][j]), a register of sums at a time. One at a time, the
// sums would cost more than the short products before them.
template <int I, int J, class Put>
[[gnu::always_inline]] inline void each_sum(const Lanes (&x)[I][J], Put put) {
  constexpr int kSums = (I * J + kWidth - 1) / kWidth * kWidth;
  Lanes flat[kSums] = {};
#pragma GCC unroll 16
  for (int e = 0; e < I * J; ++e)
    flat[e] = x[e / J][e % J];
#pragma GCC unroll 8
  for (int first = 0; first < kSums; first += kWidth) {
    const Lanes totals = sums_of(flat + first);
#pragma GCC unroll 8
    for (int lane = 0; lane < kWidth; ++lane) {
      const int e = first + lane;
      if (e < I * J)
        put(e / J, e % J, totals[lane]);
    }
  }
}

KRF_END_NAMESPACE
