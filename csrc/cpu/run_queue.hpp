// Hands independent runs to worker threads.
#pragma once

#include <functional>
#include <vector>

#include "helper_pool.hpp"

namespace krf::cpu {

// Called about twenty times a second on the calling thread with the number of finished runs;
// returning false cancels.
using Watch = std::function<bool(long long done)>;
// Does run b; `cancel` becomes non-zero when the caller cancels the batch.
using Run = std::function<void(long long b, const int *cancel, Helpers helpers)>;

// Runs `order`, first come first served, on at most `threads` threads; each that gets a run calls
// `make_run` once, for a Run with memory of its own.  Threads without a run help the others; where
// there are fewer runs than threads, the threads beyond are started only if runs are `large`.
// Returns whether the batch ran to its end.
bool run_queue(const std::vector<long long> &order, int threads, bool large, const Watch &watch,
               const std::function<Run()> &make_run);

// Runs 0 .. count - 1, those with the largest `expected` work first: a long run that starts last
// leaves the other threads idle.
std::vector<long long> longest_first(long long count,
                                     const std::function<double(long long)> &expected);

} // namespace krf::cpu
