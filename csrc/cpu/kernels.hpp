// The entry points of the CPU kernels, one table per instruction set.
#pragma once

#include "../core/diagonal/problem.hpp"
#include "../core/factorization/problem.hpp"
#include "../core/mlp/problem.hpp"

namespace krf::cpu {

struct Kernels {
  const char *name;
  // Doubles of scratch one run needs.
  long long (*workspace)(int n, int d, int depth);
  void (*flow)(const DiagonalProblem &, const FlowOptions &, DiagonalFlowOutput &,
               double *workspace, const int *cancel);
  void (*limit)(const DiagonalProblem &, const LimitOptions &, LimitOutput &, double *workspace,
                const int *cancel);

  long long (*rich_path_workspace)(int n, int d);
  void (*rich_path)(const RichPathProblem &, long long max_jumps, RichPathOutput &,
                    double *workspace, const int *cancel);

  long long (*factor_workspace)(const FactorProblem &);
  void (*factor_flow)(const FactorProblem &, const FlowOptions &, FactorFlowOutput &,
                      double *workspace, const int *cancel);

  long long (*mlp_workspace)(const MlpProblem &);
  void (*mlp_flow)(const MlpProblem &, const FlowOptions &, MlpFlowOutput &, double *workspace,
                   const int *cancel);

  // Single parts, for tests and bench/kernels.py.  Sizes are padded as in the problems.
  void (*elementary)(int function, int count, const double *x, double *y);
  void (*map_features)(int n, int d, const double *X, const double *V, double *acc);
  void (*products)(int m, int q, int length, const double *A, const double *B, double *out);
  void (*scaled_gram)(int n, int d, const double *X, const double *weight, double *G,
                      double *scratch);
  double (*phi)(int k, double x);
  // Values, and vectors as rows, of A, which is destroyed.
  bool (*eigen)(int n, double *A, double *value, double *vector);
  double (*solve)(int n, double *A, double *pivot, double *b);
  // A becomes its inverse; V holds three vectors, and so does out.
  double (*inverse)(int n, double *A, const double *V, double *out, double *scratch);
  long long (*room_for_inverse)(int n);
  void (*solve_complex)(int n, double *Ar, double *Ai, double *pr, double *pi, double *br,
                        double *bi);
};

const Kernels &baseline_kernels();
#ifdef KRF_X86_DISPATCH
const Kernels &avx2_kernels();
const Kernels &avx512_kernels();
#endif

// The best table this processor can run, unless the environment variable KRF_ISA names another
// (baseline, avx2 or avx512); throws if the processor cannot run it.
const Kernels &kernels();

} // namespace krf::cpu
