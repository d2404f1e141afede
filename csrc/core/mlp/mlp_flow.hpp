// Gradient flow, or descent, of one ReLU network from its start to a time, a loss or a standstill.
#pragma once

#include "../base/elementary.hpp"
#include "../ode/dopri5.hpp"
#include "../ode/etdrk4.hpp"
#include "../ode/method_choice.hpp"
#include "kinks.hpp"

KRF_BEGIN_NAMESPACE

namespace mlp_rules {
inline constexpr double kSafety = 0.9;
inline constexpr double kMaxGrowth = 5.0;
inline constexpr double kMinShrink = 0.1;
inline constexpr int kMaxFailures = 60; // in a row
// A repeated step aims at this share of the tolerance behind the crossing.
inline constexpr double kBehind = 0.3;
// So often a step is repeated for its crossings before it is taken, by then very short; it is
// refused if they are worth more tolerances than kMaxCrossingError even so.
inline constexpr int kMaxRepeats = 12;
inline constexpr double kMaxCrossingError = 10.0;
// So often in a row kinks that a step starts on the wrong side of are put right without a step.
inline constexpr int kMaxRewinds = 2;
// Crossings worth less than this need no look at what slides.
inline constexpr double kNegligible = 1e-2;
// At rest: so many steps, over so much of the time there has been, have moved nothing.
inline constexpr int kStagnant = 20;
inline constexpr int kLongStagnant = 200;
inline constexpr double kStagnantShare = 1e-9;
} // namespace mlp_rules

