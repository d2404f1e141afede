// What the runs of a batch share, and their own stopping rules.
#pragma once

#include "../core/problem.hpp"

namespace krf::cpu {

struct FlowSettings {
  const double *rtol, *t_max, *stop_loss; // per run
  double atol;
  long long max_steps;
  int method;
  const double *t_eval;
  int n_eval;

  FlowOptions of_run(long long b, double loss_offset) const {
    return {
        rtol[b], atol,  t_max[b], stop_loss[b], loss_offset, max_steps, static_cast<Method>(method),
        t_eval,  n_eval};
  }
};

} // namespace krf::cpu
