// Memory for vector registers.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <limits>
#include <memory>
#include <new>

namespace krf::cpu {

struct AlignedDelete {
  void operator()(double *p) const { ::operator delete[](p, std::align_val_t(64)); }
};
using Block = std::unique_ptr<double[], AlignedDelete>;

// In tests new memory is filled with NaN, so that a result that depends on it shows.
inline std::atomic<bool> poison_memory{false};

inline Block allocate(long long count) {
  Block block(static_cast<double *>(
      ::operator new[](static_cast<std::size_t>(count) * sizeof(double), std::align_val_t(64))));
  if (poison_memory.load(std::memory_order_relaxed))
    std::fill(block.get(), block.get() + count, std::numeric_limits<double>::quiet_NaN());
  return block;
}

} // namespace krf::cpu
