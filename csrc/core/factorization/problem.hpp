// A factorisation's problem and results: plain data, no ownership.
#pragma once

#include "../loss.hpp"
#include "../ode/flow_options.hpp"

// Outside the per-instruction-set namespaces: no code, so nothing to keep apart.
namespace krf {

// Factors W (n, r) of a lifted Gram matrix W W^T, n rows of padded(r) doubles.  M is the block of
// p leading rows and of q columns from c0 on: c0 = p for M = U V^T with W = [U; V], c0 = 0 for the
// symmetric M = W W^T.  Sample i observes entry (row[i], column[i]) of W W^T, or, where X is given,
// <X_i, M>: X holds entry after entry of M (row by row), each padded(n_samples) doubles long, and
// padded(p q) of them; for the symmetric model every X_i must be symmetric.  Padding is zero. Where
// weight is given, the prediction of sample i is weight[i] times its entry.
struct FactorProblem {
  int n, r, p, q, c0, n_samples;
  const int *row, *column;
  const double *X;
  double X_norm; // largest norm of sum_i c_i X_i for |c| = 1, or a bound
  const double *y;
  const double *W0;
  const double *weight = nullptr;
  MarginLossKind margin_loss = MarginLossKind::kExponential; // of labels y, where they are
  bool by_time = false; // results are at values of ln t instead of -ln L
};

// Beyond so many samples the tangent kernel is not formed: the factors take 32 n_samples^2 bytes.
inline constexpr int kMaxKernelSamples = 4096;

struct FactorFlowOutput : FlowOutput {
  double *W; // n r a row, without padding
};

} // namespace krf
