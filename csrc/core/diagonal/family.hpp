// Diagonal networks of any depth: the flow of the dual, and its limit.
#pragma once

#include "../family.hpp"
#include "../ode/flow_rows.hpp"
#include "../ode/integrate.hpp"
#include "../ode/radau5.hpp"
#include "dual_system.hpp"
#include "limit.hpp"
#include "limit_unit.hpp"
#include "log_mirror.hpp"
#include "margin_decay_system.hpp"
#include "margin_system.hpp"

namespace krf {

// Run b solves (X[x_index[b]], y[y_index[b]]) from alpha[b] times profile[w_index[b]].
struct DiagonalBatch {
  int n, d;
  long long count;
  const double *X, *y, *loss_offset, *profile_plus, *profile_minus, *alpha, *depth, *work;
  const long long *x_index, *y_index, *w_index;
  const double *decay_start, *decay_lambda, *decay_rate; // null without weight decay
  const long long *decay_index;
  int n_pieces; // of a schedule of weight decay
  int averaged; // whether beta_mean is wanted
  long long n_problems;

  template <class Visit> static void fields(Visit &&visit) {
    using enum Axis;
    using B = DiagonalBatch;
    visit.array("X", &B::X, {kProblems, kSamples, kFeatures});
    visit.array("y", &B::y, {kTargets, kSamples});
    visit.array("loss_offset", &B::loss_offset, {kTargets});
    visit.array("profile_plus", &B::profile_plus, {kStarts, kFeatures});
    visit.array("profile_minus", &B::profile_minus, {kStarts, kFeatures});
    visit.array("alpha", &B::alpha, {kRuns});
    visit.array("depth", &B::depth, {kRuns});
    visit.index("x_index", &B::x_index, {kRuns}, kProblems);
    visit.index("y_index", &B::y_index, {kRuns}, kTargets);
    visit.index("w_index", &B::w_index, {kRuns}, kStarts);
    visit.optional("decay_start", &B::decay_start, {kSchedules, kPieces});
    visit.optional("decay_lambda", &B::decay_lambda, {kSchedules, kPieces});
    visit.optional("decay_rate", &B::decay_rate, {kSchedules, kPieces});
    visit.optional_index("decay_index", &B::decay_index, {kRuns}, kSchedules);
    visit.extent(&B::n_pieces, kPieces, -1, 1 << 20);
    visit.integer("averaged", &B::averaged, 0, 1);
    visit.extent(&B::n, kSamples, 1, (1 << 20) - 1);
    visit.extent(&B::d, kFeatures, 1, (1 << 26) - 1);
    visit.array("work", &B::work, {kRuns});
    visit.extent(&B::count, kRuns, 0, 1LL << 40);
    visit.extent(&B::n_problems, kProblems, 0, 1LL << 40);
  }
};

// What the flow and the limit share.
struct DiagonalFamily {
  using Batch = DiagonalBatch;
  static constexpr int kVariants = 3; // depth 2, from 3 on, and between

  static int variant(const Batch &b, long long run) {
    return b.depth[run] == 2.0 ? 0 : b.depth[run] >= 3.0 ? 1 : 2;
  }
  // A run without decay is what it is in a batch without.
  KRF_HD static bool decays(const Batch &b, long long run) {
    for (int k = 0; k < b.n_pieces; ++k)
      if (b.decay_lambda[b.decay_index[run] * b.n_pieces + k] > 0.0)
        return true;
    return false;
  }
  // All of a schedule, or nothing.
  static const char *complete(Batch &b, Extents &extents) {
    extents[Axis::kAveraged] = b.averaged ? b.d : 0;
    const int given = (b.decay_start != nullptr) + (b.decay_lambda != nullptr) +
                      (b.decay_rate != nullptr) + (b.decay_index != nullptr);
    if (given == 4 && b.n_pieces > 0)
      return nullptr;
    b.n_pieces = 0;
    return given == 0 ? nullptr : "decay_index: expected with all that describes a schedule";
  }
  static const char *refuse_values(const Batch &b) {
    for (long long run = 0; run < b.count; ++run)
      if (!(b.depth[run] >= 2.0 && b.depth[run] < (1 << 20)))
        return "depth: expected numbers from 2 to 2^20";
    return nullptr;
  }

