#include "run_queue.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace krf::cpu {

bool run_queue(const std::vector<long long> &order, int threads, bool large, const Watch &watch,
               const std::function<Run()> &make_run) {
  if (threads < 1) // no run would start, and results would be uninitialised
    throw std::invalid_argument("internal shape error: threads");
  const long long total = static_cast<long long>(order.size());
  std::atomic<long long> next{0}, done{0};
  int cancel = 0; // read by the core through an atomic load
  std::mutex mutex;
  std::condition_variable idle;
  const int count = large ? threads : static_cast<int>(std::clamp<long long>(total, 1, threads));
  HelperPool pool(count);
  int active = count;           // threads
  std::atomic<int> busy{count}; // threads that may still have a run
  std::exception_ptr failure;

  const auto guarded = [&](const auto &act) {
    try {
      act();
    } catch (...) {
      std::lock_guard lock(mutex);
      failure = std::current_exception();
      __atomic_store_n(&cancel, 1, __ATOMIC_RELAXED);
    }
  };
  const auto do_runs = [&](int slot) {
    Run run;
    for (;;) {
      const long long at = next.fetch_add(1);
      if (at >= total || __atomic_load_n(&cancel, __ATOMIC_RELAXED))
        break;
      if (!run)
        run = make_run();
      run(order[static_cast<std::size_t>(at)], &cancel, {&pool, slot});
      done.fetch_add(1);
    }
  };
  const auto work = [&](int slot) {
    guarded([&] { do_runs(slot); });
    if (busy.fetch_sub(1) == 1)
      pool.close();
    else
      guarded([&] { pool.help(); });
    std::lock_guard lock(mutex);
    if (--active == 0)
      idle.notify_one();
  };
  std::vector<std::thread> workers;
  workers.reserve(static_cast<std::size_t>(count));
  try {
    for (int i = 0; i < count; ++i)
      workers.emplace_back(work, i);
  } catch (const std::system_error &) { // go on with fewer threads than asked for, if there is one
    const int missing = count - static_cast<int>(workers.size());
    if (busy.fetch_sub(missing) == missing)
      pool.close();
    std::lock_guard lock(mutex);
    active -= missing;
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

std::vector<long long> longest_first(long long count,
                                     const std::function<double(long long)> &expected) {
  std::vector<long long> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](long long a, long long b) { return expected(a) > expected(b); });
  return order;
}

} // namespace krf::cpu
