#include "factor_executor.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "../core/base/config.hpp"
#include "block.hpp"
#include "kernels.hpp"

namespace krf::cpu {
namespace {

// Dense measurements in core's layout: entry after entry, the samples of an entry together.
struct PackedMeasurements {
  Block X;
  double norm = 0;

  explicit PackedMeasurements(const FactorBatch &batch) {
    if (!batch.X)
      return;
    const long long entries = static_cast<long long>(batch.p) * batch.q,
                    ldn = padded(batch.n_samples);
    const long long size = ldn * padded(static_cast<int>(entries));
    X = allocate(size);
    std::fill(X.get(), X.get() + size, 0.0);
    double sum = 0;
    for (long long i = 0; i < batch.n_samples; ++i)
      for (long long e = 0; e < entries; ++e) {
        const double x = batch.X[i * entries + e];
        X[static_cast<std::size_t>(e * ldn + i)] = x;
        sum += x * x;
      }
    norm = std::sqrt(sum);
  }
};

// One worker's memory: the padded problem and the scratch of a run.
class FactorWorker {
public:
  FactorWorker(const FactorBatch &batch, const PackedMeasurements &packed)
      : batch_(batch), packed_(packed), y_(allocate(padded(batch.n_samples))) {
    long long widest = 1;
    for (long long b = 0; b < batch.count; ++b)
      widest = std::max(widest, batch.rank[batch.start_index[b]]);
    W0_ = allocate(static_cast<long long>(batch.n) * padded(static_cast<int>(widest)));
    scratch_ = allocate(kernels().factor_workspace(shape(static_cast<int>(widest))));
  }

  double *scratch() { return scratch_.get(); }

  FactorProblem problem(long long b) {
    const long long start = batch_.start_index[b];
    FactorProblem problem = shape(static_cast<int>(batch_.rank[start]));
    const double *y = batch_.y + batch_.y_index[b] * batch_.n_samples;
    std::fill(std::copy(y, y + batch_.n_samples, y_.get()), y_.get() + padded(batch_.n_samples),
              0.0);
    const double *from = batch_.starts + batch_.start_offset[start];
    const int ldr = padded(problem.r);
    for (int i = 0; i < batch_.n; ++i)
      for (int c = 0; c < ldr; ++c)
        W0_[static_cast<std::size_t>(i) * ldr + c] =
            c < problem.r ? batch_.scale[b] * from[static_cast<long long>(i) * problem.r + c] : 0.0;
    if (!batch_.X) {
      const long long set = batch_.entry_index[b] * batch_.n_samples;
      problem.row = batch_.row + set, problem.column = batch_.column + set;
    }
    problem.y = y_.get();
    problem.W0 = W0_.get();
    return problem;
  }

private:
  FactorProblem shape(int r) const {
    return {batch_.n,         r,          batch_.p,      batch_.q,        batch_.c0,
            batch_.n_samples, batch_.row, batch_.column, packed_.X.get(), packed_.norm,
            nullptr,          nullptr};
  }

  const FactorBatch &batch_;
  const PackedMeasurements &packed_;
  Block y_, W0_, scratch_;
};

// Runs from a small start take the most steps: they leave it slowly.
std::vector<long long> queue_of(const FactorBatch &batch) {
  return longest_first(batch.count, [&](long long b) {
    const long long start = batch.start_index[b];
    const double *W = batch.starts + batch.start_offset[start];
    const long long size = batch.n * batch.rank[start];
    double sum = 0;
    for (long long i = 0; i < size; ++i)
      sum += W[i] * W[i];
    return -std::log(batch.scale[b]) - 0.5 * std::log(std::max(sum, 1e-300));
  });
}

} // namespace

bool run_factor_flows(const FactorBatch &batch, const FlowSettings &s, FactorFlowResults &r,
                      int threads, const Watch &watch) {
  const long long rows = std::max(s.n_eval, 1);
  const PackedMeasurements packed(batch);
  return run_queue(queue_of(batch), threads, watch, [&]() -> Run {
    auto worker = std::make_shared<FactorWorker>(batch, packed);
    return [&, worker](long long b, const int *cancel) {
      FactorFlowOutput out{{r.loss + b * rows, r.t + b * rows, Status::kFailed, 0, 0},
                           r.W + r.W_offset[b]};
      kernels().factor_flow(worker->problem(b), s.of_run(b, 0.0), out, worker->scratch(), cancel);
      r.status[b] = static_cast<int>(out.status);
      r.n_steps[b] = out.n_steps;
      r.n_rhs[b] = out.n_rhs;
      r.n_flops[b] = out.n_flops;
    };
  });
}

} // namespace krf::cpu
