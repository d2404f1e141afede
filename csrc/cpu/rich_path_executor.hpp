// Follows the paths alpha -> 0 of a batch of independent diagonal problems on worker threads.
#pragma once

#include <vector>

#include "../core/diagonal/problem.hpp"
#include "run_queue.hpp"

namespace krf::cpu {

// Run b follows (X[x_index[b]], y[y_index[b]]) with the bounds bound[bound_index[b]].
struct RichPathBatch {
  int n = 0, d = 0;
  long long count = 0;
  const double *X = nullptr;           // (., n, d)
  const double *y = nullptr;           // (., n)
  const double *loss_offset = nullptr; // per y
  bool reduced = false;                // see RichPathProblem
  const double *bound = nullptr;       // (., d)
  const long long *x_index = nullptr, *y_index = nullptr, *bound_index = nullptr;
};

// The saddles of one run: entries first[j] .. first[j + 1] - 1 are those of saddle j.
struct Saddles {
  std::vector<double> t, loss, value;
  std::vector<long long> first{0}, feature;
};

struct RichPathResults { // per run
  std::vector<Saddles> saddles;
  double *dual;          // (., n)
  signed char *at_bound; // (., d)
  double *t, *loss;
  int *status;
  long long *n_pivots;
};

// Returns whether the batch ran to its end.
bool follow_rich_paths(const RichPathBatch &, long long max_jumps, RichPathResults &, int threads,
                       const Watch &);

} // namespace krf::cpu