  // X feature after feature, then their norms.
  KRF_HD static long long sets(const Batch &b) { return b.n_problems; }
  KRF_HD static long long set_of(const Batch &b, long long run) { return b.x_index[run]; }
  KRF_HD static long long lines(const Batch &b) { return padded(b.d); }
  KRF_HD static long long packed_doubles(const Batch &b) {
    return (padded(b.n) + 1LL) * padded(b.d);
  }
  KRF_HD static void pack(const Batch &b, long long set, long long i, double *packed) {
    const int ldn = padded(b.n);
    const double *X = b.X + set * b.n * b.d + i;
    double *feature = packed + i * ldn;
    double sum = 0;
    for (int j = 0; j < ldn; ++j) {
      feature[j] = j < b.n && i < b.d ? X[static_cast<long long>(j) * b.d] : 0.0;
      sum += feature[j] * feature[j];
    }
    packed[static_cast<long long>(ldn) * padded(b.d) + i] =
        sum > 1e-280 ? std::sqrt(sum) : tiny_norm(feature, ldn);
  }
  // Of a feature whose squares underflow.
  KRF_HD static double tiny_norm(const double *feature, int ldn) {
    constexpr double kLift = 0x1p+500;
    double sum = 0;
    for (int j = 0; j < ldn; ++j)
      sum += square(kLift * feature[j]);
    return std::sqrt(sum) / kLift;
  }
  static int rows_of_systems(const Batch &b) { return b.n; }
  static int features(const Batch &b) { return b.d; }
  static int samples(const Batch &b) { return b.n; }
};

struct DiagonalFlowRows : FlowRows {
  double *beta, *w_plus, *w_minus, *dual, *beta_mean;

  template <class Visit> static void fields(Visit &&visit) {
    using enum Axis;
    using R = DiagonalFlowRows;
    visit.output("beta", &R::beta, {kRuns, kRows, kFeatures});
    visit.output("w_plus", &R::w_plus, {kRuns, kRows, kFeatures});
    visit.output("w_minus", &R::w_minus, {kRuns, kRows, kFeatures});
    visit.output("dual", &R::dual, {kRuns, kRows, kSamples});
    visit.output("beta_mean", &R::beta_mean, {kRuns, kRows, kAveraged});
    FlowRows::fields(visit);
  }
};

struct DiagonalFlowFamily : DiagonalFamily {
  static constexpr const char *kName = "diagonal_flow";
  using Settings = FlowSettings;
  using Rows = DiagonalFlowRows;
};

// Flows of a margin loss: the rows `loss` and `t` are ln L and ln t, and the settings t_eval and
// t_max are values of the clock, minus ln L or, `by_time`, ln t.
struct MarginBatch : DiagonalBatch {
  int loss, by_time;

  template <class Visit> static void fields(Visit &&visit) {
    DiagonalBatch::fields(visit);
    visit.integer("loss", &MarginBatch::loss, 0, static_cast<int>(MarginLossKind::kLogistic));
    visit.integer("by_time", &MarginBatch::by_time, 0, 1);
  }
};

struct MarginFlowFamily : DiagonalFamily {
  static constexpr const char *kName = "margin_flow";
  using Batch = MarginBatch;
  using Settings = FlowSettings;
  using Rows = DiagonalFlowRows;
  static constexpr int kVariants = 2 * DiagonalFamily::kVariants; // without and with weight decay

  static int variant(const Batch &b, long long run) {
    return DiagonalFamily::variant(b, run) + (decays(b, run) ? DiagonalFamily::kVariants : 0);
  }
  static const char *complete(Batch &b, Extents &extents) {
    if (const char *wrong = DiagonalFamily::complete(b, extents))
      return wrong;
    return b.averaged ? "averaged: expected no mean with a margin loss" : nullptr;
  }
  static const char *refuse_values(const Batch &b) {
    if (const char *wrong = DiagonalFamily::refuse_values(b))
      return wrong;
    for (long long run = 0; run < b.count; ++run)
      for (int j = 0; j < b.n; ++j)
        if (square(b.y[b.y_index[run] * b.n + j]) != 1.0)
          return "y: expected labels -1 and +1";
    return nullptr;
  }
};

struct LimitSettings {
  double tolerance;
  int max_iterations;

