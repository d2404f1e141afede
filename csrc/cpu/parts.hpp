// Single parts of the CPU team, for tests and bench/kernels.py, one table per instruction set.
#pragma once

namespace krf::cpu {

// Sizes are padded as in the problems.
struct Parts {
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

const Parts &baseline_parts();
#ifdef KRF_X86_DISPATCH
const Parts &avx2_parts();
const Parts &avx512_parts();
#endif

// The table for the instruction set of this processor (instruction_set.hpp).
const Parts &parts();

} // namespace krf::cpu
