// Runs a batch of independent factorisation problems on worker threads.
#pragma once

#include "../core/factorization/problem.hpp"
#include "run_queue.hpp"

namespace krf::cpu {

// Run b fits y[y_index[b]] from scale[b] times start s = start_index[b]: n rows of rank[s] doubles
// at starts + start_offset[s].  Shapes as in FactorProblem.  X, (n_samples, p, q), is shared by all
// runs; where it is null, row and column are (sets, n_samples), and run b observes the entries of
// set entry_index[b].
struct FactorBatch {
  int n = 0, p = 0, q = 0, c0 = 0, n_samples = 0;
  long long count = 0;
  const int *row = nullptr, *column = nullptr;
  const double *X = nullptr;
  const double *y = nullptr, *starts = nullptr, *scale = nullptr;
  const long long *start_offset = nullptr, *rank = nullptr; // per start
  const long long *y_index = nullptr, *start_index = nullptr, *entry_index = nullptr;
};

// W of run b begins at W + W_offset[b]: (evaluation times, n, rank).
struct FactorFlowResults {
  double *W, *loss, *t;
  const long long *W_offset;
  int *status;
  long long *n_steps, *n_rhs;
  double *n_flops;
};

// Returns whether the batch ran to its end.
bool run_factor_flows(const FactorBatch &, const FlowSettings &, FactorFlowResults &, int threads,
                      const Watch &);

} // namespace krf::cpu
