// Gradient flow of one model from its start to a time, a loss or a standstill.
#pragma once

#include "dopri5.hpp"
#include "flow_options.hpp"
#include "method_choice.hpp"
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
  return smaller(0.5 * std::pow(rtol, 2.0 / 3.0), 30.0 * rtol);
}
// Local errors add up over more steps the tighter they are, and the steps of loose tolerances are
// so long that the embedded error comes out too small: without the correction the explicit method
// reaches 11 rtol at 1e-10 early in a flow, and 18 rtol at 1e-3 on the way off a saddle.
KRF_HD inline double dopri_tolerance(double rtol) {
  const double looser = std::pow(rtol * 1e6, 0.2);
  return rtol * smaller(looser, 1.0 / looser);
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

// Made anew for every run.
template <class System> class FlowIntegrator {
  using Team = typename System::Team;
  using Output = typename System::Output;
  Team &team_;
  System s_;
  Radau5<System> radau_;
  Dopri5<System> dopri_;
  double t_ = 0, t_low_ = 0; // two-double: after a plateau of 1e18 a jump of 1e-2 still counts
  double t_end_ = 0;
  double h_ = 0;
  double step_ = 0, cap_ = 0;  // under way
  double dense_h_ = kInfinity; // longest step whose interpolant is as good as rtol asks
  double norm_ = 0;
  double marked_loss_ = kInfinity; // flow_rules::kStagnant steps ago
  MethodChoice choice_;
  long long attempts_ = 0;
  int failures_ = 0;
  int row_ = 0; // next evaluation time
  Rest rest_ = Rest::kNone;
  bool last_ = false;

public:
  KRF_HD KRF_APART FlowIntegrator(Team &team, const typename System::Problem &p, Arena &arena)
      : team_(team), s_(team, p, arena), radau_(s_, arena), dopri_(s_, arena),
        choice_(false, false, 1.0) {}

  KRF_HD void run(const typename System::Problem &p, const FlowOptions &o, Output &out) {
    out.n_steps = out.n_rhs = 0;
    const int rows = o.n_eval > 0 ? o.n_eval : 1;
    s_.set_accuracy(o.rtol);
    if (!s_.start(p)) {
      s_.write_nothing(out, rows);
      team_.each(rows, [&](int r) { out.loss[r] += o.loss_offset; });
      out.status = Status::kFailed;
      return;
    }
    begin(p, o, out);
    while (!over(o, out))
      attempt(p, o, out);
    finish(o, out, rows);
  }

private:
  using Problem = typename System::Problem;

  KRF_HD KRF_APART void begin(const Problem &p, const FlowOptions &o, Output &out) {
    using namespace flow_rules;
    if (s_.stiff_available())
      radau_.start();
    radau_.newton_tolerance = newton_tolerance(o.rtol, System::kNewtonShare);
    t_end_ = o.n_eval > 0 ? smaller(o.t_eval[o.n_eval - 1], o.t_max) : o.t_max;
    const bool free = o.method == Method::kAuto && s_.stiff_available();
    const bool stiff = o.method == Method::kStiff && s_.stiff_available();
    choice_ = MethodChoice(free, stiff || (free && s_.starts_stiff()), s_.cost_ratio());
    rest_ = s_.measure_velocity() ? s_.rest(p, radau_.old_N) : Rest::kNone;
    const double rate = s_.rate();
    h_ = rate > 0 ? std::pow(o.rtol, 0.2) / rate : kInfinity;
    norm_ = s_.predictor_norm();
    out.status = Status::kFailed;
    while (row_ < o.n_eval && o.t_eval[row_] <= 0.0)
      s_.write_row(out, row_++, false, 0.0);
  }

  KRF_HD KRF_APART bool over(const FlowOptions &o, Output &out) {
    const double loss = s_.loss() + o.loss_offset;
    const bool low = loss <= o.stop_loss;
    if (o.n_eval == 0 && low)
      out.status = Status::kConverged;
    else if (!(remaining(t_end_) > 0.0))
      out.status = low ? Status::kConverged : Status::kTimeEnd;
    else if (rest_ != Rest::kNone)
      out.status = low ? Status::kConverged : stopped_at_rest(o);
    else if (attempts_ >= o.max_steps)
      out.status = Status::kMaxSteps;
    else
      return team_.cancelled() || failures_ > flow_rules::kMaxFailures || !(h_ > 0.0) ||
             !(t_ < 1e300);
    return true;
  }

  // Above the loss that was asked for: what rounding stopped stays as it is to the last time, and
  // without one never arrives.
  KRF_HD Status stopped_at_rest(const FlowOptions &o) {
    if (rest_ == Rest::kStationary || o.loss_offset >= s_.loss())
      return Status::kStationary;
    if (!(t_end_ < kInfinity))
      return Status::kMaxSteps;
    t_ = t_end_, t_low_ = 0;
    return Status::kTimeEnd;
  }

  KRF_HD KRF_APART void attempt(const Problem &p, const FlowOptions &o, Output &out) {
    using namespace flow_rules;
    ++attempts_;
    const bool stiff = choice_.stiff();
    const double next_time = row_ < o.n_eval ? remaining(o.t_eval[row_]) : kInfinity;
    choose_step(stiff, next_time);
    s_.begin_step(step_);
    const double tolerance = stiff ? radau_tolerance(o.rtol) : dopri_tolerance(o.rtol);
    const double error = stiff ? radau_.attempt(step_, tolerance, o.atol, norm_)
                               : dopri_.attempt(step_, tolerance, o.atol, norm_);
    if (!(error >= 0.0) || (!stiff && error < 1.0 && !s_.decreases(dopri_.end_field()))) {
      h_ = step_ * 0.25;
      ++failures_;
      return;
    }
    const double order = stiff ? 4.0 : 5.0;
    double factor = kSafety * std::pow(larger(error, 1e-14), -1.0 / order);
    if (stiff)
      factor *= 17.0 / (16.0 + radau_.iterations);
    if (!(error < 1.0)) {
      h_ = step_ * larger(kMinShrink, smaller(factor, 0.9));
      ++failures_;
      return;
    }
    if (stiff && o.n_eval > 0) {
      const double quality = larger(error, 1e-14) * tolerance / o.rtol;
      dense_h_ = step_ * kSafety * std::pow(quality, -0.25);
      if (next_time < step_ && quality > 1.0)
        return; // again, shorter; h stays
    }
    failures_ = 0;
    ++out.n_steps;
    write_times(o, out, stiff);
    accept(p, o, out, stiff);
    choose_next(stiff, factor);
  }

  KRF_HD KRF_APART void choose_step(bool stiff, double next_time) {
    cap_ = s_.step_cap();
    step_ = smaller(h_, cap_);
    const double left = remaining(t_end_);
    // Evaluation times: the stiff method interpolates with an error like its embedded estimate,
    // larger than at the end of a step, so it stops at a time it could not interpolate.
    if (stiff && next_time < step_)
      step_ = smaller(step_, larger(next_time, dense_h_));
    last_ = step_ >= left;
    // Two halves instead of one step and a sliver.
    if (last_)
      step_ = left;
    else if (step_ > 0.5 * left)
      step_ = 0.5 * left;
  }

  // The evaluation times within the step.
  KRF_HD KRF_APART void write_times(const FlowOptions &o, Output &out, bool stiff) {
    while (row_ < o.n_eval && o.t_eval[row_] <= t_end_ && remaining(o.t_eval[row_]) <= step_) {
      const double x = remaining(o.t_eval[row_]) / step_;
      if (stiff)
        radau_.interpolate(x, s_.dense);
      else
        dopri_.interpolate(x, step_, s_.dense);
      s_.keep_in_domain(x);
      s_.write_row(out, row_, true, o.t_eval[row_]);
      ++row_;
    }
  }

  KRF_HD KRF_APART void accept(const Problem &p, const FlowOptions &o, Output &out, bool stiff) {
    using namespace flow_rules;
    if (stiff)
      radau_.accept(step_);
    else
      dopri_.accept(step_);
    if (last_)
      t_ = t_end_, t_low_ = 0;
    else
      add_time(step_);
    s_.reorthogonalise(radau_.old_N);
    norm_ = s_.predictor_norm();
    rest_ = s_.measure_velocity() ? s_.rest(p, radau_.old_N) : Rest::kNone;
    if (out.n_steps % kStagnant == 0) {
      const double now = s_.loss();
      if (now > marked_loss_ * (1.0 - kStagnantShare) && s_.at_rest(o.rtol))
        rest_ = Rest::kStationary;
      marked_loss_ = now;
    }
  }

  KRF_HD KRF_APART void choose_next(bool stiff, double factor) {
    factor = smaller(flow_rules::kMaxGrowth, larger(0.2, factor));
    // Refactoring for a slightly longer step does not pay.
    if (stiff && factor >= 1.0 && factor < 1.2 && step_ == h_)
      factor = 1.0;
    // A step cut short says nothing against h; one cut by the cap says little for it.
    if (step_ < cap_ && step_ < h_)
      h_ = larger(h_, step_ * factor);
    else
      h_ = step_ < h_ ? larger(step_ * factor, smaller(h_, 4.0 * step_)) : step_ * factor;
    const double stiffness = !stiff                       ? dopri_.stiffness
                             : choice_.wants_eigenvalue() ? step_ * s_.largest_eigenvalue()
                                                          : -1.0;
    h_ = smaller(h_, cap_);
    if (choice_.accepted(h_, stiffness))
      radau_.forget();
  }

  KRF_HD KRF_APART void finish(const FlowOptions &o, Output &out, int rows) {
    out.n_rhs = radau_.n_rhs + dopri_.n_rhs;
    out.n_flops = team_.flops();
    if (out.status == Status::kStationary || out.status == Status::kConverged ||
        rest_ == Rest::kRounding)
      while (row_ < o.n_eval && remaining(o.t_eval[row_]) >= 0.0 && o.t_eval[row_] <= o.t_max)
        s_.write_row(out, row_, false, o.t_eval[row_]), ++row_;
    // Times that were not reached show the last state, with the time it belongs to.
    for (; row_ < rows; ++row_)
      s_.write_row(out, row_, false, t_);
    if (o.loss_offset > 0)
      team_.each(rows, [&](int r) { out.loss[r] += o.loss_offset; });
    // What is returned, rounded, must be what the status says.
    if (out.status == Status::kConverged && o.n_eval == 0 &&
        !(out.loss[0] <= flow_rules::kRounded * o.stop_loss))
      out.status = Status::kFailed;
    for (int r = 0; r < rows; ++r)
      if (!(out.loss[r] < kInfinity))
        out.status = Status::kFailed;
  }

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
