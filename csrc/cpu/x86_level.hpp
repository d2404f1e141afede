// The level of the x86-64 architecture (psABI) that this processor and its system offer.
#pragma once

#include <cpuid.h>

namespace krf::cpu {

// 1 to 4. The compiler may use any instruction of the level it is given, so every feature of the
// level is checked: a virtual machine may mask some.
inline int x86_level() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const auto leaf = [&](unsigned number) {
    a = b = c = d = 0;
    return __get_cpuid_count(number, 0, &a, &b, &c, &d) != 0;
  };
  const auto all = [](unsigned word, unsigned bits) { return (word & bits) == bits; };

  if (!leaf(1))
    return 1;
  constexpr unsigned kBasic2 =
      bit_SSE3 | bit_SSSE3 | bit_CMPXCHG16B | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT;
  constexpr unsigned kBasic3 = bit_FMA | bit_MOVBE | bit_OSXSAVE | bit_AVX | bit_F16C;
  const unsigned basic = c;
  leaf(0x80000001);
  const unsigned extended = c;
  if (!all(basic, kBasic2) || !all(extended, bit_LAHF_LM))
    return 1;

  if (!all(basic, kBasic3) || !all(extended, bit_ABM) || !leaf(7))
    return 2;
  const unsigned structured = b;
  // What the operating system saves when it switches tasks: XMM and YMM; masks and ZMM.
  unsigned saved = 0, high = 0;
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if (!all(structured, bit_AVX2 | bit_BMI | bit_BMI2) || !all(saved, 0x06))
    return 2;
  constexpr unsigned kWide =
      bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
  return all(structured, kWide) && all(saved, 0xe6) ? 4 : 3;
}

} // namespace krf::cpu
