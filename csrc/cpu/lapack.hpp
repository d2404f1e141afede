// Eigenvalues and eigenvectors of large symmetric matrices by LAPACK, from the library that SciPy
// brings: Python hands over the address of its function, so that nothing is linked.
#pragma once

namespace krf::cpu {

// From this order on LAPACK is faster than linalg/symmetric_eigen.hpp (bench/kernels.py).
inline constexpr int kLapackOrder = 150;
// Up to this order 32-bit integers hold the length of its scratch memory, 2 n^2.
inline constexpr int kMostOfLapack = 30000;

// With Fortran's convention of arguments, and 32-bit integers.
using Dsyevd = void (*)(char *job, char *triangle, int *n, double *A, int *ld, double *value,
                        double *work, int *work_length, int *integers, int *integers_length,
                        int *info);

void use_lapack(Dsyevd dsyevd); // null: none
bool has_lapack();
// Of A, n columns ld apart: its columns become the eigenvectors of value[i], ascending.  False
// where it does not converge.
bool decompose_by_lapack(double *A, int ld, int n, double *value);

} // namespace krf::cpu
