// Gradient flow of one model from its start to a time, a loss or a standstill.
#pragma once

#include "dopri5.hpp"
#include "method_choice.hpp"
#include "problem.hpp"
#include "radau5.hpp"

KRF_BEGIN_NAMESPACE

// Controllers and rules of the flow; bench/NOTES.md has the measurements behind the numbers.
namespace flow_rules {
inline constexpr double kSafety = 0.9;
inline constexpr double kMaxGrowth = 10.0;
inline constexpr double kMinShrink = 0.1;
// Radau's embedded error is of order 3 while the step is of order 5, hence the power 2/3 (as in
// Hairer & Wanner's RADAU5).
KRF_HD inline double radau_tolerance(double rtol) {
  return smaller(0.5 * std::pow(rtol, 2.0 / 3.0), 40.0 * rtol);
}
// Local errors add up over more steps the tighter they are: without the correction the explicit
// method reaches 3 rtol at 1e-8 and 11 rtol at 1e-10 early in a flow.
KRF_HD inline double dopri_tolerance(double rtol) {
  return rtol * smaller(1.0, std::pow(rtol * 1e6, 0.2));
}
// `share` of the tolerance is the system's: how much of it its Newton iteration may leave.
KRF_HD inline double newton_tolerance(double rtol, double share) {
  return smaller(0.03, share * dopri_tolerance(rtol) / radau_tolerance(rtol));
}
inline constexpr int kMaxFailures = 100;       // in a row
inline constexpr double kRounded = 1.0 + 1e-6; // what rounding may add to a loss that converged
// A loss that falls by less than this in so many steps is looked at more closely.
inline constexpr int kStagnant = 100;
inline constexpr double kStagnantShare = 1e-9;
} // namespace flow_rules

