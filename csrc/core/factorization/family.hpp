// Matrix factorisation: the flow of a factor of the lifted Gram matrix, for the squared loss and
// for margin losses.
#pragma once

#include "../family.hpp"
#include "../ode/flow_rows.hpp"
#include "../ode/integrate.hpp"
#include "../ode/radau5.hpp"
#include "factor_system.hpp"
#include "margin_system.hpp"

namespace krf {

// Run b fits y[y_index[b]] from scale[b] times start s = start_index[b]: the first rank[s] columns
// of the rows of starts[s].  Shapes as in FactorProblem.  X, (n_samples, p, q), is shared by all
// runs; where it is not given, run b observes the entries of set entry_index[b].
struct FactorBatch {
  int n, p, q, c0, n_samples, widest;
  long long count, n_starts, n_sets;
  const int *row, *column;
  const double *X, *y, *starts, *scale, *work;
  const long long *rank, *y_index, *start_index, *entry_index;

  template <class Visit> static void fields(Visit &&visit) {
    using enum Axis;
    using B = FactorBatch;
    visit.optional("row", &B::row, {kEntrySets, kSamples});
    visit.optional("column", &B::column, {kEntrySets, kSamples});
    visit.optional("X", &B::X, {kSamples, kMatrixRows, kMatrixColumns});
    visit.array("y", &B::y, {kTargets, kSamples});
    visit.array("starts", &B::starts, {kStarts, kFactorRows, kFactorColumns});
    visit.extent(&B::widest, kFactorColumns, 1, 1 << 14);
    visit.integers("rank", &B::rank, {kStarts}, 1, kFactorColumns);
    visit.array("scale", &B::scale, {kRuns});
    visit.index("y_index", &B::y_index, {kRuns}, kTargets);
    visit.index("start_index", &B::start_index, {kRuns}, kStarts);
    visit.optional_index("entry_index", &B::entry_index, {kRuns}, kEntrySets);
    visit.integer("p", &B::p, 1, 1 << 14);
    visit.integer("c0", &B::c0, 0, 1 << 14);
    visit.extent(&B::n, kFactorRows, 1, 1 << 14);
    visit.extent(&B::n_samples, kSamples, 1, (1 << 26) - 1);
    visit.array("work", &B::work, {kRuns});
    visit.extent(&B::count, kRuns, 0, 1LL << 40);
    visit.extent(&B::n_starts, kStarts, 0, 1LL << 40);
  }
};

struct FactorRows : FlowRows {
  double *W; // of each run rows x n x rank doubles, at the beginning of its part

  template <class Visit> static void fields(Visit &&visit) {
    using enum Axis;
    visit.output("W", &FactorRows::W, {kRuns, kRows, kFactorRows, kFactorColumns});
    FlowRows::fields(visit);
  }
};

struct FactorFamily {
  using Batch = FactorBatch;
  using Settings = FlowSettings;
  using Rows = FactorRows;
  static constexpr const char *kName = "factorization_flow";
  static constexpr int kVariants = 1;

  static int variant(const Batch &, long long) { return 0; }
  static const char *complete(Batch &b, Extents &extents) {
    b.q = b.n - b.c0;
    b.n_sets = extents[Axis::kEntrySets];
    if (b.p > b.n || b.q < 1)
      return "p or c0: expected a block of the n_factor rows and columns";
    if (b.X && (extents[Axis::kMatrixRows] != b.p || extents[Axis::kMatrixColumns] != b.q))
      return "X: expected matrices of p rows and n_factor - c0 columns";
    if (!b.X && !(b.row && b.column && b.entry_index))
      return "row: expected row, column and entry_index, or X";
    if (static_cast<long long>(b.p) * b.q >= 1LL << 30)
      return "p: expected fewer than 2^30 entries of the matrix";
    return nullptr;
  }
  static const char *refuse_values(const Batch &b) {
    for (long long i = 0; !b.X && i < b.n_sets * b.n_samples; ++i)
      if (b.row[i] < 0 || b.row[i] >= b.p || b.column[i] < b.c0 || b.column[i] >= b.n)
        return "row: expected entries of the matrix";
    return nullptr;
  }

  // Dense measurements entry after entry, the samples of an entry together; then what each entry
  // adds to the square of the norm.
  KRF_HD static long long sets(const Batch &b) { return b.X ? 1 : 0; }
  KRF_HD static long long set_of(const Batch &, long long) { return 0; }
  KRF_HD static long long lines(const Batch &b) { return padded(b.p * b.q); }
  KRF_HD static long long packed_doubles(const Batch &b) {
    return b.X ? (padded(b.n_samples) + 1LL) * lines(b) : 0;
  }
  KRF_HD static void pack(const Batch &b, long long, long long entry, double *packed) {
    const long long entries = static_cast<long long>(b.p) * b.q;
    const int ldn = padded(b.n_samples);
    double *samples = packed + entry * ldn;
    double sum = 0;
    for (int i = 0; i < ldn; ++i) {
      samples[i] = i < b.n_samples && entry < entries ? b.X[i * entries + entry] : 0.0;
      sum += samples[i] * samples[i];
    }
    packed[ldn * lines(b) + entry] = sum;
  }
  static int rows_of_systems(const Batch &b) { return b.n > b.n_samples ? b.n : b.n_samples; }
  static int features(const Batch &b) { return b.p * b.q; }
  static int samples(const Batch &b) { return b.n_samples; }
};

// Flows of a margin loss: the rows `loss` and `t` are ln L and ln t, and the settings t_eval and
// t_max are values of the clock, minus ln L or, `by_time`, ln t.
struct FactorMarginBatch : FactorBatch {
  int loss, by_time;

