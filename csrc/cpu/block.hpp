// Memory for vector registers.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace krf::cpu {

struct AlignedDelete {
  std::align_val_t alignment{64};
  void operator()(double *p) const { ::operator delete[](p, alignment); }
};
using Block = std::unique_ptr<double[], AlignedDelete>;

// What the machine has, in bytes; zero where the system does not say.
inline double physical_memory() {
#if defined(_SC_PHYS_PAGES) && defined(_SC_PAGESIZE)
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
#else
  return 0.0;
#endif
}

// Python's MemoryError, with this text.  A system that promises more memory than it has would end
// the process later.
class TooLarge : public std::bad_alloc {
public:
  TooLarge(double wanted, double there) {
    std::snprintf(
        text_, sizeof text_,
        "an array takes %.0f GB, and this machine has %.0f GB of memory: expected fewer samples "
        "or features",
        wanted / 1e9, there / 1e9);
  }
  const char *what() const noexcept override { return text_; }

private:
  char text_[160];
};

// In tests new memory is filled with NaN, so that a result that depends on it shows.
inline std::atomic<bool> poison_memory{false};

inline Block allocate(long long count) {
  // Columns of a large matrix lie on different small pages, and each page needs an entry of the
  // processor's page table cache.  Large pages need fewer.
  constexpr std::size_t kLargePage = std::size_t{2} << 20;
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(double);
  const double there = bytes < 2 * kLargePage ? 0.0 : physical_memory();
  if (there > 0.0 && static_cast<double>(bytes) > there)
    throw TooLarge(static_cast<double>(bytes), there);
  const AlignedDelete of{std::align_val_t(bytes < 2 * kLargePage ? 64 : kLargePage)};
  Block block(static_cast<double *>(::operator new[](bytes, of.alignment)), of);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes >= 2 * kLargePage) // a hint: whether it is heard changes the speed alone
    madvise(block.get(), bytes / kLargePage * kLargePage, MADV_HUGEPAGE);
#endif
  if (poison_memory.load(std::memory_order_relaxed))
    std::fill(block.get(), block.get() + count, std::numeric_limits<double>::quiet_NaN());
  return block;
}

} // namespace krf::cpu
