// ReLU networks: the flow of the weights, from kink to kink, and gradient descent.
#pragma once

#include "../family.hpp"
#include "../ode/etdrk4.hpp"
#include "../ode/flow_rows.hpp"
#include "../ode/integrate.hpp"
#include "kinks.hpp"

namespace krf {

// Run b fits y[y_index[b]] on X[x_index[b]] from alpha[b] times w0[w_index[b]]; w0 as in
// MlpProblem.
struct MlpBatch {
  int n, copies, bias, loss, units_count;
  int units[kMaxDepth + 1];
  long long count, n_weights, n_problems, n_targets;
  double step_size;
  const double *X, *y, *w0, *alpha, *work;
  const long long *x_index, *y_index, *w_index;

  template <class Visit> static void fields(Visit &&visit) {
    using enum Axis;
    using B = MlpBatch;
    visit.list("units", &B::units, &B::units_count, 1, (1 << 24) - 1);
    visit.integer("copies", &B::copies, 1, 2);
    visit.integer("bias", &B::bias, 0, 1);
    visit.integer("loss", &B::loss, 0, 1);
    visit.number("step_size", &B::step_size);
    visit.array("X", &B::X, {kProblems, kSamples, kFeatures});
    visit.array("y", &B::y, {kTargets, kSamples});
    visit.array("w0", &B::w0, {kStarts, kWeights});
    visit.array("alpha", &B::alpha, {kRuns});
    visit.index("x_index", &B::x_index, {kRuns}, kProblems);
    visit.index("y_index", &B::y_index, {kRuns}, kTargets);
    visit.index("w_index", &B::w_index, {kRuns}, kStarts);
    visit.extent(&B::n, kSamples, 1, (1 << 26) - 1);
    visit.array("work", &B::work, {kRuns});
    visit.extent(&B::count, kRuns, 0, 1LL << 40);
    visit.extent(&B::n_problems, kProblems, 0, 1LL << 40);
    visit.extent(&B::n_targets, kTargets, 0, 1LL << 40);
  }
};

struct MlpRows : FlowRows {
  double *w;

  template <class Visit> static void fields(Visit &&visit) {
    using enum Axis;
    visit.output("w", &MlpRows::w, {kRuns, kRows, kWeights});
    FlowRows::fields(visit);
  }
};

struct MlpFamily {
  using Batch = MlpBatch;
  using Settings = FlowSettings;
  using Rows = MlpRows;
  static constexpr const char *kName = "mlp_flow";
  static constexpr int kVariants = 1;

  static int variant(const Batch &, long long) { return 0; }
  static const char *complete(Batch &b, Extents &extents) {
    const int outputs = b.units[b.units_count - 1];
    if (b.n > 46000)
      return "X: expected at most 46000 samples";
    if (b.units_count < 3)
      return "units: expected those of at least two layers of weights";
    long long values = 0;
    b.n_weights = 0;
    for (int l = 0; l < b.units_count; ++l) {
      values += b.units[l] + 16;
      if (l > 0)
        b.n_weights += static_cast<long long>(b.units[l]) * (b.units[l - 1] + b.bias);
    }
    b.n_weights *= b.copies;
    if (values * b.n * b.copies >= 1LL << 31 || b.n_weights >= 1LL << 27)
      return "units: expected a smaller network";
    if (!b.loss && outputs != 1)
      return "units: expected one output for the squared loss";
    if (extents[Axis::kFeatures] != b.units[0])
      return "X: expected units[0] features";
    if (extents[Axis::kWeights] != b.n_weights)
      return "w0: expected as many weights as the layers have";
    return nullptr;
  }
  static const char *refuse_values(const Batch &b) {
    for (long long i = 0; b.loss && i < b.n_targets * b.n; ++i)
      if (!(b.y[i] >= 0 && b.y[i] < b.units[b.units_count - 1]))
        return "y: expected classes";
    return nullptr;
  }

  // Samples one after the other, padded, with the constant input of the bias.
  KRF_HD static long long sets(const Batch &b) { return b.n_problems; }
  KRF_HD static long long set_of(const Batch &b, long long run) { return b.x_index[run]; }
  KRF_HD static long long lines(const Batch &b) { return b.n; }
  KRF_HD static long long packed_doubles(const Batch &b) {
    return static_cast<long long>(b.n) * padded(b.units[0] + b.bias);
  }
  KRF_HD static void pack(const Batch &b, long long set, long long i, double *packed) {
    const int d = b.units[0], ld = padded(d + b.bias);
    const double *X = b.X + (set * b.n + i) * d;
    for (int c = 0; c < ld; ++c)
      packed[i * ld + c] = c < d ? X[c] : (c == d && b.bias ? 1.0 : 0.0);
  }
  static int rows_of_systems(const Batch &b) {
    int rows = b.n;
    for (int l = 1; l + 1 < b.units_count; ++l)
      rows = b.units[l] > rows ? b.units[l] : rows;
    return rows;
  }
  static int features(const Batch &) { return 0; }
  static int samples(const Batch &) { return 0; }
};

} // namespace krf

KRF_BEGIN_NAMESPACE

template <Team TeamT>
using MlpFlow = Integrator<MlpSystem<TeamT>, Etdrk4<MlpSystem<TeamT>>, Kinks<TeamT>>;

template <Team TeamT, int Variant> struct SolverOf<MlpFamily, TeamT, Variant> {
  using Type = MlpFlow<TeamT>;
};

template <Team TeamT>
KRF_HD MlpProblem problem(MlpFamily, TeamT &, const MlpBatch &b, long long run,
                          const double *packed, Arena &) {
  MlpProblem p{{b.n, b.units_count - 1, b.copies, b.bias, {}, static_cast<LossKind>(b.loss)},
               packed,
               nullptr,
               nullptr,
               1.0,
               b.step_size};
  for (int l = 0; l < b.units_count; ++l)
    p.shape.units[l] = b.units[l];
  if (run == kSizesOnly)
    return p;
  p.y = b.y + b.y_index[run] * b.n;
  p.w0 = b.w0 + b.w_index[run] * b.n_weights;
  p.alpha = b.alpha[run];
  return p;
}

template <class SolverT, Team TeamT>
KRF_HD void solve(MlpFamily, SolverT &solver, TeamT &team, const MlpProblem &p, const MlpBatch &b,
                  const FlowSettings &s, const MlpRows &r, long long run) {
  const long long rows = row_count(s);
  MlpFlowOutput out{output_of(r, run, rows), r.w + run * rows * b.n_weights};
  solver.run(p, options_of(s, run, 0.0), out);
  write_ends(team, r, run, out);
}

KRF_END_NAMESPACE
