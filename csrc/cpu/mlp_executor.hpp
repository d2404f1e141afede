// Runs a batch of independent ReLU networks on worker threads.
#pragma once

#include "../core/mlp/problem.hpp"
#include "run_queue.hpp"

namespace krf::cpu {

// Run b fits y[y_index[b]] on X[x_index[b]] from alpha[b] times w0[w_index[b]]; X is
// (., n, units[0]), w0 (., weights) as in MlpProblem.
struct MlpBatch {
  MlpShape shape{};
  long long count = 0, n_weights = 0;
  double step_size = 0;
  const double *X = nullptr, *y = nullptr, *w0 = nullptr, *alpha = nullptr;
  const long long *x_index = nullptr, *y_index = nullptr, *w_index = nullptr;
};

struct MlpFlowResults { // per run, then per evaluation time
  double *w, *loss, *t;
  int *status;
  long long *n_steps, *n_rhs;
  double *n_flops;
};

// Returns whether the batch ran to its end.
bool run_mlp_flows(const MlpBatch &, const FlowSettings &, MlpFlowResults &, int threads,
                   const Watch &);

} // namespace krf::cpu