  template <class Visit> static void fields(Visit &&visit) {
    using B = FactorMarginBatch;
    FactorBatch::fields(visit);
    visit.integer("loss", &B::loss, 0, static_cast<int>(MarginLossKind::kLogistic));
    visit.integer("by_time", &B::by_time, 0, 1);
  }
};

struct FactorMarginFamily : FactorFamily {
  static constexpr const char *kName = "factorization_margin_flow";
  using Batch = FactorMarginBatch;

  static const char *complete(Batch &b, Extents &extents) {
    if (const char *wrong = FactorFamily::complete(b, extents))
      return wrong;
    return b.n_samples > kMaxKernelSamples ? "y: expected at most 4096 samples" : nullptr;
  }
  static const char *refuse_values(const Batch &b) {
    if (const char *wrong = FactorFamily::refuse_values(b))
      return wrong;
    for (long long run = 0; run < b.count; ++run)
      for (int j = 0; j < b.n_samples; ++j)
        if (square(b.y[b.y_index[run] * b.n_samples + j]) != 1.0)
          return "y: expected labels -1 and +1";
    return nullptr;
  }
};

} // namespace krf

KRF_BEGIN_NAMESPACE

template <Team TeamT>
using FactorFlow =
    Integrator<FactorSystem<TeamT>, Radau5<FactorSystem<TeamT>>, NoEvents<FactorSystem<TeamT>>>;

template <Team TeamT>
using FactorMarginFlow = Integrator<FactorMarginSystem<TeamT>, Radau5<FactorMarginSystem<TeamT>>,
                                    NoEvents<FactorMarginSystem<TeamT>>>;

template <Team TeamT, int Variant> struct SolverOf<FactorFamily, TeamT, Variant> {
  using Type = FactorFlow<TeamT>;
};
template <Team TeamT, int Variant> struct SolverOf<FactorMarginFamily, TeamT, Variant> {
  using Type = FactorMarginFlow<TeamT>;
};

// W0 (n, r), rows padded, = scale times the first r of `widest` columns.
template <Team TeamT>
KRF_HD void scaled_start(TeamT &team, const double *from, int n, int widest, int r, double scale,
                         double *W0) {
  const int ldr = padded(r);
  team.each(n * ldr, [&](int at) {
    const int i = at / ldr, c = at % ldr;
    W0[at] = c < r ? scale * from[static_cast<long long>(i) * widest + c] : 0.0;
  });
}

template <Team TeamT>
KRF_HD FactorProblem problem(FactorFamily, TeamT &team, const FactorBatch &b, long long run,
                             const double *packed, Arena &arena) {
  using T = typename TeamT::Value;
  const int ldn = padded(b.n_samples);
  double *y = arena.take(ldn);
  double *W0 = arena.take(static_cast<long long>(b.n) * padded(b.widest));
  FactorProblem p{
      b.n, b.widest, b.p, b.q, b.c0, b.n_samples, b.row, b.column, b.X ? packed : nullptr,
      1.0, y,        W0};
  if (run == kSizesOnly) {
    p.X = b.X; // a null pointer where entries are observed
    return p;
  }
  const long long start = b.start_index[run];
  p.r = static_cast<int>(b.rank[start]);
  if (!b.X) {
    const long long set = b.entry_index[run] * b.n_samples;
    p.row += set, p.column += set;
  }
  const double *from_y = b.y + b.y_index[run] * b.n_samples;
  team.each(ldn, [&](int i) { y[i] = i < b.n_samples ? from_y[i] : 0.0; });
  scaled_start(team, b.starts + start * b.n * b.widest, b.n, b.widest, p.r, b.scale[run], W0);
  if (b.X) {
    const int entries = padded(b.p * b.q);
    const double *squares = packed + static_cast<long long>(ldn) * entries;
    T sum = splat<T>(0.0);
    team.for_each(entries, [&](int e) { sum += read<T>(squares + e); });
    p.X_norm = std::sqrt(team.sum(sum));
  }
  return p;
}

template <Team TeamT>
KRF_HD FactorProblem problem(FactorMarginFamily, TeamT &team, const FactorMarginBatch &b,
                             long long run, const double *packed, Arena &arena) {
  FactorProblem p = problem(FactorFamily{}, team, b, run, packed, arena);
  p.margin_loss = static_cast<MarginLossKind>(b.loss);
  p.by_time = b.by_time != 0;
  return p;
}

template <class SolverT, Team TeamT>
KRF_HD void solve(FactorFamily, SolverT &solver, TeamT &team, const FactorProblem &p,
                  const FactorBatch &b, const FlowSettings &s, const FactorRows &r, long long run) {
  const long long rows = row_count(s);
  FactorFlowOutput out{output_of(r, run, rows), r.W + run * rows * b.n * b.widest};
  solver.run(p, options_of(s, run, 0.0), out);
  write_ends(team, r, run, out);
}

KRF_END_NAMESPACE
