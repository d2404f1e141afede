// A ReLU network's problem and results: plain data, no ownership.
#pragma once

#include "../loss.hpp"
#include "../ode/flow_options.hpp"

// Outside the per-instruction-set namespaces: no code, so nothing to keep apart.
namespace krf {

inline constexpr int kMaxDepth = 8;

// A fully connected ReLU network: layer l maps units[l] to units[l + 1] values; with `bias` each
// layer has a constant input more.  The predictor is copy 0 less copy 1, where there are two.
struct MlpShape {
  int n, depth, copies, bias;
  int units[kMaxDepth + 1];
  LossKind loss;
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

struct MlpFlowOutput : FlowOutput {
  double *w; // laid out as w0, a row after the other
};

} // namespace krf
