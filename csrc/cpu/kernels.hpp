// The entry points of the CPU kernels, one table per instruction set.
#pragma once

#include "../core/diagonal/problem.hpp"
#include "../core/families.hpp"
#include "helper_pool.hpp"

namespace krf::cpu {

// Of one family.
template <class Family> struct FamilyKernels {
  using Batch = typename Family::Batch;
  // Doubles of scratch that a run of this variant needs.
  long long (*workspace)(const Batch &, int variant);
  void (*run)(const Batch &, const typename Family::Settings &, const typename Family::Rows &,
              int variant, long long run, const double *packed, double *workspace,
              const int *cancel, Helpers helpers);
};

template <class List> struct KernelsOfAll;
template <class... Family> struct KernelsOfAll<FamilyList<Family...>> : FamilyKernels<Family>... {};

struct Kernels : KernelsOfAll<Families> {
  long long (*rich_path_workspace)(int n, int d, bool graded);
  void (*rich_path)(const RichPathProblem &, long long max_jumps, RichPathOutput &,
                    double *workspace, const int *cancel, Helpers helpers);
};

const Kernels &baseline_kernels();
#ifdef KRF_X86_DISPATCH
const Kernels &avx2_kernels();
const Kernels &avx512_kernels();
#endif

// The table for the instruction set of this processor (instruction_set.hpp).
const Kernels &kernels();

} // namespace krf::cpu
