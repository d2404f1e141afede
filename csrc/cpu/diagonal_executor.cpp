#include "diagonal_executor.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "../core/base/config.hpp"
#include "block.hpp"
#include "kernels.hpp"

namespace krf::cpu {
namespace {

// One worker's memory: the packed problem and the scratch of a run.
class DiagonalWorker {
public:
  explicit DiagonalWorker(const DiagonalBatch &batch)
      : batch_(batch), ldn_(padded(batch.n)), ldd_(padded(batch.d)),
        X_(allocate(static_cast<long long>(ldn_) * ldd_)), vectors_(allocate(3LL * ldd_ + ldn_)) {
    const bool deep =
        std::any_of(batch.depth, batch.depth + batch.count, [](long long D) { return D > 2; });
    scratch_ = allocate(std::max(kernels().workspace(batch.n, batch.d, 2),
                                 deep ? kernels().workspace(batch.n, batch.d, 3) : 0));
  }

  double *scratch() { return scratch_.get(); }

  DiagonalProblem problem(long long b) {
    double *norm = vectors_.get(), *plus = norm + ldd_, *minus = plus + ldd_, *y = minus + ldd_;
    if (batch_.x_index[b] != packed_)
      pack(batch_.x_index[b], norm);
    const double *source = batch_.y + batch_.y_index[b] * batch_.n;
    std::fill(std::copy(source, source + batch_.n, y), y + ldn_, 0.0);
    const long long row = batch_.w_index[b] * batch_.d;
    for (int i = 0; i < ldd_; ++i) {
      const bool real = i < batch_.d;
      plus[i] = real ? batch_.alpha[b] * batch_.profile_plus[row + i] : plus[0];
      minus[i] = real ? batch_.alpha[b] * batch_.profile_minus[row + i] : plus[0];
    }
    return {batch_.n, batch_.d, static_cast<int>(batch_.depth[b]), X_.get(), norm, y, plus, minus};
  }

private:
  void pack(long long index, double *norm) {
    const double *X = batch_.X + index * batch_.n * batch_.d;
    std::fill(X_.get(), X_.get() + static_cast<long long>(ldn_) * ldd_, 0.0);
    std::fill(norm, norm + ldd_, 0.0);
    for (int i = 0; i < batch_.d; ++i) {
      double *column = X_.get() + static_cast<long long>(i) * ldn_;
      double sum = 0;
      for (int j = 0; j < batch_.n; ++j) {
        column[j] = X[static_cast<long long>(j) * batch_.d + i];
        sum += column[j] * column[j];
      }
      norm[i] = std::sqrt(sum);
    }
    packed_ = index;
  }

  const DiagonalBatch &batch_;
  int ldn_, ldd_;
  Block X_, vectors_, scratch_;
  long long packed_ = -1;
};

// Runs at the rich end of a sweep take the most steps.
std::vector<long long> queue_of(const DiagonalBatch &batch) {
  return longest_first(batch.count, [&](long long b) {
    return -static_cast<double>(batch.depth[b]) * std::log(batch.alpha[b]);
  });
}

} // namespace

bool run_diagonal_flows(const DiagonalBatch &batch, const FlowSettings &s, DiagonalFlowResults &r,
                        int threads, const Watch &watch) {
  const long long rows = std::max(s.n_eval, 1);
  return run_queue(queue_of(batch), threads, watch, [&]() -> Run {
    auto worker = std::make_shared<DiagonalWorker>(batch);
    return [&, worker](long long b, const int *cancel) {
      const double offset = batch.loss_offset[batch.y_index[b]];
      const FlowOptions options = s.of_run(b, offset);
      const long long d = b * rows * batch.d;
      DiagonalFlowOutput out{{r.loss + b * rows, r.t + b * rows, Status::kFailed, 0, 0},
                             r.beta + d,
                             r.w_plus + d,
                             r.w_minus + d,
                             r.nu + b * rows * batch.n};
      kernels().flow(worker->problem(b), options, out, worker->scratch(), cancel);
      r.status[b] = static_cast<int>(out.status);
      r.n_steps[b] = out.n_steps;
      r.n_rhs[b] = out.n_rhs;
      r.n_flops[b] = out.n_flops;
    };
  });
}

bool run_diagonal_limits(const DiagonalBatch &batch, const LimitSettings &s,
                         DiagonalLimitResults &r, int threads, const Watch &watch) {
  return run_queue(queue_of(batch), threads, watch, [&]() -> Run {
    auto worker = std::make_shared<DiagonalWorker>(batch);
    return [&, worker](long long b, const int *cancel) {
      const DiagonalProblem problem = worker->problem(b);
      double norm = batch.loss_offset[batch.y_index[b]];
      const double offset = norm;
      for (int i = 0; i < batch.n; ++i)
        norm += problem.y[i] * problem.y[i];
      const LimitOptions options{s.tolerance, offset, std::sqrt(norm), s.max_iterations};
      LimitOutput out{r.beta + b * batch.d,
                      r.w_plus + b * batch.d,
                      r.w_minus + b * batch.d,
                      r.nu + b * batch.n,
                      0,
                      Status::kFailed,
                      0};
      kernels().limit(problem, options, out, worker->scratch(), cancel);
      r.loss[b] = out.loss;
      r.status[b] = static_cast<int>(out.status);
      r.n_iterations[b] = out.n_iterations;
    };
  });
}

} // namespace krf::cpu
