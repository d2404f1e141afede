#include "rich_path_executor.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "../core/base/config.hpp"
#include "block.hpp"
#include "kernels.hpp"

namespace krf::cpu {
namespace {

// Between rows, and between targets: from these ratios on the square of a small row begins to
// vanish in the rounding of a large one, and a small target in what counts as a fit.
constexpr double kUnevenRows = 1e4, kUnevenTargets = 1e8;

int exponent_of(double largest) {
  int exponent = 0;
  if (largest > 0.0)
    std::frexp(largest, &exponent);
  return exponent;
}

// The largest over the smallest modulus, of numbers that are not zero.
double spread(const double *v, int count) {
  double least = std::numeric_limits<double>::infinity(), most = 0;
  for (int j = 0; j < count; ++j)
    if (v[j] != 0.0) {
      least = std::min(least, std::fabs(v[j]));
      most = std::max(most, std::fabs(v[j]));
    }
  return most > 0.0 ? most / least : 1.0;
}

// One worker's memory: the packed problem and the scratch of a run.  Features and y are multiplied
// by powers of two, so that the largest entry of each lies between 1/2 and 1: no square leaves the
// range of the doubles, and no digit changes.
class RichPathWorker {
public:
  explicit RichPathWorker(const RichPathBatch &batch)
      : batch_(batch), ldn_(padded(batch.n)), ldd_(padded(batch.d)),
        X_(allocate(static_cast<long long>(ldn_) * ldd_)), vectors_(allocate(2LL * ldd_ + ldn_)),
        rows_(static_cast<std::size_t>(batch.n)), scaled_rows_(rows_.size()),
        exponent_(static_cast<std::size_t>(batch.d)) {}

  void run(long long b, long long max_jumps, RichPathResults &r, const int *cancel,
           Helpers helpers) {
    RichPathProblem problem = pack(b);
    target_ = &r.saddles[static_cast<std::size_t>(b)];
    RichPathOutput out{this, add_jump, r.dual + b * batch_.n, r.at_bound + b * batch_.d,
                       0,    0,        Status::kFailed,       0};
    const auto follow = [&](bool graded) {
      *target_ = Saddles{};
      problem.row_units = graded ? row_units() : nullptr;
      kernels().rich_path(problem, max_jumps, out, scratch(graded), cancel, helpers);
    };
    follow(!batch_.reduced && (uneven_ || spread(problem.y, batch_.n) > kUnevenTargets));
    if (out.status == Status::kFailed && !batch_.reduced && !problem.row_units)
      follow(true);
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
    return {batch_.n, batch_.d, X_.get(), norm, y, bound, offset, batch_.reduced, nullptr};
  }

  void pack_features(long long index, double *norm) {
    const double *X = batch_.X + index * batch_.n * batch_.d;
    std::fill(X_.get(), X_.get() + static_cast<long long>(ldn_) * ldd_, 0.0);
    std::fill(norm, norm + ldd_, 0.0);
    std::fill(rows_.begin(), rows_.end(), 0.0);
    std::fill(scaled_rows_.begin(), scaled_rows_.end(), 0.0);
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
      note_rows(column, std::ldexp(1.0, exponent));
    }
    uneven_ = spread(rows_.data(), batch_.n) > kUnevenRows ||
              spread(scaled_rows_.data(), batch_.n) > kUnevenRows;
    packed_ = index;
  }

  // The largest entries of rows, with a column that was divided by `unit`.
  void note_rows(const double *column, double unit) {
    double *rows = rows_.data(), *scaled = scaled_rows_.data();
    for (int j = 0; j < batch_.n; ++j) {
      const double entry = std::fabs(column[j]);
      scaled[j] = std::max(scaled[j], entry);
      rows[j] = std::max(rows[j], entry * unit);
    }
  }

  // The largest entries of rows, features in units that are balanced against those of rows: the
  // geometric mean of the smallest and the largest entry of each becomes 1.
  const double *row_units() {
    constexpr int kPasses = 10;
    std::vector<double> unit(static_cast<std::size_t>(batch_.d), 1.0);
    std::fill(rows_.begin(), rows_.end(), 1.0);
    for (int pass = 0; pass < kPasses; ++pass) {
      for (int j = 0; j < batch_.n; ++j)
        balance(rows_[static_cast<std::size_t>(j)], X_.get() + j, ldn_, unit);
      for (int i = 0; i < batch_.d; ++i)
        balance(unit[static_cast<std::size_t>(i)], X_.get() + static_cast<long long>(i) * ldn_, 1,
                rows_);
    }
    for (int j = 0; j < batch_.n; ++j) {
      double most = 0;
      for (int i = 0; i < batch_.d; ++i)
        most = std::max(most,
                        std::fabs(X_[static_cast<std::size_t>(i) * static_cast<std::size_t>(ldn_) +
                                     static_cast<std::size_t>(j)]) *
                            unit[static_cast<std::size_t>(i)]);
      rows_[static_cast<std::size_t>(j)] = most > 0.0 ? most : 1.0;
    }
    return rows_.data();
  }

  static void balance(double &own, const double *entry, int apart,
                      const std::vector<double> &other) {
    double least = std::numeric_limits<double>::infinity(), most = 0;
    for (const double unit : other) {
      const double size = std::fabs(*entry) * unit;
      entry += apart;
      if (size > 0.0) {
        least = std::min(least, size);
        most = std::max(most, size);
      }
    }
    if (most > 0.0)
      own = 1.0 / std::sqrt(least * most);
  }

  // Memory that is large with `graded`, and rarely needed.
  double *scratch(bool graded) {
    Block &own = scratch_[graded ? 1 : 0];
    if (!own)
      own = allocate(kernels().rich_path_workspace(batch_.n, batch_.d, graded));
    return own.get();
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
  Block X_, vectors_, scratch_[2];
  std::vector<double> rows_, scaled_rows_; // largest entries, raw and in the units of X_
  bool uneven_ = false;
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
