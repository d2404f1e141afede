// A diagonal network's problem and results: plain data, no ownership.
#pragma once

#include "../loss.hpp"
#include "../ode/flow_options.hpp"

// Outside the per-instruction-set namespaces: no code, so nothing to keep apart.
namespace krf {

// Weight decay lambda[k] exp(-rate[k] (t - start[k])) from start[k] to start[k + 1]; start[0] is
// zero.  No pieces: none.
struct DecaySchedule {
  int pieces;
  const double *start, *lambda, *rate;
};

// X is stored feature after feature, each padded(n) doubles long; there are padded(d) features.
// Padding is zero in X and y; in w_plus0 and w_minus0 it repeats w_plus0[0], so that its predictor
// is zero and its size ordinary.
struct DiagonalProblem {
  int n, d;
  double depth; // any real number from 2
  const double *X;
  const double *feature_norm;
  const double *y;
  const double *w_plus0;
  const double *w_minus0;
  DecaySchedule decay{};
  bool averaged = false; // whether the mean of beta over time is wanted
  // Of a margin loss, where y are labels: which, and whether results are wanted at times.
  MarginLossKind margin_loss = MarginLossKind::kExponential;
  bool by_time = false;
  // A power of two: solvers are to take unit X for X.  The other data are in that unit already.
  double unit = 1.0;
};

struct DiagonalFlowOutput : FlowOutput {
  double *beta, *w_plus, *w_minus, *nu; // nu has n entries a row, the others d
  double *beta_mean = nullptr;          // where it is wanted
};

// X as in DiagonalProblem, its features in any units; bound: d doubles, positive.
struct RichPathProblem {
  int n, d;
  const double *X;
  const double *feature_norm;
  const double *y;
  const double *bound;
  double loss_offset; // part of the loss no predictor can remove, left out of the data
  bool reduced;       // rows are not the caller's, but those of an orthogonal factorisation
  // Units of the rows, where these are so different that every sum needs its own rounding error;
  // else null.
  const double *row_units;
};

// `jump` is called for every saddle after a jump: its time and loss, and the features other than
// zero.
struct RichPathOutput {
  void *to;
  void (*jump)(void *to, double t, double loss, int count, const int *feature, const double *value);
  double *dual;          // n: s at the last jump
  signed char *at_bound; // d: the sign of x_i . s where it is at its bound, else 0
  double t, loss;        // of the last jump
  Status status;
  long long n_pivots; // least-squares fits
};

struct LimitOptions {
  double tolerance, loss_offset, y_norm;
  int max_iterations;
};

struct LimitOutput {
  double *beta, *w_plus, *w_minus, *nu;
  double loss;
  Status status;
  int n_iterations;
};

} // namespace krf
