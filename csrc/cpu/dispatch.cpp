#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernels.hpp"
#ifdef KRF_X86_DISPATCH
#include "x86_level.hpp"
#endif

namespace krf::cpu {
namespace {

struct Choice {
  const char *name;
  int level; // of the architecture; the compiler's option in CMakeLists.txt
  const Kernels &(*table)();
};

// The widest last.
constexpr Choice kChoices[] = {
    {"baseline", 0, baseline_kernels},
#ifdef KRF_X86_DISPATCH
    {"avx2", 3, avx2_kernels},
    {"avx512", 4, avx512_kernels},
#endif
};

const Kernels &choose() {
#ifdef KRF_X86_DISPATCH
  const int level = x86_level();
#else
  const int level = 0;
#endif
  const char *given = std::getenv("KRF_ISA"); // NOLINT(concurrency-mt-unsafe): nothing here sets it
  const std::string wish = given ? given : "";
  const Choice *best = nullptr;
  std::string names;
  for (const Choice &each : kChoices) {
    if (each.level > level)
      continue;
    if (!names.empty())
      names.append(", ");
    names.append(each.name);
    if (wish.empty() || wish == each.name)
      best = &each;
  }
  if (best)
    return best->table();
  std::string what = "KRF_ISA: expected an instruction set that works here (";
  what.append(names).append("), got '").append(wish).append("'; unset it to have the best");
  throw std::runtime_error(what);
}

} // namespace

const Kernels &kernels() {
  static const Kernels &chosen = choose();
  return chosen;
}

} // namespace krf::cpu