template <class System> class FlowIntegrator {
  using Team = typename System::Team;
  Team &team_;
  System s_;
  Radau5<System> radau_;
  Dopri5<System> dopri_;
  double t_ = 0, t_low_ = 0; // two-double: after a plateau of 1e18 a jump of 1e-2 still counts

public:
  KRF_HD KRF_APART FlowIntegrator(Team &team, const typename System::Problem &p, Arena &arena)
      : team_(team), s_(team, p, arena), radau_(s_, arena), dopri_(s_, arena) {}

  KRF_HD void run(const typename System::Problem &p, const FlowOptions &o,
                  typename System::Output &out) {
    using namespace flow_rules;
    out.n_steps = out.n_rhs = 0;
    int row = 0; // next evaluation time
    const int rows = o.n_eval > 0 ? o.n_eval : 1;
    if (!s_.start(p)) {
      s_.write_nothing(out, rows);
      team_.each(rows, [&](int r) { out.loss[r] += o.loss_offset; });
      out.status = Status::kFailed;
      return;
    }
    if (s_.stiff_available())
      radau_.start();
    radau_.newton_tolerance = newton_tolerance(o.rtol, System::kNewtonShare);
    const double t_end = o.n_eval > 0 ? smaller(o.t_eval[o.n_eval - 1], o.t_max) : o.t_max;
    MethodChoice choice(o.method == Method::kAuto && s_.stiff_available(),
                        o.method == Method::kStiff && s_.stiff_available(), s_.cost_ratio());

    bool still = s_.measure_velocity();
    const double rate = s_.rate();
    double h = rate > 0 ? std::pow(o.rtol, 0.2) / rate : kInfinity;
    double norm = s_.predictor_norm();
    double dense_h = kInfinity; // longest step whose interpolant is as good as rtol asks
    int failures = 0;
    long long attempts = 0;
    double marked_loss = kInfinity; // kStagnant steps ago
    out.status = Status::kFailed;
    while (row < o.n_eval && o.t_eval[row] <= 0.0)
      s_.write_row(out, row++, false, 0.0);
    for (;;) {
      const double loss = s_.loss() + o.loss_offset;
      if (o.n_eval == 0 && loss <= o.stop_loss) {
        out.status = Status::kConverged;
        break;
      }
      if (!(remaining(t_end) > 0.0)) {
        out.status = loss <= o.stop_loss ? Status::kConverged : Status::kTimeEnd;
        break;
      }
      if (still) {
        out.status = loss <= o.stop_loss ? Status::kConverged : Status::kStationary;
        break;
      }
      if (attempts >= o.max_steps) {
        out.status = Status::kMaxSteps;
        break;
      }
      if (team_.cancelled() || failures > kMaxFailures || !(h > 0.0) || !(t_ < 1e300))
        break;
      ++attempts;

      const bool stiff = choice.stiff();
      const double cap = s_.step_cap();
      double step = smaller(h, cap);
      const double left = remaining(t_end);
      // Evaluation times: the stiff method interpolates with an error like its embedded estimate,
      // larger than at the end of a step, so it stops at a time it could not interpolate.
      const double next_time = row < o.n_eval ? remaining(o.t_eval[row]) : kInfinity;
      if (stiff && next_time < step)
        step = smaller(step, larger(next_time, dense_h));
      const bool last = step >= left;
      // Two halves instead of one step and a sliver.
      if (last)
        step = left;
      else if (step > 0.5 * left)
        step = 0.5 * left;

      const double tolerance = stiff ? radau_tolerance(o.rtol) : dopri_tolerance(o.rtol);
      const double error = stiff ? radau_.attempt(step, tolerance, o.atol, norm)
                                 : dopri_.attempt(step, tolerance, o.atol, norm);
      if (!(error >= 0.0) || (!stiff && error < 1.0 && !s_.decreases(dopri_.end_field()))) {
        h = step * 0.25;
        ++failures;
        continue;
      }
      const double order = stiff ? 4.0 : 5.0;
      double factor = kSafety * std::pow(larger(error, 1e-14), -1.0 / order);
      if (stiff)
        factor *= 17.0 / (16.0 + radau_.iterations);
      if (!(error < 1.0)) {
        h = step * larger(kMinShrink, smaller(factor, 0.9));
        ++failures;
        continue;
      }
      if (stiff && o.n_eval > 0) {
        const double quality = larger(error, 1e-14) * tolerance / o.rtol;
        dense_h = step * kSafety * std::pow(quality, -0.25);
        if (next_time < step && quality > 1.0)
          continue; // again, shorter; h stays
      }
      failures = 0;
      ++out.n_steps;
      while (row < o.n_eval && o.t_eval[row] <= t_end && remaining(o.t_eval[row]) <= step) {
        const double x = remaining(o.t_eval[row]) / step;
        if (stiff)
          radau_.interpolate(x, s_.dense);
        else
          dopri_.interpolate(x, step, s_.dense);
        s_.keep_in_domain(x);
        s_.write_row(out, row, true, o.t_eval[row]);
        ++row;
      }
      if (stiff)
        radau_.accept(step);
      else
        dopri_.accept(step);
      if (last)
        t_ = t_end, t_low_ = 0;
      else
        add_time(step);
      s_.settle(radau_.old_N);
      norm = s_.predictor_norm();
      still = s_.measure_velocity();
      if (out.n_steps % kStagnant == 0) {
        const double now = s_.loss();
        still = still || (now > marked_loss * (1.0 - kStagnantShare) && s_.at_rest(o.rtol));
        marked_loss = now;
      }

      factor = smaller(kMaxGrowth, larger(0.2, factor));
      // Refactoring for a slightly longer step does not pay.
      if (stiff && factor >= 1.0 && factor < 1.2 && step == h)
        factor = 1.0;
      // A step cut short says nothing against h; one cut by the cap says little for it.
      if (step < cap && step < h)
        h = larger(h, step * factor);
      else
        h = step < h ? larger(step * factor, smaller(h, 4.0 * step)) : step * factor;

      const double stiffness = !stiff                      ? dopri_.stiffness
                               : choice.wants_eigenvalue() ? step * s_.largest_eigenvalue()
                                                           : -1.0;
      h = smaller(h, cap);
      if (choice.accepted(h, stiffness))
        radau_.forget();
    }
    out.n_rhs = radau_.n_rhs + dopri_.n_rhs;
    out.n_flops = team_.flops();
    if (out.status == Status::kStationary || out.status == Status::kConverged)
      while (row < o.n_eval && remaining(o.t_eval[row]) >= 0.0 && o.t_eval[row] <= o.t_max)
        s_.write_row(out, row, false, o.t_eval[row]), ++row;
    // Times that were not reached show the last state, with the time it belongs to.
    for (; row < rows; ++row)
      s_.write_row(out, row, false, t_);
    if (o.loss_offset > 0)
      team_.each(rows, [&](int r) { out.loss[r] += o.loss_offset; });
    // What is returned, rounded, must be what the status says.
    if (out.status == Status::kConverged && o.n_eval == 0 &&
        !(out.loss[0] <= kRounded * o.stop_loss))
      out.status = Status::kFailed;
    for (row = 0; row < rows; ++row)
      if (!(out.loss[row] < kInfinity))
        out.status = Status::kFailed;
  }

private:
  KRF_HD double remaining(double t) const { return (t - t_) - t_low_; }

  KRF_HD void add_time(double h) {
    const double total = t_ + h;
    const double part = total - t_;
    t_low_ += (t_ - (total - part)) + (h - part);
    t_ = total;
  }
};

template <class System, class Team>
KRF_HD void integrate_run(Team &team, const typename System::Problem &p, const FlowOptions &o,
                          typename System::Output &out, Arena &arena) {
  FlowIntegrator<System>(team, p, arena).run(p, o, out);
}

KRF_END_NAMESPACE
