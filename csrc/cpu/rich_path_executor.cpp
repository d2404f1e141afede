#include "rich_path_executor.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "../core/base/config.hpp"
#include "block.hpp"
#include "kernels.hpp"

namespace krf::cpu {
namespace {

int exponent_of(double largest) {
  int exponent = 0;
  if (largest > 0.0)
    std::frexp(largest, &exponent);
  return exponent;
}

// One worker's memory: the packed problem and the scratch of a run.  Features and y are multiplied
// by powers of two, so that the largest entry of each lies between 1/2 and 1: no square leaves the
// range of the doubles, and no digit changes.
class RichPathWorker {
public:
  explicit RichPathWorker(const RichPathBatch &batch)
      : batch_(batch), ldn_(padded(batch.n)), ldd_(padded(batch.d)),
        X_(allocate(static_cast<long long>(ldn_) * ldd_)), vectors_(allocate(2LL * ldd_ + ldn_)),
        scratch_(allocate(kernels().rich_path_workspace(batch.n, batch.d))),
        exponent_(static_cast<std::size_t>(batch.d)) {}

  void run(long long b, long long max_jumps, RichPathResults &r, const int *cancel,
           Helpers helpers) {
    const RichPathProblem problem = pack(b);
    target_ = &r.saddles[static_cast<std::size_t>(b)];
    RichPathOutput out{this, add_jump, r.dual + b * batch_.n, r.at_bound + b * batch_.d,
                       0,    0,        Status::kFailed,       0};
    kernels().rich_path(problem, max_jumps, out, scratch_.get(), cancel, helpers);
    r.t[b] = std::ldexp(out.t, -y_exponent_);
    r.loss[b] = std::ldexp(out.loss, 2 * y_exponent_);
    r.n_pivots[b] = out.n_pivots;
    const bool finite = std::isfinite(r.t[b]) && std::isfinite(r.loss[b]) &&
                        std::all_of(r.dual + b * batch_.n, r.dual + (b + 1) * batch_.n,
                                    [](double s) { return std::isfinite(s); }) &&
                        std::all_of(target_->value.begin(), target_->value.end(),
                                    [](double x) { return std::isfinite(x); });
    r.status[b] = static_cast<int>(finite ? out.status : Status::kFailed);
  }

private:
  RichPathProblem pack(long long b) {
    double *norm = vectors_.get(), *bound = norm + ldd_, *y = bound + ldd_;
    if (batch_.x_index[b] != packed_)
      pack_features(batch_.x_index[b], norm);
    const double *source = batch_.y + batch_.y_index[b] * batch_.n;
    double largest = 0;
    for (int j = 0; j < batch_.n; ++j)
      largest = std::max(largest, std::fabs(source[j]));
    y_exponent_ = exponent_of(largest);
    std::fill(y, y + ldn_, 0.0);
    for (int j = 0; j < batch_.n; ++j)
      y[j] = std::ldexp(source[j], -y_exponent_);
    const double *bounds = batch_.bound + batch_.bound_index[b] * batch_.d;
    std::fill(bound, bound + ldd_, 1.0);
    for (int i = 0; i < batch_.d; ++i)
      bound[i] = std::ldexp(bounds[i], -exponent_[static_cast<std::size_t>(i)]);
    const double offset = std::ldexp(batch_.loss_offset[batch_.y_index[b]], -2 * y_exponent_);
    return {batch_.n, batch_.d, X_.get(), norm, y, bound, offset};
  }

  void pack_features(long long index, double *norm) {
    const double *X = batch_.X + index * batch_.n * batch_.d;
    std::fill(X_.get(), X_.get() + static_cast<long long>(ldn_) * ldd_, 0.0);
    std::fill(norm, norm + ldd_, 0.0);
    for (int i = 0; i < batch_.d; ++i) {
      double largest = 0, sum = 0;
      for (int j = 0; j < batch_.n; ++j)
        largest = std::max(largest, std::fabs(X[static_cast<long long>(j) * batch_.d + i]));
      const int exponent = exponent_of(largest);
      exponent_[static_cast<std::size_t>(i)] = exponent;
      double *column = X_.get() + static_cast<long long>(i) * ldn_;
      // Two factors: one alone could overflow where the column is subnormal.
      const double first = std::ldexp(1.0, -exponent / 2),
                   second = std::ldexp(1.0, -exponent - -exponent / 2);
      for (int j = 0; j < batch_.n; ++j) {
        column[j] = X[static_cast<long long>(j) * batch_.d + i] * first * second;
        sum += column[j] * column[j];
      }
      norm[i] = std::sqrt(sum);
    }
    packed_ = index;
  }

  static void add_jump(void *to, double t, double loss, int count, const int *feature,
                       const double *value) {
    auto *worker = static_cast<RichPathWorker *>(to);
    Saddles &saddles = *worker->target_;
    saddles.t.push_back(std::ldexp(t, -worker->y_exponent_));
    saddles.loss.push_back(std::ldexp(loss, 2 * worker->y_exponent_));
    for (int k = 0; k < count; ++k) {
      const int exponent = worker->exponent_[static_cast<std::size_t>(feature[k])];
      saddles.feature.push_back(feature[k]);
      saddles.value.push_back(std::ldexp(value[k], worker->y_exponent_ - exponent));
    }
    saddles.first.push_back(static_cast<long long>(saddles.feature.size()));
  }

  const RichPathBatch &batch_;
  int ldn_, ldd_, y_exponent_ = 0;
  Block X_, vectors_, scratch_;
  std::vector<int> exponent_;
  long long packed_ = -1;
  Saddles *target_ = nullptr;
};

} // namespace

bool follow_rich_paths(const RichPathBatch &batch, long long max_jumps, RichPathResults &r,
                       int threads, const Watch &watch) {
  r.saddles.resize(static_cast<std::size_t>(batch.count));
  const auto queue = longest_first(batch.count, [](long long) { return 1.0; });
  const bool large = static_cast<double>(batch.n) * batch.d >= kWorthThreads;
  return run_queue(queue, threads, large, watch, [&]() -> Run {
    auto worker = std::make_shared<RichPathWorker>(batch);
    return [&, worker](long long b, const int *cancel, Helpers helpers) {
      worker->run(b, max_jumps, r, cancel, helpers);
    };
  });
}

} // namespace krf::cpu
