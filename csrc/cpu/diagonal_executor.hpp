// Runs a batch of independent diagonal problems on worker threads.
#pragma once

#include "../core/diagonal/problem.hpp"
#include "run_queue.hpp"

namespace krf::cpu {

// Run b solves (X[x_index[b]], y[y_index[b]]) from alpha[b] times profile[w_index[b]].
struct DiagonalBatch {
  int n = 0, d = 0;
  long long count = 0;
  const double *X = nullptr;                                      // (., n, d)
  const double *y = nullptr;                                      // (., n)
  const double *loss_offset = nullptr;                            // per y
  const double *profile_plus = nullptr, *profile_minus = nullptr; // (., d)
  const long long *x_index = nullptr, *y_index = nullptr, *w_index = nullptr;
  const double *alpha = nullptr;
  const long long *depth = nullptr;
};

struct DiagonalFlowResults { // per run, then per evaluation time
  double *beta, *w_plus, *w_minus, *nu, *loss, *t;
  int *status;
  long long *n_steps, *n_rhs;
  double *n_flops;
};

struct LimitSettings {
  double tolerance;
  int max_iterations;
};

struct DiagonalLimitResults {
  double *beta, *w_plus, *w_minus, *nu, *loss;
  int *status;
  long long *n_iterations;
};

// Both return whether the batch ran to its end.
bool run_diagonal_flows(const DiagonalBatch &, const FlowSettings &, DiagonalFlowResults &,
                        int threads, const Watch &);
bool run_diagonal_limits(const DiagonalBatch &, const LimitSettings &, DiagonalLimitResults &,
                         int threads, const Watch &);

} // namespace krf::cpu
