// Linear networks of two layers, M = W2 W1 of several outputs, with the loss |X M' - Y|^2.
//
// With X = sum_j sigma_j u_j v_j' the loss is that of observing every entry (o, j) of M in the
// basis v_j with the weight sigma_j: sum_oj (sigma_j <M_o, v_j> - <u_j, Y_o>)^2, and what no M
// reaches.  A rotation of the inputs takes the flow of W1 with it, so this is a factorisation with
// weighted entries, W = [W2; (W1 v)'], and its system is the factorisation's.
#pragma once

#include "../factorization/family.hpp"
#include "grid_kernel.hpp"

namespace krf {

// Run b fits target[problem_index[b]] with sigma[problem_index[b]] from scale[b] times start
// s = start_index[b]: the first rank[s] columns of starts[s], whose first n_outputs rows are W2 and
// whose others are W1' in the basis of the inputs' singular vectors, those with the n_modes largest
// sigma first.
struct LinearBatch {
  int n, outputs, modes, widest;
  long long count;
  const double *sigma, *target, *loss_offset, *starts, *scale, *work;
  const long long *rank, *problem_index, *start_index;

  template <class Visit> static void fields(Visit &&visit) {
    using enum Axis;
    using B = LinearBatch;
    visit.array("sigma", &B::sigma, {kProblems, kModes});
    visit.array("target", &B::target, {kProblems, kOutputs, kModes});
    visit.array("loss_offset", &B::loss_offset, {kProblems});
    visit.array("starts", &B::starts, {kStarts, kFactorRows, kFactorColumns});
    visit.extent(&B::widest, kFactorColumns, 1, 1 << 14);
    visit.integers("rank", &B::rank, {kStarts}, 1, kFactorColumns);
    visit.array("scale", &B::scale, {kRuns});
    visit.index("problem_index", &B::problem_index, {kRuns}, kProblems);
    visit.index("start_index", &B::start_index, {kRuns}, kStarts);
    visit.extent(&B::n, kFactorRows, 2, 1 << 14);
    visit.extent(&B::outputs, kOutputs, 1, 1 << 14);
    visit.extent(&B::modes, kModes, 1, 1 << 14);
    visit.array("work", &B::work, {kRuns});
    visit.extent(&B::count, kRuns, 0, 1LL << 40);
  }
};

struct LinearFamily {
  using Batch = LinearBatch;
  using Settings = FlowSettings;
  using Rows = FactorRows;
  static constexpr const char *kName = "linear_flow";
  static constexpr int kVariants = 1;

  static int variant(const Batch &, long long) { return 0; }
  static const char *complete(Batch &b, Extents &) {
    if (b.outputs + b.modes > b.n)
      return "starts: expected n_outputs rows and one for each input, n_modes or more";
    if (static_cast<long long>(b.outputs) * b.modes >= 1LL << 26)
      return "target: expected fewer than 2^26 entries";
    return nullptr;
  }
  static const char *refuse_values(const Batch &) { return nullptr; }

  // Nothing is packed: what runs share is small.
  KRF_HD static long long sets(const Batch &) { return 0; }
  KRF_HD static long long set_of(const Batch &, long long) { return 0; }
  KRF_HD static long long lines(const Batch &) { return 1; }
  KRF_HD static long long packed_doubles(const Batch &) { return 0; }
  KRF_HD static void pack(const Batch &, long long, long long, double *) {}
  static int rows_of_systems(const Batch &b) { return b.n; }
  static int features(const Batch &b) { return b.outputs * (b.n - b.outputs); }
  static int samples(const Batch &b) { return b.outputs * b.modes; }
};

} // namespace krf

KRF_BEGIN_NAMESPACE

template <Team TeamT, int Variant> struct SolverOf<LinearFamily, TeamT, Variant> {
  using System = FactorSystem<TeamT, GridKernel<TeamT>>;
  using Type = Integrator<System, Radau5<System>, NoEvents<System>>;
};

template <Team TeamT>
KRF_HD FactorProblem problem(LinearFamily, TeamT &team, const LinearBatch &b, long long run,
                             const double *, Arena &arena) {
  const int N = b.outputs * b.modes, ldn = padded(N);
  double *y = arena.take(ldn), *weight = arena.take(ldn);
  int *row = arena.take<int>(ldn), *column = arena.take<int>(ldn);
  double *W0 = arena.take(static_cast<long long>(b.n) * padded(b.widest));
  FactorProblem p{b.n, b.widest, b.outputs, b.n - b.outputs, b.outputs, N, row, column, nullptr,
                  0.0, y,        W0,        weight};
  if (run == kSizesOnly)
    return p;
  const long long start = b.start_index[run], which = b.problem_index[run];
  p.r = static_cast<int>(b.rank[start]);
  const double *sigma = b.sigma + which * b.modes, *target = b.target + which * N;
  team.each(ldn, [&](int i) {
    const int o = i / b.modes, j = i % b.modes;
    row[i] = i < N ? o : 0, column[i] = i < N ? b.outputs + j : 0;
    weight[i] = i < N ? sigma[j] : 0.0, y[i] = i < N ? target[i] : 0.0;
  });
  for (int j = 0; j < b.modes; ++j)
    p.X_norm = larger(p.X_norm, sigma[j]);
  scaled_start(team, b.starts + start * b.n * b.widest, b.n, b.widest, p.r, b.scale[run], W0);
  return p;
}

template <class SolverT, Team TeamT>
KRF_HD void solve(LinearFamily, SolverT &solver, TeamT &team, const FactorProblem &p,
                  const LinearBatch &b, const FlowSettings &s, const FactorRows &r, long long run) {
  const long long rows = row_count(s);
  FactorFlowOutput out{output_of(r, run, rows), r.W + run * rows * b.n * b.widest};
  solver.run(p, options_of(s, run, b.loss_offset[b.problem_index[run]]), out);
  write_ends(team, r, run, out);
}

KRF_END_NAMESPACE
