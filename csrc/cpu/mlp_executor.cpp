#include "mlp_executor.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "../core/base/config.hpp"
#include "block.hpp"
#include "kernels.hpp"

namespace krf::cpu {
namespace {

// One worker's memory: padded samples and the scratch of a run.
class MlpWorker {
public:
  explicit MlpWorker(const MlpBatch &batch)
      : batch_(batch), ld_(padded(batch.shape.units[0] + batch.shape.bias)),
        X_(allocate(static_cast<long long>(batch.shape.n) * ld_)),
        scratch_(allocate(kernels().mlp_workspace(empty()))) {}

  double *scratch() { return scratch_.get(); }

  MlpProblem problem(long long b) {
    const long long n = batch_.shape.n, d = batch_.shape.units[0];
    const double *X = batch_.X + batch_.x_index[b] * n * d;
    for (long long i = 0; i < n; ++i)
      for (long long c = 0; c < ld_; ++c)
        X_[static_cast<std::size_t>(i * ld_ + c)] =
            c < d ? X[i * d + c] : (c == d && batch_.shape.bias ? 1.0 : 0.0);
    MlpProblem p = empty();
    p.X = X_.get();
    p.y = batch_.y + batch_.y_index[b] * n;
    p.w0 = batch_.w0 + batch_.w_index[b] * batch_.n_weights;
    p.alpha = batch_.alpha[b];
    return p;
  }

private:
  MlpProblem empty() const {
    return {batch_.shape, nullptr, nullptr, nullptr, 1.0, batch_.step_size};
  }

  const MlpBatch &batch_;
  int ld_;
  Block X_, scratch_;
};

} // namespace

bool run_mlp_flows(const MlpBatch &batch, const FlowSettings &s, MlpFlowResults &r, int threads,
                   const Watch &watch) {
  const long long rows = std::max(s.n_eval, 1);
  // Runs from a small start cross the most kinks before they fit anything.
  const auto queue =
      longest_first(batch.count, [&](long long b) { return -std::log(batch.alpha[b]); });
  return run_queue(queue, threads, watch, [&]() -> Run {
    auto worker = std::make_shared<MlpWorker>(batch);
    return [&, worker](long long b, const int *cancel) {
      MlpFlowOutput out{{r.loss + b * rows, r.t + b * rows, Status::kFailed, 0, 0},
                        r.w + b * rows * batch.n_weights};
      kernels().mlp_flow(worker->problem(b), s.of_run(b, 0.0), out, worker->scratch(), cancel);
      r.status[b] = static_cast<int>(out.status);
      r.n_steps[b] = out.n_steps;
      r.n_rhs[b] = out.n_rhs;
      r.n_flops[b] = out.n_flops;
    };
  });
}

} // namespace krf::cpu