  template <class Visit> static void fields(Visit &&visit) {
    visit.number("tolerance", &LimitSettings::tolerance);
    visit.integer("max_iterations", &LimitSettings::max_iterations, -1, 1LL << 30);
  }
};

struct DiagonalLimitRows {
  double *beta, *w_plus, *w_minus, *dual, *loss;
  long long *status, *n_iterations;

  template <class Visit> static void fields(Visit &&visit) {
    using enum Axis;
    using R = DiagonalLimitRows;
    visit.output("beta", &R::beta, {kRuns, kFeatures});
    visit.output("w_plus", &R::w_plus, {kRuns, kFeatures});
    visit.output("w_minus", &R::w_minus, {kRuns, kFeatures});
    visit.output("dual", &R::dual, {kRuns, kSamples});
    visit.output("loss", &R::loss, {kRuns});
    visit.output("status", &R::status, {kRuns});
    visit.output("n_iterations", &R::n_iterations, {kRuns});
  }
};

struct DiagonalLimitFamily : DiagonalFamily {
  static constexpr const char *kName = "diagonal_limit";
  using Settings = LimitSettings;
  using Rows = DiagonalLimitRows;
};

} // namespace krf

KRF_BEGIN_NAMESPACE

template <int Variant> struct MirrorOf {
  using Type = DeepMirror;
};
template <> struct MirrorOf<0> {
  using Type = Depth2Mirror;
};
template <> struct MirrorOf<2> {
  using Type = LogMirror;
};

template <Team TeamT, Mirror MirrorT>
using DiagonalFlow = Integrator<DualSystem<TeamT, MirrorT>, Radau5<DualSystem<TeamT, MirrorT>>,
                                NoEvents<DualSystem<TeamT, MirrorT>>>;

template <StiffSystem System>
using MarginFlow = Integrator<System, Radau5<System>, NoEvents<System>>;

template <Team TeamT, int Variant> struct SolverOf<MarginFlowFamily, TeamT, Variant> {
  using MirrorT = typename MirrorOf<Variant % DiagonalFamily::kVariants>::Type;
  using Type = MarginFlow<MarginSystem<TeamT, MirrorT>>;
};
template <Team TeamT, int Variant>
  requires(Variant >= DiagonalFamily::kVariants)
struct SolverOf<MarginFlowFamily, TeamT, Variant> {
  using MirrorT = typename MirrorOf<Variant % DiagonalFamily::kVariants>::Type;
  using Type = MarginFlow<MarginDecaySystem<TeamT, MirrorT>>;
};
template <Team TeamT, int Variant> struct SolverOf<DiagonalFlowFamily, TeamT, Variant> {
  using Type = DiagonalFlow<TeamT, typename MirrorOf<Variant>::Type>;
};
template <Team TeamT, int Variant> struct SolverOf<DiagonalLimitFamily, TeamT, Variant> {
  using Type = LimitSolver<TeamT, typename MirrorOf<Variant>::Type>;
};

template <Team TeamT>
KRF_HD DiagonalProblem problem(DiagonalFamily, TeamT &team, const DiagonalBatch &b, long long run,
                               const double *packed, Arena &arena) {
  const int ldn = padded(b.n), ldd = padded(b.d);
  double *plus = arena.take(ldd), *minus = arena.take(ldd), *y = arena.take(ldn);
  DiagonalProblem p{b.n, b.d, 2.0, packed, nullptr, y, plus, minus};
  if (run == kSizesOnly)
    return p;
  p.depth = b.depth[run];
  p.averaged = b.averaged != 0;
  p.feature_norm = packed + static_cast<long long>(ldn) * ldd;
  const double *from_plus = b.profile_plus + b.w_index[run] * b.d;
  const double *from_minus = b.profile_minus + b.w_index[run] * b.d;
  const double *from_y = b.y + b.y_index[run] * b.n;
  const double alpha = b.alpha[run];
  if (DiagonalFamily::decays(b, run)) {
    const long long at = b.decay_index[run] * b.n_pieces;
    p.decay = {b.n_pieces, b.decay_start + at, b.decay_lambda + at, b.decay_rate + at};
  }
  team.each(ldd, [&](int i) {
    plus[i] = alpha * from_plus[i < b.d ? i : 0];
    minus[i] = alpha * (i < b.d ? from_minus[i] : from_plus[0]);
  });
  team.each(ldn, [&](int j) { y[j] = j < b.n ? from_y[j] : 0.0; });
  return p;
}

