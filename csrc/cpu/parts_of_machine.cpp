#include "instruction_set.hpp"
#include "parts.hpp"

namespace krf::cpu {

const Parts &parts() {
  using Table = const Parts &(*)();
  static constexpr Table tables[] = {
      baseline_parts,
#ifdef KRF_X86_DISPATCH
      avx2_parts,
      avx512_parts,
#endif
  };
  static const Parts &chosen = tables[instruction_set().place]();
  return chosen;
}

} // namespace krf::cpu
