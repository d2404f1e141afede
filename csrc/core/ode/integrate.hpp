// The step loop: one run of any model family, from its start to a time, a loss or a standstill.
//
// A family supplies its system, its method for stiff steps and its events (system.hpp).  The loop
// owns what all families share: the clock, the length of the next step, the choice between the
// explicit and the stiff method, evaluation times, and the status the run ends with.
#pragma once

#include "clock.hpp"
#include "dopri5.hpp"
#include "events.hpp"
#include "flow_options.hpp"
#include "gradient_descent.hpp"
#include "method_choice.hpp"
#include "standstill.hpp"
#include "step_control.hpp"
#include "system.hpp"

KRF_BEGIN_NAMESPACE

// What a run is in the middle of, besides its arrays.
struct RunState {
  Clock clock;
  MethodChoice choice{false, false, 1.0};
  double t_end = 0;
  double clock_end = 0;        // where the system has a clock of its own
  double h = 0;                // the step that the controller asks for
  double step = 0, cap = 0;    // the step under way, and the longest the system allows
  double target = 0;           // time at which the step under way ends, where it is the last before
  bool reaches_target = false; // an evaluation time or the end
  double dense_h = kInfinity;  // longest step whose interpolant is as accurate as rtol asks
  double norm = 0;             // of the predictor
  long long attempts = 0;
  int failures = 0; // in a row
  int row = 0;      // of the next evaluation time
  bool descending = false;
  Rest rest = Rest::kNone;
};
static_assert(__is_trivially_copyable(RunState));

