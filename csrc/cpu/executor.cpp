#include "executor.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <thread>

#include "../core/config.hpp"
#include "kernels.hpp"

namespace krf::cpu {
namespace {

struct AlignedDelete {
  void operator()(double *p) const { ::operator delete[](p, std::align_val_t(64)); }
};
using Block = std::unique_ptr<double[], AlignedDelete>;

Block allocate(long long count) {
  return Block(static_cast<double *>(
      ::operator new[](static_cast<std::size_t>(count) * sizeof(double), std::align_val_t(64))));
}

// One worker's memory: the packed problem and the scratch of a run.
class Worker {
public:
  explicit Worker(const DiagonalBatch &batch)
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

// Longest expected first: the rich end of a sweep takes most steps.
std::vector<long long> queue_of(const DiagonalBatch &batch) {
  std::vector<long long> order(static_cast<std::size_t>(batch.count));
  std::iota(order.begin(), order.end(), 0);
  const auto expected = [&](long long b) {
    return -static_cast<double>(batch.depth[b]) * std::log(batch.alpha[b]);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](long long a, long long b) { return expected(a) > expected(b); });
  return order;
}

template <class Run>
bool run_queue(const DiagonalBatch &batch, int threads, const Watch &watch, const Run &run) {
  const auto order = queue_of(batch);
  std::atomic<long long> next{0}, done{0};
  int cancel = 0; // read by the core through an atomic load
  std::mutex mutex;
  std::condition_variable idle;
  int active = static_cast<int>(std::clamp<long long>(batch.count, 1, threads));
  std::exception_ptr failure;

  const auto work = [&] {
    try {
      Worker worker(batch);
      for (;;) {
        const long long at = next.fetch_add(1);
        if (at >= batch.count || __atomic_load_n(&cancel, __ATOMIC_RELAXED))
          break;
        run(worker, order[static_cast<std::size_t>(at)], &cancel);
        done.fetch_add(1);
      }
    } catch (...) {
      std::lock_guard lock(mutex);
      failure = std::current_exception();
      __atomic_store_n(&cancel, 1, __ATOMIC_RELAXED);
    }
    std::lock_guard lock(mutex);
    if (--active == 0)
      idle.notify_one();
  };
  std::vector<std::thread> workers;
  const int count = active;
  try {
    for (int i = 0; i < count; ++i)
      workers.emplace_back(work);
  } catch (const std::system_error &) { // fewer threads than asked for will do, none will not
    std::lock_guard lock(mutex);
    active -= count - static_cast<int>(workers.size());
    if (workers.empty())
      throw;
  }
  bool wanted = true;
  {
    std::unique_lock lock(mutex);
    while (active > 0) {
      idle.wait_for(lock, std::chrono::milliseconds(50));
      lock.unlock();
      if (wanted && !watch(done.load())) {
        wanted = false;
        __atomic_store_n(&cancel, 1, __ATOMIC_RELAXED);
      }
      lock.lock();
    }
  }
  for (auto &thread : workers)
    thread.join();
  if (failure)
    std::rethrow_exception(failure);
  return wanted;
}

} // namespace

bool run_flows(const DiagonalBatch &batch, const FlowSettings &s, FlowResults &r, int threads,
               const Watch &watch) {
  const long long rows = std::max(s.n_eval, 1);
  return run_queue(batch, threads, watch, [&](Worker &worker, long long b, const int *cancel) {
    const double offset = batch.loss_offset[batch.y_index[b]];
    const FlowOptions options{s.rtol[b],
                              s.atol,
                              s.t_max[b],
                              s.stop_loss[b],
                              offset,
                              s.max_steps,
                              static_cast<Method>(s.method),
                              s.t_eval,
                              s.n_eval};
    const long long d = b * rows * batch.d;
    DiagonalFlowOutput out{{r.loss + b * rows, r.t + b * rows, Status::kFailed, 0, 0},
                           r.beta + d,
                           r.w_plus + d,
                           r.w_minus + d,
                           r.nu + b * rows * batch.n};
    kernels().flow(worker.problem(b), options, out, worker.scratch(), cancel);
    r.status[b] = static_cast<int>(out.status);
    r.n_steps[b] = out.n_steps;
    r.n_rhs[b] = out.n_rhs;
  });
}

bool run_limits(const DiagonalBatch &batch, const LimitSettings &s, LimitResults &r, int threads,
                const Watch &watch) {
  return run_queue(batch, threads, watch, [&](Worker &worker, long long b, const int *cancel) {
    const DiagonalProblem problem = worker.problem(b);
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
    kernels().limit(problem, options, out, worker.scratch(), cancel);
    r.loss[b] = out.loss;
    r.status[b] = static_cast<int>(out.status);
    r.n_iterations[b] = out.n_iterations;
  });
}

} // namespace krf::cpu
