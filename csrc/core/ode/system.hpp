// What the step loop asks of a model family (its system), of a method and of events.
//
// A system is the model in the middle of its gradient flow: the state, its field (the velocity of
// the state), and what a change of the state means for the predictor.  Methods work with shifts:
// vectors of `length` doubles, relative to the state at the start of the step, so that a small
// change is not lost in a large state.
#pragma once

#include "../team.hpp"
#include "error_norm.hpp"
#include "standstill.hpp"

KRF_BEGIN_NAMESPACE

// team, length, field     the team, and the velocity of the state, `length` doubles
// start(problem)          the state at t = 0; false where it is outside the floating-point range
// set_accuracy(rtol)      before start
// begin_step(t, h)        before an attempt from time t
// loss()                  of the state
// rate()                  relative rate of change of the loss or of a part, for the first step
// predictor_norm()        what errors of the predictor are relative to
// step_cap()              the longest step over which the system is predictable
// decreases(end_field)    whether the loss at the trial end is not above that at the start
// rest(problem, history, progress)  whether, and why, the flow no longer moves
// advance(shift, end_field)  the trial end becomes the state
// renew_basis(history)    may choose new coordinates; history (null or three vectors) follows
// stiff_available(), starts_stiff(), cost_ratio()  for method = "auto": whether there are stiff
//                         steps, whether to begin with them, what one costs in explicit ones
// explicit_tolerance(rtol)  of an explicit step's error
// write_row(output, row, t), write_unstarted(output, row)  results
// kFirstStepPower         the first step is rtol^kFirstStepPower / rate()
// kMaxGrowth              of a step over the one before
// kMaxFailures            attempts in a row that may fail
template <class S>
concept FlowSystem =
    Team<typename S::TeamType> &&
    requires(S s, const typename S::Problem &p, typename S::Output &out, double x, double *v,
             const double *u, Progress now, typename S::TeamType &team, Arena &arena) {
      S(team, p, arena);
      { s.team };
      { s.length };
      { s.field };
      { s.start(p) };
      s.set_accuracy(x);
      s.begin_step(x, x);
      { s.loss() };
      { s.rate() };
      { s.predictor_norm() };
      { s.step_cap() };
      { s.decreases(u) };
      { s.rest(p, v, now) };
      s.advance(u, u);
      s.renew_basis(v);
      { s.stiff_available() };
      { s.starts_stiff() };
      { s.cost_ratio() };
      { s.explicit_tolerance(x) };
      s.write_row(out, 0, x);
      s.write_unstarted(out, 0);
      { S::kFirstStepPower };
      { S::kMaxGrowth };
      { S::kMaxFailures };
    };

// evaluate(shift, out)    the field at the state plus a shift, which becomes the trial end; false
//                         where it is not finite
// error_norm_at_end(v, end_field)  the size of v, as a change of the trial end
template <class S>
concept ExplicitSystem = FlowSystem<S> && requires(S s, double *v, const double *u) {
  { s.evaluate(u, v) };
  { s.error_norm_at_end(u, u) };
};

// set_fraction(x)         `evaluate` and dense rows are at this fraction of the step from here on,
//                         of the time that the methods see; own_fraction(x) of a fraction of t
// ends_at_times()         whether steps end at evaluation times, though rows could be interpolated
// loss_counts(t)          whether the run may end at t because its loss is small
// next_break(t)           the next time at which the field changes its formula, or infinity
template <class S>
concept TimedSystem = FlowSystem<S> && requires(S s) {
  s.set_fraction(0.5);
  { s.own_fraction(0.5) };
  { s.next_break(0.0) };
  { s.ends_at_times() };
  { s.loss_counts(0.0) };
};

// A system with a clock of its own, which shows other values than the time of the methods: results
// and the end of a run are at values of it, found within the step that passes them.
// passed(value)           whether the clock of the state shows at least this
// reaches(value)          the same of the trial end
// fraction_at(value)      at which fraction of the trial step it shows the value
template <class S>
concept ClockedSystem = FlowSystem<S> && requires(S s) {
  { s.passed(1.0) };
  { s.reaches(1.0) };
  { s.fraction_at(1.0) };
};

// A clocked system whose clock is a function of time, so that steps can end where it shows a value.
// until(value)            how long until then
template <class S>
concept TimeClockedSystem = ClockedSystem<S> && requires(S s) {
  { s.until(1.0) };
};

