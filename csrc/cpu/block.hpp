// Memory for vector registers.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace krf::cpu {

struct AlignedDelete {
  void operator()(double *p) const { ::operator delete[](p, std::align_val_t(64)); }
};
using Block = std::unique_ptr<double[], AlignedDelete>;

inline Block allocate(long long count) {
  return Block(static_cast<double *>(
      ::operator new[](static_cast<std::size_t>(count) * sizeof(double), std::align_val_t(64))));
}

} // namespace krf::cpu
