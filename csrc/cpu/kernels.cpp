// Compiled once per instruction set (see CMakeLists.txt): KRF_ISA names the namespace, KRF_TABLE
// the table.  Nothing here may instantiate a template of the standard library, which other
// translation units could share.
#include "kernels.hpp"
#include "../core/diagonal/family.hpp"
#include "../core/diagonal/limit.hpp"
#include "../core/diagonal/rich_path.hpp"
#include "../core/factorization/family.hpp"
#include "../core/mlp/family.hpp"
#include "team.hpp"

KRF_BEGIN_NAMESPACE
namespace {

SerialTeam uninterrupted() {
  static const int never = 0;
  return SerialTeam(&never);
}

template <Mirror MirrorT> long long count_workspace(const DiagonalProblem &p) {
  SerialTeam team = uninterrupted();
  Arena flow(nullptr), limit(nullptr);
  DiagonalFlow<SerialTeam, MirrorT> integrator(team, p, flow);
  LimitSolver<SerialTeam, MirrorT> solver(team, p, limit);
  return flow.used() > limit.used() ? flow.used() : limit.used();
}

long long workspace(int n, int d, int depth) {
  DiagonalProblem p{n, d, depth, nullptr, nullptr, nullptr, nullptr, nullptr};
  return depth == 2 ? count_workspace<Depth2Mirror>(p) : count_workspace<DeepMirror>(p);
}

void flow(const DiagonalProblem &p, const FlowOptions &o, DiagonalFlowOutput &out,
          double *workspace, const int *cancel) {
  SerialTeam team(cancel);
  Arena arena(workspace);
  if (p.depth == 2)
    DiagonalFlow<SerialTeam, Depth2Mirror>(team, p, arena).run(p, o, out);
  else
    DiagonalFlow<SerialTeam, DeepMirror>(team, p, arena).run(p, o, out);
}

void limit(const DiagonalProblem &p, const LimitOptions &o, LimitOutput &out, double *workspace,
           const int *cancel) {
  SerialTeam team(cancel);
  Arena arena(workspace);
  if (p.depth == 2)
    LimitSolver<SerialTeam, Depth2Mirror>(team, p, arena).run(p, o, out);
  else
    LimitSolver<SerialTeam, DeepMirror>(team, p, arena).run(p, o, out);
}

long long rich_path_workspace(int n, int d) {
  SerialTeam team = uninterrupted();
  const RichPathProblem p{n, d, nullptr, nullptr, nullptr, nullptr, 0.0};
  Arena arena(nullptr);
  RichPath<SerialTeam> path(team, p, arena);
  return arena.used();
}

void rich_path(const RichPathProblem &p, long long max_jumps, RichPathOutput &out,
               double *workspace, const int *cancel) {
  SerialTeam team(cancel);
  Arena arena(workspace);
  RichPath<SerialTeam> path(team, p, arena);
  path.run(max_jumps, out);
}

long long factor_workspace(const FactorProblem &p) {
  SerialTeam team = uninterrupted();
  Arena arena(nullptr);
  FactorFlow<SerialTeam> integrator(team, p, arena);
  return arena.used();
}

void factor_flow(const FactorProblem &p, const FlowOptions &o, FactorFlowOutput &out,
                 double *workspace, const int *cancel) {
  SerialTeam team(cancel);
  Arena arena(workspace);
  FactorFlow<SerialTeam>(team, p, arena).run(p, o, out);
}

long long mlp_workspace(const MlpProblem &p) {
  SerialTeam team = uninterrupted();
  Arena arena(nullptr);
  MlpFlow<SerialTeam> flow(team, p, arena);
  return arena.used();
}

void mlp_flow(const MlpProblem &p, const FlowOptions &o, MlpFlowOutput &out, double *workspace,
              const int *cancel) {
  SerialTeam team(cancel);
  Arena arena(workspace);
  MlpFlow<SerialTeam> flow(team, p, arena);
  flow.run(p, o, out);
}

void elementary(int function, int count, const double *x, double *y) {
  SerialTeam::for_each(count, [&](int i) {
    const Lanes v = read<Lanes>(x + i);
    Lanes r = v;
    switch (function) {
    case 0:
      r = exponential(v);
      break;
    case 1:
      r = expm1(v);
      break;
    case 2:
      r = logarithm(v);
      break;
    case 3:
      r = log1p_small(v);
      break;
    case 4:
      r = sinh_small(v);
      break;
    default:
      break;
    }
    write<Lanes>(y + i, r);
  });
}

void map_features(int n, int d, const double *X, const double *V, double *acc) {
  SerialTeam team = uninterrupted();
  team.map_features<3>(X, padded(n), padded(d), V, acc, [](int, const Lanes *z, Lanes *out) {
    for (int k = 0; k < 3; ++k)
      out[k] = z[k];
  });
}

void products(int m, int q, int length, const double *A, const double *B, double *out) {
  SerialTeam team = uninterrupted();
  team.products(A, padded(length), m, B, padded(length), q, padded(length), out, q, false);
}

void scaled_gram(int n, int d, const double *X, const double *weight, double *G, double *scratch) {
  SerialTeam team = uninterrupted();
  int *index = reinterpret_cast<int *>(scratch);
  for (int i = 0; i < d; ++i)
    index[i] = i;
  team.add_columns(G, padded(n), X, index, weight, d,
                   reinterpret_cast<const double **>(scratch + padded(d)));
}

bool eigen(int n, double *A, double *value, double *vector) {
  const int ld = padded(n);
  SerialTeam team = uninterrupted();
  // Values, vectors, and five rows of scratch, in the order the solver takes them.
  double *scratch = new double[static_cast<std::size_t>(n + 7) * ld]();
  Arena arena(scratch);
  SymmetricEigen<SerialTeam> solver(team, n, arena);
  const bool converged = solver.decompose(A);
  for (int i = 0; i < n; ++i)
    value[i] = solver.value[i];
  for (int i = 0; i < n * ld; ++i)
    vector[i] = solver.vector.data[i];
  delete[] scratch;
  return converged;
}

double solve(int n, double *A, double *pivot, double *b) {
  SerialTeam team = uninterrupted();
  const double kept = team.factor(A, padded(n), n, pivot);
  team.solve(A, padded(n), n, pivot, b);
  return kept;
}

double inverse(int n, double *A, const double *V, double *out, double *scratch) {
  SerialTeam team = uninterrupted();
  const double kept = team.invert(A, padded(n), n, scratch);
  if (kept > 0.0)
    team.multiply_symmetric<3>(A, padded(n), V, out);
  return kept;
}
long long room_for_inverse(int n) { return SerialTeam::inverse_room(padded(n)); }

void solve_complex(int n, double *Ar, double *Ai, double *pr, double *pi, double *br, double *bi) {
  SerialTeam team = uninterrupted();
  team.factor(Ar, Ai, padded(n), n, pr, pi);
  team.solve(Ar, Ai, padded(n), n, pr, pi, br, bi);
}

} // namespace

#define KRF_STRING_OF(x) #x
#define KRF_STRING(x) KRF_STRING_OF(x)
inline const cpu::Kernels &local_table() {
  static constexpr cpu::Kernels table{KRF_STRING(KRF_ISA),
                                      workspace,
                                      flow,
                                      limit,
                                      rich_path_workspace,
                                      rich_path,
                                      factor_workspace,
                                      factor_flow,
                                      mlp_workspace,
                                      mlp_flow,
                                      elementary,
                                      map_features,
                                      products,
                                      scaled_gram,
                                      phi,
                                      eigen,
                                      solve,
                                      inverse,
                                      room_for_inverse,
                                      solve_complex};
  return table;
}
KRF_END_NAMESPACE

namespace krf::cpu {
const Kernels &KRF_TABLE() { return local_table(); }
} // namespace krf::cpu
