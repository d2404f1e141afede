#include "instruction_set.hpp"
#include "kernels.hpp"

namespace krf::cpu {

const Kernels &kernels() {
  using Table = const Kernels &(*)();
  static constexpr Table tables[] = {
      baseline_kernels,
#ifdef KRF_X86_DISPATCH
      avx2_kernels,
      avx512_kernels,
#endif
  };
  static const Kernels &chosen = tables[instruction_set().place]();
  return chosen;
}

} // namespace krf::cpu