template <FlowSystem System, StiffStepper StiffMethod, Events EventPolicy> class Integrator {
public:
  using TeamType = typename System::TeamType;
  using Problem = typename System::Problem;
  using Output = typename System::Output;

  KRF_HD KRF_APART Integrator(TeamType &team, const Problem &p, Arena &arena)
      : team_(team), system_(team, p, arena), stiff_(system_, arena), explicit_(system_, arena),
        descent_(system_), events_(system_, arena) {}

  KRF_HD void run(const Problem &p, const FlowOptions &o, Output &out) {
    out.n_steps = 0;
    out.status = Status::kFailed;
    system_.set_accuracy(o.rtol);
    if (system_.start(p)) {
      begin(p, o, out);
      while (!is_over(o, out))
        attempt(p, o, out);
    } else {
      write_unstarted(o, out);
    }
    out.n_rhs = stiff_.n_rhs + explicit_.n_rhs + descent_.n_rhs + events_.n_rhs;
    out.n_flops = team_.flops();
    finish(o, out);
  }

private:
  // Rows of results can be interpolated within a step; otherwise steps end at evaluation times.
  static constexpr bool kDense = DenseSystem<System>;
  static constexpr bool kClocked = ClockedSystem<System>;
  KRF_HD bool dense() const {
    if constexpr (TimedSystem<System>)
      return kDense && !system_.ends_at_times();
    return kDense;
  }

  // f(stepper) for the method in use.
  template <class Use> KRF_HD auto with_stepper(Use use) {
    if constexpr (DescentSystem<System>)
      if (state_.descending)
        return use(descent_);
    return state_.choice.stiff() ? use(stiff_) : use(explicit_);
  }

  KRF_HD KRF_APART void begin(const Problem &p, const FlowOptions &o, Output &out) {
    const bool available = system_.stiff_available();
    if (available)
      stiff_.start(o.rtol);
    if constexpr (DescentSystem<System>)
      state_.descending = o.method == Method::kGradientDescent;
    const bool free = o.method == Method::kAuto && available;
    const bool stiff = o.method == Method::kStiff && available;
    state_.choice =
        MethodChoice(free, stiff || (free && system_.starts_stiff()), system_.cost_ratio());
    state_.t_end = o.n_eval > 0 ? smaller(o.t_eval[o.n_eval - 1], o.t_max) : o.t_max;
    if constexpr (kClocked)
      state_.clock_end = state_.t_end, state_.t_end = kInfinity;
    state_.rest = system_.rest(p, stiff_.history(), progress(o, out));
    const double rate = system_.rate();
    state_.h = rate > 0 ? std::pow(o.rtol, System::kFirstStepPower) / rate : kInfinity;
    if constexpr (DescentSystem<System>)
      if (state_.descending)
        state_.h = p.step_size;
    state_.norm = system_.predictor_norm();
    write_passed_times(o, out);
  }

  KRF_HD Progress progress(const FlowOptions &o, const Output &out) const {
    return {out.n_steps, state_.clock.time(), o.rtol, state_.descending, o.n_eval > 0};
  }

  KRF_HD KRF_APART bool is_over(const FlowOptions &o, Output &out) {
    if constexpr (kClocked)
      if (state_.row == target_count(o) || system_.passed(state_.clock_end)) {
        out.status = o.n_eval > 0 ? Status::kTimeEnd : Status::kConverged;
        return true;
      }
    const bool low = loss_counts() && system_.loss() + o.loss_offset <= o.stop_loss;
    if (o.n_eval == 0 && low)
      out.status = Status::kConverged;
    else if (!(state_.clock.until(state_.t_end) > 0.0))
      out.status = low ? Status::kConverged : Status::kTimeEnd;
    else if (state_.rest != Rest::kNone)
      out.status = low ? Status::kConverged : stopped_at_rest(o);
    else if (state_.attempts >= o.max_steps)
      out.status = Status::kMaxSteps;
    else
      return team_.cancelled() || state_.failures > System::kMaxFailures || !(state_.h > 0.0) ||
             !(state_.clock.time() < 1e300);
    return true;
  }

  // Whether a small loss is the end: not while the field is that of more than the loss.
  KRF_HD bool loss_counts() {
    if constexpr (TimedSystem<System>)
      return system_.loss_counts(state_.clock.time());
    return true;
  }

  // At rest above the loss that was asked for.  A state that only rounding holds stays as it is up
  // to the last evaluation time; where there is none, the loss is never reached.
  KRF_HD Status stopped_at_rest(const FlowOptions &o) {
    if (state_.rest == Rest::kStationary || o.loss_offset >= system_.loss())
      return Status::kStationary;
    if (state_.rest == Rest::kLost || !(state_.t_end < kInfinity))
      return Status::kMaxSteps;
    state_.clock.set(state_.t_end);
    return Status::kTimeEnd;
  }

  KRF_HD KRF_APART void attempt(const Problem &p, const FlowOptions &o, Output &out) {
    ++state_.attempts;
    const double until_next =
        !kClocked && state_.row < o.n_eval ? state_.clock.until(o.t_eval[state_.row]) : kInfinity;
    choose_step(o, until_next);
    system_.begin_step(state_.clock.time(), state_.step);
    double factor = 1.0;
    const double error = try_step(o, factor);
    if (!(error >= 0.0))
      return reject(step_control::kFailed * state_.step);
    if (!(error < 1.0))
      return reject(step_control::after_rejection(state_.step, factor));
    if (!interpolant_is_accurate(o, error, until_next))
      return; // again, shorter
    if constexpr (kClocked)
      if (!clock_is_met(o, error))
        return; // again, to little beyond the value
    if (!resolve_events(o, factor))
      return;
    state_.failures = 0;
    ++out.n_steps;
    if constexpr (kClocked)
      interpolate_clock(o, out);
    else if constexpr (kDense)
      if (dense())
        interpolate_times(o, out);
    accept(p, o, out);
    if (!state_.descending)
      choose_next(factor);
  }

  KRF_HD KRF_APART void choose_step(const FlowOptions &o, double until_next) {
    if (state_.descending) {
      state_.step = state_.h, state_.reaches_target = false;
      return;
    }
    state_.cap = system_.step_cap();
    state_.step = smaller(state_.h, state_.cap);
    state_.target = state_.t_end;
    if constexpr (TimedSystem<System>)
      state_.target = smaller(state_.t_end, system_.next_break(state_.clock.time()));
    // The stiff method interpolates with an error like its embedded estimate, larger than at the
    // end of a step: it ends a step at a time that it could not interpolate.
    if (dense() && state_.choice.stiff() && until_next < state_.step)
      state_.step = smaller(state_.step, larger(until_next, state_.dense_h));
    if (!dense() && state_.row < o.n_eval)
      state_.target = smaller(o.t_eval[state_.row], state_.target);
    if constexpr (TimeClockedSystem<System>)
      if (state_.row < o.n_eval)
        state_.step = step_control::fit(state_.step, system_.until(o.t_eval[state_.row]), kBeyond);
    const double left = state_.clock.until(state_.target);
    state_.reaches_target = state_.step >= left;
    if (state_.reaches_target)
      state_.step = left;
    else if (dense() && state_.step > 0.5 * left)
      state_.step = 0.5 * left; // two halves instead of a step and a sliver
  }

  // The error relative to the tolerance, negative where there is none; `factor` is by how much a
  // step may be longer than this one.
  KRF_HD double try_step(const FlowOptions &o, double &factor) {
    return with_stepper([&](auto &stepper) {
      const double tolerance = stepper.tolerance(o.rtol);
      const double error = stepper.attempt(state_.step, tolerance, o.atol, state_.norm);
      factor = stepper.step_factor(error);
      // Along a gradient flow the loss never increases.
      const bool falls = stepper.kChecksLoss || !(error >= 0.0 && error < 1.0) ||
                         system_.decreases(stepper.end_field());
      return falls ? error : -1.0;
    });
  }

  KRF_HD void reject(double h) {
    state_.h = h;
    // A constant step would fail again.
    state_.failures = state_.descending ? System::kMaxFailures + 1 : state_.failures + 1;
  }

  // Where the stiff method passes an evaluation time: whether its interpolant keeps to rtol.
  KRF_HD bool interpolant_is_accurate(const FlowOptions &o, double error, double until_next) {
    if (!dense() || !state_.choice.stiff() || o.n_eval == 0)
      return true;
    const double quality = larger(error, 1e-14) * stiff_.tolerance(o.rtol) / o.rtol;
    state_.dense_h = state_.step * step_control::kSafety * std::pow(quality, -0.25);
    return !(until_next < state_.step && quality > 1.0);
  }

  // With a clock of the system: the values at which results are wanted, or the end alone.
  KRF_HD static int target_count(const FlowOptions &o) { return o.n_eval > 0 ? o.n_eval : 1; }
  KRF_HD double target(const FlowOptions &o, int row) const {
    return o.n_eval > 0 ? smaller(o.t_eval[row], state_.clock_end) : state_.clock_end;
  }
  // Whether the interpolant keeps to rtol where the trial step meets the next value.  It is exact
  // at both ends of a step.
  KRF_HD KRF_APART bool clock_is_met(const FlowOptions &o, double error) {
    const double value = target(o, state_.row), quality = error * stiff_.tolerance(o.rtol) / o.rtol;
    if (!(quality > 1.0) || !system_.reaches(value))
      return true;
    const double x = system_.fraction_at(value);
    if (x * (1.0 + 2.0 * kBeyond) >= 1.0 || kSteepest * x * quality <= 1.0)
      return true;
    state_.h = state_.step * x * (1.0 + kBeyond);
    return false;
  }
  KRF_HD KRF_APART void interpolate_clock(const FlowOptions &o, Output &out) {
    while (state_.row < target_count(o) && system_.reaches(target(o, state_.row))) {
      const double x = system_.fraction_at(target(o, state_.row));
      stiff_.interpolate(x, state_.step, system_.dense);
      system_.keep_in_domain(x);
      system_.write_dense_row(out, state_.row++, x);
    }
  }

  // Whether the step stands.
  KRF_HD bool resolve_events(const FlowOptions &o, double &factor) {
    if (state_.descending) // sets its modes itself
      return true;
    const double *end = state_.choice.stiff() ? stiff_.end_field() : explicit_.end_field();
    const Resolution events = events_.resolve(state_.step, end, o.rtol, o.atol);
    factor = smaller(factor, events.step_factor);
    switch (events.verdict) {
    case Verdict::kAccept:
      return true;
    case Verdict::kRepeat:
      state_.h = events.h;
      break;
    case Verdict::kRefuse:
      reject(step_control::kFailed * state_.step);
      break;
    case Verdict::kRestart:
      stiff_.restart();
      state_.h = state_.step;
      break;
    case Verdict::kFail:
      state_.failures = System::kMaxFailures + 1;
      break;
    }
    return false;
  }

  KRF_HD KRF_APART void accept(const Problem &p, const FlowOptions &o, Output &out) {
    with_stepper([&](auto &stepper) { stepper.accept(state_.step); });
    if (state_.descending)
      state_.clock.set(descent_time(state_.step, out.n_steps, o, state_.row, state_.t_end));
    else if (state_.reaches_target)
      reach_target();
    else
      state_.clock.advance(state_.step);
    if (!dense())
      write_passed_times(o, out);
    system_.renew_basis(stiff_.history());
    state_.norm = system_.predictor_norm();
    state_.rest = system_.rest(p, stiff_.history(), progress(o, out));
  }

  // At a time at which the field changes its formula, what is known of the last step is void.
  KRF_HD void reach_target() {
    state_.clock.set(state_.target);
    if constexpr (TimedSystem<System>)
      if (state_.target < state_.t_end)
        stiff_.restart();
  }

  KRF_HD KRF_APART void choose_next(double factor) {
    factor = smaller(System::kMaxGrowth, larger(step_control::kLeastGrowth, factor));
    const bool stiff = state_.choice.stiff();
    if (StiffMethod::kKeepsMatrices && stiff && factor >= 1.0 &&
        factor < step_control::kLeastRefactoredGrowth && state_.step == state_.h)
      factor = 1.0;
    const double h = step_control::after_acceptance(state_.step, factor, state_.h, state_.cap);
    const double stiffness = !stiff ? explicit_.stiffness
                             : state_.choice.wants_eigenvalue()
                                 ? state_.step * stiff_.largest_eigenvalue()
                                 : -1.0;
    state_.h = smaller(h, state_.cap);
    if (state_.choice.accepted(state_.h, stiffness))
      stiff_.restart();
  }

  // The evaluation times within the trial step.
  KRF_HD KRF_APART void interpolate_times(const FlowOptions &o, Output &out) {
    while (state_.row < o.n_eval && o.t_eval[state_.row] <= state_.t_end &&
           state_.clock.until(o.t_eval[state_.row]) <= state_.step) {
      const double t = o.t_eval[state_.row];
      double x = state_.clock.until(t) / state_.step;
      if constexpr (TimedSystem<System>) {
        x = system_.own_fraction(x);
        system_.set_fraction(x);
      }
      if (state_.choice.stiff())
        stiff_.interpolate(x, state_.step, system_.dense);
      else
        explicit_.interpolate(x, state_.step, system_.dense);
      system_.keep_in_domain(x);
      system_.write_dense_row(out, state_.row++, t);
    }
  }

  // The evaluation times that the clock has reached.
  KRF_HD void write_passed_times(const FlowOptions &o, Output &out) {
    for (int &r = state_.row; r < o.n_eval && has_passed(o.t_eval[r]); ++r)
      system_.write_row(out, r, row_time(o.t_eval[r], state_.clock.time(), state_.descending));
  }
  KRF_HD bool has_passed(double value) {
    if constexpr (kClocked)
      return system_.passed(value);
    else
      return !(state_.clock.until(value) > 0.0);
  }

  KRF_HD void write_unstarted(const FlowOptions &o, Output &out) {
    const int rows = o.n_eval > 0 ? o.n_eval : 1;
    for (; state_.row < rows; ++state_.row)
      system_.write_unstarted(out, state_.row);
  }

  KRF_HD KRF_APART void finish(const FlowOptions &o, Output &out) {
    const int rows = o.n_eval > 0 ? o.n_eval : 1;
    // A state at rest is the state at all later times.  Times that were not reached otherwise get
    // the last state, with the time it belongs to.
    if (out.status == Status::kStationary || out.status == Status::kConverged ||
        state_.rest == Rest::kRounding)
      for (; state_.row < o.n_eval && o.t_eval[state_.row] <= o.t_max; ++state_.row)
        system_.write_row(out, state_.row, o.t_eval[state_.row]);
    for (; state_.row < rows; ++state_.row)
      system_.write_row(out, state_.row, kClocked ? -kInfinity : state_.clock.time());
    if (o.loss_offset > 0)
      team_.each(rows, [&](int r) { out.loss[r] += o.loss_offset; });
    // What is returned, rounded, must be what the status says.
    if (!kClocked && out.status == Status::kConverged && o.n_eval == 0 &&
        !(out.loss[0] <= kRounded * o.stop_loss))
      out.status = Status::kFailed;
    for (int r = 0; r < rows; ++r)
      if (!(out.loss[r] < kInfinity))
        out.status = Status::kFailed;
  }

  static constexpr double kBeyond = 3e-3;        // by which a step goes past a value of the clock
  static constexpr double kSteepest = 10.0;      // of the interpolant's error near the start, in x
  static constexpr double kRounded = 1.0 + 1e-6; // what rounding may add to a loss that converged

  TeamType &team_;
  System system_;
  StiffMethod stiff_;
  Dopri5<System> explicit_;
  GradientDescent<System> descent_;
  EventPolicy events_;
  RunState state_;
};

KRF_END_NAMESPACE