template <class Team> class MlpFlow {
  using System = MlpSystem<Team>;

public:
  KRF_HD KRF_APART MlpFlow(Team &team, const MlpProblem &p, Arena &arena)
      : team_(team), s_(team, p, arena), kinks_(s_, arena), exponential_(s_, arena),
        dopri_(s_, arena) {}

  KRF_HD void run(const MlpProblem &p, const FlowOptions &o, MlpFlowOutput &out) {
    out.n_steps = out.n_rhs = 0;
    row_ = 0;
    const bool fine = s_.start(p);
    n_rhs_ = 1;
    out.status = !fine                                  ? Status::kFailed
                 : o.method == Method::kGradientDescent ? descend(p.step_size, o, out)
                                                        : integrate(o, out);
    out.n_rhs = n_rhs_ + kinks_.n_rhs + exponential_.n_rhs + dopri_.n_rhs;
    out.n_flops = team_.flops();
    const int rows = o.n_eval > 0 ? o.n_eval : 1;
    const bool settled = out.status == Status::kStationary || out.status == Status::kConverged;
    for (; row_ < rows; ++row_)
      s_.write_row(out, row_,
                   settled && o.n_eval > 0 && o.t_eval[row_] <= o.t_max ? o.t_eval[row_] : t_);
  }

private:
  // Whether the run is over, and how.
  KRF_HD bool over(const FlowOptions &o, double t_end, Status &status) {
    const double loss = s_.base.loss;
    if (o.n_eval == 0 && loss <= o.stop_loss)
      status = Status::kConverged;
    else if (!(remaining(t_end) > 0.0))
      status = loss <= o.stop_loss ? Status::kConverged : Status::kTimeEnd;
    else
      return false;
    return true;
  }
  KRF_HD void write_times(const FlowOptions &o, MlpFlowOutput &out) {
    for (; row_ < o.n_eval && !(remaining(o.t_eval[row_]) > 0.0); ++row_)
      s_.write_row(out, row_, o.t_eval[row_]);
  }
  KRF_HD double remaining(double t) const { return (t - t_) - t_low_; }
  KRF_HD void add_time(double h) {
    const double total = t_ + h, part = total - t_;
    t_low_ += (t_ - (total - part)) + (h - part);
    t_ = total;
  }
  KRF_HD static double end_of(const FlowOptions &o) {
    return o.n_eval > 0 ? smaller(o.t_eval[o.n_eval - 1], o.t_max) : o.t_max;
  }

  KRF_HD Status integrate(const FlowOptions &o, MlpFlowOutput &out) {
    using namespace mlp_rules;
    const double t_end = end_of(o);
    MethodChoice choice(o.method == Method::kAuto && s_.exact(),
                        s_.exact() && (o.method == Method::kStiff ||
                                       (o.method == Method::kAuto && s_.cost_ratio() < 3.0)),
                        s_.cost_ratio());
    const double rate = s_.share_of_weights(s_.field);
    double h = rate > 0 ? std::pow(o.rtol, 0.25) / rate : kInfinity;
    int failures = 0, repeats = 0, rewinds = 0;
    long long attempts = 0;
    mark(fast_, 0);
    mark(slow_, 0);
    s_.remember();
    Status status = Status::kFailed;
    write_times(o, out);
    while (!over(o, t_end, status)) {
      if (!(h < kInfinity) && rate == 0.0)
        return s_.base.loss <= o.stop_loss ? Status::kConverged : Status::kStationary;
      if (attempts >= o.max_steps)
        return Status::kMaxSteps;
      if (team_.cancelled() || failures > kMaxFailures || !(h > 0.0) || !(t_ < 1e300))
        return Status::kFailed;
      ++attempts;
      const double until = row_ < o.n_eval ? smaller(o.t_eval[row_], t_end) : t_end;
      const bool last = h >= remaining(until);
      const double step = last ? remaining(until) : h;

      // The smooth part of the step, with the kinks as they are.
      s_.set_residual_weight(o.rtol);
      const bool stiff = choice.stiff();
      const double error = stiff ? exponential_.attempt(step, o.rtol, o.atol, s_.prediction_scale())
                                 : dopri_.attempt(step, o.rtol, o.atol, s_.prediction_scale());
      const bool decreases =
          s_.trial.loss <= s_.base.loss * (1.0 + 1e-6) + 1e-18 * square(s_.prediction_scale());
      if (!(error >= 0.0) || (error < 1.0 && !decreases)) {
        h = 0.25 * step;
        ++failures;
        continue;
      }
      double factor = kSafety * std::pow(larger(error, 1e-10), stiff ? -0.25 : -0.2);
      if (!(error < 1.0)) {
        h = step * larger(kMinShrink, smaller(factor, 0.9));
        ++failures;
        continue;
      }
      const double *end = stiff ? exponential_.end_field : dopri_.end_field();
      if (!arrive(end)) {
        h = 0.25 * step;
        ++failures;
        continue;
      }

      // Its crossings.
      kinks_.measure_rates();
      const double excursion = kinks_.first_excursion(step, o.rtol, o.atol);
      if (excursion < 1.0 && repeats < kMaxRepeats) {
        h = excursion * step;
        ++repeats;
        continue;
      }
      const double x = kinks_.first_crossing(step);
      if (x <= 1.0) {
        if (x == 0.0 && rewinds < kMaxRewinds) {
          ++rewinds;
          if (!kinks_.rewind())
            return Status::kFailed;
          s_.accept_modes();
          s_.accept();
          exponential_.forget();
          h = step;
          continue;
        }
        const double time_past_crossing = (1.0 - x) * step;
        const double crossing_error = kinks_.cross(time_past_crossing, o.rtol, o.atol);
        // One crossing is worth the time behind it; of many, there are fewer in a shorter time.
        const double share = kBehind / crossing_error;
        const double shorter =
            x * step + time_past_crossing * (kinks_.crowded() ? std::sqrt(share) : share);
        if (crossing_error > 1.0 && repeats < kMaxRepeats && shorter < step) {
          h = shorter;
          ++repeats;
          continue;
        }
        if (!(crossing_error < kMaxCrossingError) ||
            (crossing_error > kNegligible && !kinks_.resolve_modes())) {
          h = 0.25 * step;
          ++failures;
          continue;
        }
        s_.accept_modes();
        if (kinks_.crowded())
          factor = smaller(factor, std::sqrt(0.6 / larger(crossing_error, 1e-3)));
      }
      failures = repeats = rewinds = 0;
      s_.accept();
      exponential_.forget();
      ++out.n_steps;
      if (last)
        t_ = until, t_low_ = 0;
      else
        add_time(step);
      write_times(o, out);

      factor = smaller(kMaxGrowth, larger(0.2, factor));
      const double stiffness =
          stiff ? (choice.wants_eigenvalue() ? step * exponential_.largest_eigenvalue() : -1.0)
                : dopri_.stiffness;
      // A step cut short for an evaluation time says nothing against the h before.
      h = larger(step * factor, last ? h : 0.0);
      choice.accepted(h, stiffness);

      if (at_rest(o, out.n_steps))
        return s_.base.loss <= o.stop_loss ? Status::kConverged : Status::kStationary;
    }
    return status;
  }

  // A local minimum, or nothing left alive: either the field would not have moved the weights over
  // the last steps, or, where it never gets so small (explicit steps leave noise), they and the
  // loss did not.  A saddle is left meanwhile, at the pace its steps have.
  struct Mark {
    long long step;
    double t, loss;
  };
  KRF_HD void mark(Mark &m, long long step) const { m = {step, t_, s_.base.loss}; }
  KRF_HD KRF_APART bool at_rest(const FlowOptions &o, long long step) {
    using namespace mlp_rules;
    const double rate = s_.share_of_weights(s_.field);
    if (rate == 0.0)
      return true;
    const auto stagnant = [&](const Mark &m) {
      return s_.base.loss > m.loss * (1.0 - kStagnantShare);
    };
    if (step >= fast_.step + kStagnant && t_ >= 1.5 * fast_.t) {
      if (stagnant(fast_) && rate * (t_ - fast_.t) < 1e-3 * o.rtol)
        return true;
      mark(fast_, step);
    }
    if (step >= slow_.step + kLongStagnant && t_ >= 1.1 * slow_.t) {
      // Errors of rtol a step wander where nothing holds them.
      const double wander = 10.0 * o.rtol * std::sqrt(static_cast<double>(step - slow_.step));
      if (stagnant(slow_) && s_.share_moved() < wander)
        return true;
      mark(slow_, step);
      s_.remember();
    }
    return false;
  }

  // From the end of a trial step: its weights back where sliding units slide, the field there.
  KRF_HD KRF_APART bool arrive(const double *end_field) {
    if (!s_.sliding().deep()) {
      team_.for_each(s_.length, [&](int i) {
        using T = typename Team::Value;
        write(s_.field_trial + i, read<T>(end_field + i));
      });
    } else {
      s_.sliding().restore(s_.trial, s_.w_trial);
      ++n_rhs_;
      if (!s_.evaluate_at(s_.w_trial, s_.mode, s_.sliding(), s_.trial, s_.field_trial))
        return false;
    }
    if (s_.sliding().any())
      s_.sliding().fractions(s_.w_trial, s_.mode, s_.trial, s_.theta_next, s_.work);
    return true;
  }

  // Full-batch gradient descent; t counts steps times step_size.
  KRF_HD Status descend(double step_size, const FlowOptions &o, MlpFlowOutput &out) {
    const double t_end = end_of(o);
    double marked_loss = kInfinity;
    Status status = Status::kFailed;
    write_times(o, out);
    while (!over(o, t_end, status)) {
      if (out.n_steps >= o.max_steps)
        return Status::kMaxSteps;
      if (team_.cancelled())
        return Status::kFailed;
      using T = typename Team::Value;
      team_.for_each(s_.length, [&](int i) {
        write(s_.w_trial + i, read<T>(s_.w + i) + step_size * read<T>(s_.field + i));
      });
      s_.net.forward(s_.w_trial, nullptr, s_.trial);
      team_.each(s_.size(),
                 [&](int e) { s_.mode_next[e] = s_.hidden(e) && s_.trial.Z[e] > 0.0 ? 1.0 : 0.0; });
      ++n_rhs_;
      if (!s_.differentiate(s_.w_trial, s_.mode_next, s_.sliding_next(), s_.trial, s_.field_trial))
        return Status::kFailed;
      s_.accept();
      s_.accept_modes();
      ++out.n_steps;
      t_ = static_cast<double>(out.n_steps) * step_size;
      write_times(o, out);
      if (out.n_steps % 1000 == 0) {
        if (!(s_.share_of_weights(s_.field) * t_ > 1e-3 * o.rtol) &&
            s_.base.loss > marked_loss * (1.0 - mlp_rules::kStagnantShare))
          return Status::kStationary;
        marked_loss = s_.base.loss;
      }
    }
    return status;
  }

  Team &team_;
  System s_;
  Kinks<System> kinks_;
  Exponential<System> exponential_;
  Dopri5<System> dopri_;
  double t_ = 0, t_low_ = 0; // two-double: late in a plateau short steps still count
  Mark fast_, slow_;
  int row_ = 0;
  long long n_rhs_ = 0;
};

KRF_END_NAMESPACE