// dense                   room for the shift at a time within the last step
// interpolate_state(shift)  what belongs to `dense`, after an explicit step
// keep_in_domain(x)       `dense`, at fraction x of the step, where interpolation left the domain
// write_dense_row(output, row, t)
template <class S>
concept DenseSystem = ExplicitSystem<S> && requires(S s, typename S::Output &out, const double *u) {
  { s.dense };
  s.interpolate_state(u);
  s.keep_in_domain(0.5);
  s.write_dense_row(out, 0, 1.0);
};

// For Radau IIA with three stages N_j, shifts one after the other; the Jacobian is the system's.
// start_stiff()           nothing of it is known
// move_stages(N, V, add, F, change)  the stages are N, which moved by V (from zero, unless `add`):
//                         fields F there, and the size of V; false where a field is not finite
// prepare(h, rate, history, basis_changed)  for solves with a step h; `rate` of the last Newton
//                         iteration; false where the matrices are not definite
// solve(b), solve_stages(b)  b <- (gamma / h - J)^-1 b; for three vectors, the transformed stages
// interpolate_stages(w)   what belongs to dense = sum_j w_j N_j
// largest_eigenvalue()    an estimate, of -J; negative where none is known
// kNewtonShare            of the tolerance, that Newton's iteration may leave
template <class S>
concept StiffSystem =
    DenseSystem<S> && requires(S s, double *v, const double *u, ErrorNorm &change, bool &changed) {
      s.start_stiff();
      { s.move_stages(u, u, true, v, change) };
      { s.prepare(1.0, 0.5, v, changed) };
      s.solve(v);
      s.solve_stages(v);
      s.interpolate_stages(u);
      { s.largest_eigenvalue() };
      { S::kNewtonShare };
    };

// For exponential Runge-Kutta: the field is -J' dloss_df, J the Jacobian of the predictions.
// samples()               how many predictions, zero where the method is not available
// tangent_kernel(K)       K = J J' at the start of the step
// project_gradient(c, out), project_along(v, out)  out = J' c, and out = J v
// dloss_df(), shift()     dL/df at the start; room for a shift
// error_norm_of(v)        the size of v, as a change of the state at the start
template <class S>
concept ExponentialSystem = ExplicitSystem<S> && requires(S s, double *v, const double *u) {
  { s.samples() };
  s.tangent_kernel(v);
  s.project_gradient(u, v);
  s.project_along(u, v);
  { s.dloss_df() };
  { s.shift() };
  { s.error_norm_of(u) };
};

// descend(h)              the trial end is the state + h field; false where it is not finite
// accept_descent()        the trial end becomes the state
// and problem.step_size
template <class S>
concept DescentSystem = FlowSystem<S> && requires(S s, const typename S::Problem &p) {
  { s.descend(1.0) };
  s.accept_descent();
  { p.step_size };
};

// attempt(h, tolerance, atol, norm)  a trial step; its error in units of the tolerance, negative
//                         where it failed
// accept(h)               the trial end becomes the system's state
// tolerance(rtol)         of the error of one step
// step_factor(error)      how much longer than this one a step may be
// end_field()             the field at the trial end
// kChecksLoss             whether an attempt that succeeds has seen the loss fall, or need not
// n_rhs                   fields evaluated so far
template <class M>
concept Stepper = requires(M method, double x) {
  { method.attempt(x, x, x, x) };
  method.accept(x);
  { method.tolerance(x) };
  { method.step_factor(x) };
  { method.end_field() };
  { M::kChecksLoss };
  { method.n_rhs };
};

// A method for stiff steps has, besides:
// start(rtol)             once a run
// restart()               the state has changed without it
// history()               vectors that it keeps between steps, or null
// largest_eigenvalue()    of minus the Jacobian; negative where none is known
// kKeepsMatrices          whether steps of equal length share work
template <class M>
concept StiffStepper = Stepper<M> && requires(M method, double x) {
  method.start(x);
  method.restart();
  { method.history() };
  { method.largest_eigenvalue() };
  { M::kKeepsMatrices };
};

// resolve(step, end_field, rtol, atol)  what becomes of a trial step whose error is small enough
template <class E>
concept Events = requires(E events, double x, const double *u) {
  { events.resolve(x, u, x, x).verdict };
  { events.n_rhs };
};

KRF_END_NAMESPACE
