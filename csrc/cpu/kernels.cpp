// Compiled once per instruction set (see CMakeLists.txt): KRF_ISA names the namespace, KRF_TABLE
// the table.  Nothing here may instantiate a template of the standard library, which other
// translation units could share.
#include "kernels.hpp"
#include "../core/diagonal/rich_path.hpp"
#include "team.hpp"

KRF_BEGIN_NAMESPACE
namespace {

CpuTeam uninterrupted() {
  static const int never = 0;
  return CpuTeam(&never);
}

template <class Family> long long workspace(const typename Family::Batch &batch, int variant) {
  return with_variant<Family::kVariants>(variant, [&](auto constant) {
    CpuTeam team = uninterrupted();
    return arena_doubles<Family, constant.value>(team, batch);
  });
}

template <class Family>
void run(const typename Family::Batch &batch, const typename Family::Settings &settings,
         const typename Family::Rows &rows, int variant, long long run, const double *packed,
         double *workspace, const int *cancel, cpu::Helpers helpers) {
  with_variant<Family::kVariants>(variant, [&](auto constant) {
    CpuTeam team(cancel, helpers);
    Arena arena(workspace);
    run_family<Family, constant.value>(team, batch, settings, rows, run, packed, arena);
  });
}

// Calls use(path) with the path of a problem, laid out over the arena.
template <class Use>
void with_path(CpuTeam &team, const RichPathProblem &p, bool graded, Arena &arena, const Use &use) {
  if (graded) {
    RichPath<CpuTeam, GradedFactor<CpuTeam>> path(team, p, arena);
    use(path);
  } else {
    RichPath<CpuTeam, OrthogonalFactor<CpuTeam>> path(team, p, arena);
    use(path);
  }
}

long long rich_path_workspace(int n, int d, bool graded) {
  CpuTeam team = uninterrupted();
  const RichPathProblem p{n, d, nullptr, nullptr, nullptr, nullptr, 0.0, false, nullptr};
  Arena arena(nullptr);
  with_path(team, p, graded, arena, [](const auto &) {});
  return arena.used();
}

void rich_path(const RichPathProblem &p, long long max_jumps, RichPathOutput &out,
               double *workspace, const int *cancel, cpu::Helpers helpers) {
  CpuTeam team(cancel, helpers);
  Arena arena(workspace);
  with_path(team, p, p.row_units != nullptr, arena, [&](auto &path) { path.run(max_jumps, out); });
}

} // namespace

template <class... Family>
constexpr cpu::KernelsOfAll<FamilyList<Family...>> kernels_of(FamilyList<Family...>) {
  return {cpu::FamilyKernels<Family>{workspace<Family>, run<Family>}...};
}

inline const cpu::Kernels &local_table() {
  static constexpr cpu::Kernels table{kernels_of(Families{}), rich_path_workspace, rich_path};
  return table;
}
KRF_END_NAMESPACE

namespace krf::cpu {
const Kernels &KRF_TABLE() { return local_table(); }
} // namespace krf::cpu
