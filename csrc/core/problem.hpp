// Plain data that crosses the seam between executors and the core: one run, its options, its
// output.  No ownership, no allocation.
#pragma once

#include "base/config.hpp"

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
enum class Loss : int { kSquared = 0, kCrossEntropy = 1 };

// X is stored feature after feature, each padded(n) doubles long; there are padded(d) features.
// Padding is zero in X and y; in w_plus0 and w_minus0 it repeats w_plus0[0], so that its predictor
// is zero and its size ordinary.
struct DiagonalProblem {
  int n, d, depth;
  const double *X;
  const double *feature_norm;
  const double *y;
  const double *w_plus0;
  const double *w_minus0;
};

// Factors W (n, r) of a lifted Gram matrix W W^T, n rows of padded(r) doubles.  M is the block of
// p leading rows and of q columns from c0 on: c0 = p for M = U V^T with W = [U; V], c0 = 0 for the
// symmetric M = W W^T.  Sample i observes entry (row[i], column[i]) of W W^T, or, where X is given,
// <X_i, M>: X holds entry after entry of M (row by row), each padded(n_samples) doubles long, and
// padded(p q) of them; for the symmetric model every X_i must be symmetric.  Padding is zero.
struct FactorProblem {
  int n, r, p, q, c0, n_samples;
  const int *row, *column;
  const double *X;
  double X_norm; // Frobenius norm of X
  const double *y;
  const double *W0;
};

inline constexpr int kMaxDepth = 8;

// A fully connected ReLU network: layer l maps units[l] to units[l + 1] values; with `bias` each
// layer has a constant input more.  The predictor is copy 0 less copy 1, where there are two.
struct MlpShape {
  int n, depth, copies, bias;
  int units[kMaxDepth + 1];
  Loss loss;
};

// X: n rows of padded(units[0] + bias) doubles, zero in the padding, one in the column of the bias.
// w0: copy after copy, layer after layer, units[l + 1] rows of units[l] + bias doubles, the bias
// last; the start is alpha times that.  y: one target per sample, a class for cross-entropy.
struct MlpProblem {
  MlpShape shape;
  const double *X, *y, *w0;
  double alpha;
  double step_size; // of gradient descent
};

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

struct DiagonalFlowOutput : FlowOutput {
  double *beta, *w_plus, *w_minus, *nu; // nu has n entries a row, the others d
};

struct FactorFlowOutput : FlowOutput {
  double *W; // n r a row, without padding
};

struct MlpFlowOutput : FlowOutput {
  double *w; // laid out as w0, a row after the other
};

// The options of a batch: rules per run, and what all runs share.
struct FlowSettings {
  const double *rtol, *t_max, *stop_loss; // per run
  double atol;
  long long max_steps;
  int method;
  const double *t_eval;
  int n_eval;

  KRF_HD FlowOptions of_run(long long run, double loss_offset) const {
    return {rtol[run],
            atol,
            t_max[run],
            stop_loss[run],
            loss_offset,
            max_steps,
            static_cast<Method>(method),
            t_eval,
            n_eval};
  }
};

// X as in DiagonalProblem, its features in any units; bound: d doubles, positive.
struct RichPathProblem {
  int n, d;
  const double *X;
  const double *feature_norm;
  const double *y;
  const double *bound;
  double loss_offset; // part of the loss no predictor can remove, left out of the data
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
