// The tangent kernel J J^T as a matrix of n_samples rows, and solves with it plus a multiple of the
// identity.
//
// What a TangentSolver needs of a kernel:
//   n_samples                           zero where there are too many for it
//   renew(W)                            takes the kernel at a factor W
//   factor(h, gamma, alpha, beta)       factors of K + gamma / h and K + (alpha + i beta) / h;
//                                       returns the smallest share of a diagonal entry that the
//                                       real elimination left
//   h_factored(), forget()              the h that they are for, zero where there are none
//   solve(b), solve(b_r, b_i)           with those
//   factor_work(), solve_work()         multiplications of factor(), and of both solves
#pragma once

#include "../linalg/shifted_factors.hpp"
#include "measurements.hpp"

KRF_BEGIN_NAMESPACE

template <class K>
concept TangentKernel = requires(K kernel, const double *W, double *b, double x) {
  { kernel.n_samples };
  kernel.renew(W);
  { kernel.factor(x, x, x, x) };
  { kernel.h_factored() };
  kernel.forget();
  kernel.solve(b);
  kernel.solve(b, b);
  { kernel.factor_work() };
  { kernel.solve_work() };
};

template <Team TeamT> class DenseKernel {
public:
  const int n_samples;

  KRF_HD DenseKernel(TeamT &team, Measurements<TeamT> &sensing, Arena &arena)
      : n_samples(sensing.n_samples <= kMaxKernelSamples ? sensing.n_samples : 0),
        sensing_(sensing),
        kernel_(arena.take(n_samples ? static_cast<long long>(sensing.ldn) * sensing.ldn : 0)),
        factors_(team, n_samples, arena) {}

  KRF_HD double factor_work() const { return 0.9 * square(n_samples) * n_samples; }
  KRF_HD double solve_work() const { return 5.0 * square(n_samples); }

  KRF_HD void renew(const double *W) { sensing_.tangent_kernel(W, kernel_); }
  KRF_HD double factor(double h, double gamma, double alpha, double beta) {
    return factors_.factor(kernel_, h, gamma, alpha, beta);
  }
  KRF_HD double h_factored() const { return factors_.h_factored; }
  KRF_HD void forget() { factors_.h_factored = 0; }
  KRF_HD void solve(double *b) { factors_.solve(b); }
  KRF_HD void solve(double *b_r, double *b_i) { factors_.solve(b_r, b_i); }

private:
  Measurements<TeamT> &sensing_;
  double *kernel_;
  ShiftedFactors<TeamT> factors_;
};

KRF_END_NAMESPACE
