// Runs a batch of independent problems of any family on worker threads.
#pragma once

#include <algorithm>
#include <memory>

#include "../core/families.hpp"
#include "block.hpp"
#include "kernels.hpp"
#include "run_queue.hpp"

namespace krf::cpu {

template <class Family>
void pack_set(const typename Family::Batch &batch, long long set, double *packed) {
  for (long long line = 0; line < Family::lines(batch); ++line)
    Family::pack(batch, set, line, packed);
}

// The one set of a batch whose runs share it, on all threads where it is large.  Returns false
// where the caller cancelled.
template <class Family>
bool pack_shared_set(const typename Family::Batch &batch, double *packed, int threads,
                     const Watch &watch) {
  constexpr long long kLarge = 1 << 20, kLinesOfPiece = 64; // neighbours share cache lines of X
  if (Family::packed_doubles(batch) < kLarge) {
    pack_set<Family>(batch, 0, packed);
    return true;
  }
  const long long lines = Family::lines(batch);
  const auto order =
      longest_first((lines + kLinesOfPiece - 1) / kLinesOfPiece, [](long long) { return 1.0; });
  return run_queue(
      order, threads, false, [&](long long) { return watch(0); },
      [&]() -> Run {
        return [&](long long piece, const int *, Helpers) {
          const long long end = std::min((piece + 1) * kLinesOfPiece, lines);
          for (long long line = piece * kLinesOfPiece; line < end; ++line)
            Family::pack(batch, 0, line, packed);
        };
      });
}

// One worker's memory: the scratch of a run and, unless all runs share one set of data, the set of
// the last run.
template <class Family> class Worker {
  using Batch = typename Family::Batch;

public:
  Worker(const Batch &batch, const double *shared)
      : batch_(batch), kernels_(kernels()), shared_(shared) {
    bool needed[Family::kVariants] = {};
    for (long long run = 0; run < batch.count; ++run)
      needed[Family::variant(batch, run)] = true;
    long long room = 0;
    for (int variant = 0; variant < Family::kVariants; ++variant)
      if (needed[variant])
        room = std::max(room, kernels_.workspace(batch, variant));
    workspace_ = allocate(room);
    if (!shared && Family::sets(batch) > 0)
      packed_ = allocate(Family::packed_doubles(batch));
  }

  void run(const typename Family::Settings &settings, const typename Family::Rows &rows,
           long long run, const int *cancel, Helpers helpers) {
    kernels_.run(batch_, settings, rows, Family::variant(batch_, run), run, packed(run),
                 workspace_.get(), cancel, helpers);
  }

private:
  const double *packed(long long run) {
    if (shared_ || !packed_)
      return shared_;
    const long long set = Family::set_of(batch_, run);
    if (set != set_)
      pack_set<Family>(batch_, set, packed_.get());
    set_ = set;
    return packed_.get();
  }

  const Batch &batch_;
  const FamilyKernels<Family> &kernels_;
  const double *shared_;
  Block workspace_, packed_;
  long long set_ = -1;
};

// Whether runs have operations that are worth cutting into pieces (pieces.hpp): passes over two
// megabytes, or algebra in blocks.
template <class Family> bool has_large_runs(const typename Family::Batch &batch) {
  return static_cast<double>(Family::packed_doubles(batch)) >= kWorthThreads ||
         Family::rows_of_systems(batch) >= kLargeOrder;
}

// Returns whether the batch ran to its end.
template <class Family>
bool run_batch(const typename Family::Batch &batch, const typename Family::Settings &settings,
               const typename Family::Rows &rows, int threads, const Watch &watch) {
  Block shared;
  if (Family::sets(batch) == 1) {
    shared = allocate(Family::packed_doubles(batch));
    if (!pack_shared_set<Family>(batch, shared.get(), threads, watch))
      return false;
  }
  const auto order =
      longest_first(batch.count, [&](long long run) { return comparable(batch.work[run]); });
  return run_queue(order, threads, has_large_runs<Family>(batch), watch, [&]() -> Run {
    auto worker = std::make_shared<Worker<Family>>(batch, shared.get());
    return [&, worker](long long run, const int *cancel, Helpers helpers) {
      worker->run(settings, rows, run, cancel, helpers);
    };
  });
}

} // namespace krf::cpu
