#include "instruction_set.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

#ifdef KRF_X86_DISPATCH
#include "x86_level.hpp"
#endif

namespace krf::cpu {
namespace {

struct Choice {
  InstructionSet set;
  int level; // of the architecture; the compiler's option in CMakeLists.txt
};

// The widest last.
constexpr Choice kChoices[] = {
    {{"baseline", 0}, 0},
#ifdef KRF_X86_DISPATCH
    {{"avx2", 1}, 3},
    {{"avx512", 2}, 4},
#endif
};

const InstructionSet &choose() {
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
    names.append(each.set.name);
    if (wish.empty() || wish == each.set.name)
      best = &each;
  }
  if (best)
    return best->set;
  std::string what = "KRF_ISA: expected an instruction set that works here (";
  what.append(names).append("), got '").append(wish).append("'; unset it to have the best");
  throw std::runtime_error(what);
}

} // namespace

const InstructionSet &instruction_set() {
  static const InstructionSet &chosen = choose();
  return chosen;
}

} // namespace krf::cpu
