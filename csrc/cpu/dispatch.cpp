#include <cstdlib>
#include <cstring>

#include "kernels.hpp"

namespace krf::cpu {
namespace {

const Kernels &choose() {
#ifdef KRF_X86_DISPATCH
  const char *wish = std::getenv("KRF_ISA"); // NOLINT(concurrency-mt-unsafe): nothing here sets it
  const auto allowed = [&](const char *name) { return !wish || !std::strcmp(wish, name); };
  __builtin_cpu_init();
  if (allowed("avx512") && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd"))
    return avx512_kernels();
  if (!(wish && !std::strcmp(wish, "baseline")) && __builtin_cpu_supports("avx2") &&
      __builtin_cpu_supports("fma"))
    return avx2_kernels();
#endif
  return baseline_kernels();
}

} // namespace

const Kernels &kernels() {
  static const Kernels &chosen = choose();
  return chosen;
}

} // namespace krf::cpu
