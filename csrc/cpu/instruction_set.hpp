// Which instruction set the numerical code is chosen for.
#pragma once

namespace krf::cpu {

struct InstructionSet {
  const char *name;
  int place; // in the order baseline, avx2, avx512
};

// The best that this processor has, unless the environment variable KRF_ISA names another
// (baseline, avx2 or avx512); throws if the processor cannot run it.
const InstructionSet &instruction_set();

} // namespace krf::cpu