template <Team TeamT>
KRF_HD DiagonalProblem problem(MarginFlowFamily, TeamT &team, const MarginBatch &b, long long run,
                               const double *packed, Arena &arena) {
  DiagonalProblem p = problem(DiagonalFamily{}, team, b, run, packed, arena);
  p.margin_loss = static_cast<MarginLossKind>(b.loss);
  p.by_time = b.by_time != 0;
  return p;
}

// A limit has no unit of time, and may be computed for X and y in any unit.  One other than theirs
// is chosen where slopes times squares of features would leave the doubles.
template <Team TeamT>
KRF_HD DiagonalProblem problem(DiagonalLimitFamily, TeamT &team, const DiagonalBatch &b,
                               long long run, const double *packed, Arena &arena) {
  DiagonalProblem p = problem(DiagonalFamily{}, team, b, run, packed, arena);
  const int ldn = padded(b.n), ldd = padded(b.d);
  double *y = arena.take(ldn), *feature_norm = arena.take(ldd);
  if (run == kSizesOnly)
    return p;
  const double size = std::sqrt(team.dot(p.y, p.y, ldn) + b.loss_offset[b.y_index[run]]);
  p.unit = limit_unit(p, size);
  if (p.unit == 1.0)
    return p;
  team.each(ldn, [&](int j) { y[j] = p.unit * p.y[j]; });
  team.each(ldd, [&](int i) { feature_norm[i] = p.unit * p.feature_norm[i]; });
  p.y = y;
  p.feature_norm = feature_norm;
  return p;
}

KRF_HD inline DiagonalFlowOutput output_of(const DiagonalBatch &b, const FlowSettings &s,
                                           const DiagonalFlowRows &r, long long run) {
  const long long rows = row_count(s), d = run * rows * b.d;
  return {output_of(r, run, rows),
          r.beta + d,
          r.w_plus + d,
          r.w_minus + d,
          r.dual + run * rows * b.n,
          b.averaged ? r.beta_mean + d : nullptr};
}

template <class SolverT, Team TeamT>
KRF_HD void solve(DiagonalFlowFamily, SolverT &solver, TeamT &team, const DiagonalProblem &p,
                  const DiagonalBatch &b, const FlowSettings &s, const DiagonalFlowRows &r,
                  long long run) {
  DiagonalFlowOutput out = output_of(b, s, r, run);
  solver.run(p, options_of(s, run, b.loss_offset[b.y_index[run]]), out);
  write_ends(team, r, run, out);
}

template <class SolverT, Team TeamT>
KRF_HD void solve(MarginFlowFamily, SolverT &solver, TeamT &team, const DiagonalProblem &p,
                  const MarginBatch &b, const FlowSettings &s, const DiagonalFlowRows &r,
                  long long run) {
  DiagonalFlowOutput out = output_of(b, s, r, run);
  solver.run(p, options_of(s, run, 0.0), out);
  write_ends(team, r, run, out);
}

template <class SolverT, Team TeamT>
KRF_HD void solve(DiagonalLimitFamily, SolverT &solver, TeamT &team, const DiagonalProblem &p,
                  const DiagonalBatch &b, const LimitSettings &s, const DiagonalLimitRows &r,
                  long long run) {
  const double offset = p.unit * (p.unit * b.loss_offset[b.y_index[run]]);
  const double y_norm = std::sqrt(team.dot(p.y, p.y, padded(b.n)) + offset);
  const LimitOptions options{s.tolerance, offset, y_norm, s.max_iterations};
  const long long d = run * b.d;
  LimitOutput out{r.beta + d, r.w_plus + d, r.w_minus + d, r.dual + run * b.n, 0, Status::kFailed,
                  0};
  solver.run(p, options, out);
  team.once([&] {
    r.loss[run] = out.loss;
    r.status[run] = static_cast<int>(out.status);
    r.n_iterations[run] = out.n_iterations;
  });
}

KRF_END_NAMESPACE
