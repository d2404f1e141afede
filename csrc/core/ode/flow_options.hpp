// What a run is asked for and what it returns, in every family: plain data, no ownership.
#pragma once

#include "../base/config.hpp"

// Outside the per-instruction-set namespaces: no code, so nothing to keep apart.
namespace krf {

// Values match kernelrich_fast.Status.
enum class Status : int {
  kConverged = 0,
  kTimeEnd = 1,
  kStationary = 2,
  kMaxSteps = 3,
  kFailed = 4
};
enum class Method : int { kAuto = 0, kExplicit = 1, kStiff = 2, kGradientDescent = 3 };

struct FlowOptions {
  double rtol, atol, t_max;
  double stop_loss;   // absolute
  double loss_offset; // part of the loss no predictor can remove, left out of the data
  long long max_steps;
  Method method;
  const double *t_eval;
  int n_eval;
};

// Rows are written per evaluation time, or once at the end when there are none.
struct FlowOutput {
  double *loss, *t;
  Status status;
  long long n_steps, n_rhs;
  double n_flops = 0; // of the team's dense algebra
};

} // namespace krf
