// What a batch of flows of any family is asked for, and its results.
#pragma once

#include "../fields.hpp"
#include "../team.hpp"
#include "flow_options.hpp"

// Outside the per-instruction-set namespaces: no code, so nothing to keep apart.
namespace krf {

// The options of a batch: rules per run, and what all runs share.
struct FlowSettings {
  const double *rtol, *t_max, *stop_loss; // per run
  double atol;
  long long max_steps;
  int method;
  const double *t_eval;
  int n_eval;

  template <class Visit> static void fields(Visit &&visit) {
    using enum Axis;
    using S = FlowSettings;
    visit.array("rtol", &S::rtol, {kRuns});
    visit.array("t_max", &S::t_max, {kRuns});
    visit.array("stop_loss", &S::stop_loss, {kRuns});
    visit.number("atol", &S::atol);
    visit.integer("max_steps", &S::max_steps, -1, 1LL << 62);
    visit.integer("method", &S::method, 0, static_cast<int>(Method::kGradientDescent));
    visit.array("t_eval", &S::t_eval, {kTimes});
    visit.extent(&S::n_eval, kTimes, 0, (1 << 30) - 1);
  }
};

// What every flow returns; a row per evaluation time, or one at the end.
struct FlowRows {
  double *loss, *t;
  long long *status, *n_steps, *n_rhs;
  double *n_flops;

  template <class Visit> static void fields(Visit &&visit) {
    using enum Axis;
    using R = FlowRows;
    visit.output("loss", &R::loss, {kRuns, kRows});
    visit.output("t", &R::t, {kRuns, kRows});
    visit.output("status", &R::status, {kRuns});
    visit.output("n_steps", &R::n_steps, {kRuns});
    visit.output("n_rhs", &R::n_rhs, {kRuns});
    visit.output("n_flops", &R::n_flops, {kRuns});
  }
};

} // namespace krf

KRF_BEGIN_NAMESPACE

KRF_HD inline FlowOptions options_of(const FlowSettings &s, long long run, double loss_offset) {
  return {s.rtol[run],
          s.atol,
          s.t_max[run],
          s.stop_loss[run],
          loss_offset,
          s.max_steps,
          static_cast<Method>(s.method),
          s.t_eval,
          s.n_eval};
}
KRF_HD inline long long row_count(const FlowSettings &s) { return s.n_eval > 0 ? s.n_eval : 1; }

KRF_HD inline FlowOutput output_of(const FlowRows &r, long long run, long long rows) {
  return {r.loss + run * rows, r.t + run * rows, Status::kFailed, 0, 0};
}
template <Team TeamT>
KRF_HD void write_ends(TeamT &team, const FlowRows &r, long long run, const FlowOutput &out) {
  team.once([&] {
    r.status[run] = static_cast<int>(out.status);
    r.n_steps[run] = out.n_steps;
    r.n_rhs[run] = out.n_rhs;
    r.n_flops[run] = out.n_flops;
  });
}

KRF_END_NAMESPACE
