// A ReLU network in the middle of its gradient flow: weights, what every kink is doing, and the
// field with the kinks held as they are.  What happens at kinks is kinks.hpp's.
#pragma once

#include "../base/elementary.hpp"
#include "../ode/error_norm.hpp"
#include "sliding.hpp"

KRF_BEGIN_NAMESPACE

template <class Team_> class MlpSystem {
public:
  using Team = Team_;
  using Value = typename Team::Value;
  using T = Value;
  // Beyond so many samples the tangent kernel is not formed: explicit steps only.
  static constexpr int kMostExact = 1024;

  Team &team;
  int length; // of a vector of weights
  double *w, *field;

  KRF_HD MlpSystem(Team &team_, const MlpProblem &p, Arena &arena)
      : team(team_), net(team_, p, Sliding<Team>::most_rows(p.shape.n), arena),
        a_(net, exact_for(p.shape), arena), b_(net, exact_for(p.shape), arena),
        base(net.take_pass(arena)), trial(net.take_pass(arena)) {
    length = net.layout.length();
    w = arena.take(length);
    field = arena.take(length);
    w_trial = arena.take(length);
    field_trial = arena.take(length);
    shift_ = arena.take(length);
    remembered_ = arena.take(length);
    const int size = net.layout.size(net.n());
    mode = arena.take(size);
    mode_next = arena.take(size);
    theta = arena.take(size);
    theta_next = arena.take(size);
    work = arena.take(size);
    along_ = arena.take(padded(net.n()));
  }

  KRF_HD static bool exact_for(const MlpShape &s) {
    return s.loss == Loss::kSquared && s.units[s.depth] == 1 && s.n <= kMostExact;
  }
  KRF_HD bool exact() const { return exact_for(net.layout.s); }
  KRF_HD int samples() const { return net.n(); }
  KRF_HD int size() const { return net.layout.size(net.n()); }

  KRF_HD bool start(const MlpProblem &p) {
    team.for_each(length, [&](int i) { write(w + i, splat<T>(0.0)); });
    for_weights([&](long long flat, long long at) { w[at] = p.alpha * p.w0[flat]; });
    net.start(base);
    net.start(trial);
    a_.start();
    b_.start();
    team.for_each(size(), [&](int i) {
      write(theta + i, splat<T>(0.0));
      write(theta_next + i, splat<T>(0.0));
      write(mode_next + i, splat<T>(0.0));
    });
    net.forward(w, nullptr, base);
    team.each(size(), [&](int e) { mode[e] = hidden(e) && base.Z[e] > 0.0 ? 1.0 : 0.0; });
    const bool fine = evaluate_at(w, mode, sliding(), base, field);
    T sum = splat<T>(0.0);
    team.each(net.n(), [&](int i) { sum += one_lane<T>(p.y[i] * p.y[i]); });
    const double square = team.sum(sum);
    scale_ = net.layout.s.loss == Loss::kCrossEntropy ? std::sqrt(static_cast<double>(net.n()))
             : square > 0                             ? std::sqrt(square)
                                                      : std::sqrt(base.loss);
    return fine;
  }

  // -grad L at weights `at`, with the kinks as in `modes`; `pass` and `slide` keep what was found.
  KRF_HD KRF_APART bool evaluate_at(const double *at, const double *modes, Sliding<Team> &slide,
                                    Pass &pass, double *out) {
    net.forward(at, modes, pass);
    return differentiate(at, modes, slide, pass, out);
  }
  // The same after `forward`.
  KRF_HD KRF_APART bool differentiate(const double *at, const double *modes, Sliding<Team> &slide,
                                      Pass &pass, double *out) {
    net.evaluate_loss(pass);
    if (!(pass.loss < kInfinity))
      return false;
    net.backward(at, modes, pass);
    net.gradient(pass.features, net.layout.outputs() == 1 ? pass.dloss_df : nullptr, out, false);
    team.for_each(length, [&](int i) { write(out + i, -read<T>(out + i)); });
    return slide.project(at, modes, pass, out);
  }
  // At `shift` from the start of the step.
  KRF_HD bool evaluate(const double *shift, double *out) {
    team.for_each(length, [&](int i) { write(w_trial + i, read<T>(w + i) + read<T>(shift + i)); });
    return evaluate_at(w_trial, mode, sliding(), trial, out);
  }

  // What the exponential method asks for.
  KRF_HD const double *dloss_df() const { return base.dloss_df; }
  KRF_HD double *shift() const { return shift_; }
  KRF_HD KRF_APART void tangent_kernel(double *K) {
    sliding().prepare_base(w, mode, base);
    const int n = net.n(), ldn = padded(n);
    sliding().project_kernel(base.features, K);
    team.each(n * n, [&](int e) {
      const int i = e / n, j = e % n;
      if (i < j)
        K[static_cast<long long>(i) * ldn + j] = K[static_cast<long long>(j) * ldn + i];
    });
  }
  KRF_HD void project_gradient(const double *c, double *out) {
    sliding().gradient(base.features, c, out);
  }
  KRF_HD void project_along(const double *v, double *out) {
    sliding().along(base.features, v, out);
  }

  // The share of a unit's weights, in norm, that v is: the largest over the units. A hidden unit
  // has those that lead to it, and those that lead from it to the outputs: what is small beside
  // others may outgrow them later, and must keep its own relative accuracy until then.
  KRF_HD double share_of_weights(const double *v) {
    // What is zero, as a last layer may be, has no relative accuracy.
    const double floor = kSmallestUnit * kSmallestUnit * largest_unit();
    T worst = splat<T>(0.0);
    for (int copy = 0; copy < net.layout.s.copies; ++copy)
      for (int l = 0; l < net.layout.s.depth; ++l)
        team.each(units_of(l), [&](int unit) {
          const double part = unit_norm2(v, copy, l, unit);
          const double size = larger(unit_norm2(w, copy, l, unit), floor);
          worst = greater_of(worst, one_lane<T>(part > 0 ? part / size : 0.0));
        });
    return std::sqrt(team.max(worst));
  }

  // How far the weights are from where `remember` saw them, as such a share.
  KRF_HD void remember() {
    team.for_each(length, [&](int i) { write(remembered_ + i, read<T>(w + i)); });
  }
  KRF_HD double share_moved() {
    team.for_each(length,
                  [&](int i) { write(shift_ + i, read<T>(w + i) - read<T>(remembered_ + i)); });
    return share_of_weights(shift_);
  }

  KRF_HD ErrorNorm error_norm_of(const double *v) {
    ErrorNorm c;
    c.componentwise = share_of_weights(v);
    c.predictor = change_of_predictions(v);
    c.predictor_norm = scale_;
    // Close to interpolation the residual, not the target, says how exact a prediction must be.
    if (net.layout.s.loss == Loss::kSquared)
      c.predictor *= larger(1.0, relative_to_residual_);
    return c;
  }
  KRF_HD ErrorNorm error_norm_at_end(const double *v, const double *) { return error_norm_of(v); }
  // `rtol` times |y| in shares of 0.3 times the residual.
  KRF_HD void set_residual_weight(double rtol) {
    const double residual = larger(std::sqrt(base.loss), 1e-9 * scale_);
    relative_to_residual_ = rtol * scale_ / (0.3 * residual);
  }
  KRF_HD double prediction_scale() const { return scale_; }

  KRF_HD double change_of_predictions(const double *v) {
    const int n = net.n();
    if (net.layout.outputs() == 1) {
      net.along(base.features, v, sliding().same(), along_);
      T sum = splat<T>(0.0);
      team.each(n, [&](int i) { sum += one_lane<T>(along_[i] * along_[i]); });
      return std::sqrt(team.sum(sum));
    }
    net.rates(w, v, mode, base, work);
    T sum = splat<T>(0.0);
    const int last = net.layout.s.depth - 1, ldz = net.layout.ldz(last),
              outputs = net.layout.outputs();
    team.each(n * outputs, [&](int e) {
      double change = 0;
      for (int copy = 0; copy < net.layout.s.copies; ++copy)
        change +=
            net.layout.sign(copy) * work[net.layout.offset(copy, last, n) +
                                         static_cast<long long>(e / outputs) * ldz + e % outputs];
      sum += one_lane<T>(change * change);
    });
    return std::sqrt(team.sum(sum));
  }

  KRF_HD bool hidden(int e) const {
    const int inside = e % (net.n() * net.layout.zwidth);
    return inside < net.n() * net.layout.zpos[net.layout.s.depth - 1];
  }

  // What rounding may have made of trial.Z[e].
  KRF_HD double noise(int e) const {
    const int copy = net.layout.copy_of(e), l = net.layout.layer_of(e), ld = net.layout.ld(l);
    const double *a =
        net.input(trial.features, copy, l) + static_cast<long long>(net.layout.sample_of(e)) * ld;
    const double *row =
        w_trial + net.layout.weights(copy, l) + static_cast<long long>(net.layout.unit_of(e)) * ld;
    double sum = 0;
    for (int i = 0; i < ld; ++i)
      sum += std::fabs(a[i] * row[i]);
    return 8.0 * kEpsilon * sum;
  }

  KRF_HD Sliding<Team> &sliding() { return first_is_current_ ? a_ : b_; }
  KRF_HD Sliding<Team> &sliding_next() { return first_is_current_ ? b_ : a_; }

  // The trial becomes the state: weights w_trial, field field_trial.
  KRF_HD void accept() {
    swap(w, w_trial);
    swap(field, field_trial);
    swap(theta, theta_next);
    const Pass p = base;
    base = trial;
    trial = p;
  }
  // And so do the kinks' next modes.
  KRF_HD void accept_modes() {
    swap(mode, mode_next);
    first_is_current_ = !first_is_current_;
  }

  KRF_HD void write_row(MlpFlowOutput &out, int row, double t) {
    double *to = out.w + row * net.layout.flat_length();
    for_weights([&](long long flat, long long at) { to[flat] = w[at]; });
    team.once([&] { out.loss[row] = base.loss, out.t[row] = t; });
  }

  // Work of a step of the exponential method in steps of the explicit one.
  KRF_HD double cost_ratio() const {
    const double n = net.n(), pass = n * length;
    return (25.0 * pass + 9.0 * n * n * n + 2.0 * n * n * net.layout.zwidth) / (18.0 * pass);
  }

  Network<Team> net;

private:
  // Of the largest; smaller units are measured by this.
  static constexpr double kSmallestUnit = 1e-8;

  // The units that a layer's weights are told apart by: those it leads to, but where these are the
  // outputs, those it comes from.
  KRF_HD bool is_last(int l) const { return l + 1 == net.layout.s.depth; }
  KRF_HD int units_of(int l) const {
    return is_last(l) ? net.layout.s.units[l] + net.layout.s.bias : net.layout.s.units[l + 1];
  }
  KRF_HD double unit_norm2(const double *v, int copy, int l, int unit) const {
    const double *layer = v + net.layout.weights(copy, l);
    const int ld = net.layout.ld(l), rows = net.layout.s.units[l + 1];
    double sum = 0;
    if (is_last(l))
      for (int row = 0; row < rows; ++row)
        sum += square(layer[static_cast<long long>(row) * ld + unit]);
    else
      for (int i = 0; i < ld; ++i)
        sum += square(layer[static_cast<long long>(unit) * ld + i]);
    return sum;
  }
  KRF_HD double largest_unit() {
    T largest = splat<T>(0.0);
    for (int copy = 0; copy < net.layout.s.copies; ++copy)
      for (int l = 0; l < net.layout.s.depth; ++l)
        team.each(units_of(l), [&](int unit) {
          largest = greater_of(largest, one_lane<T>(unit_norm2(w, copy, l, unit)));
        });
    return team.max(largest);
  }

  // body(flat, at) for every weight, without and with padding.
  template <class Body> KRF_HD void for_weights(Body body) {
    for (int copy = 0; copy < net.layout.s.copies; ++copy)
      for (int l = 0; l < net.layout.s.depth; ++l) {
        const int columns = net.layout.s.units[l] + net.layout.s.bias, ld = net.layout.ld(l);
        const long long flat = net.layout.flat(copy, l), at = net.layout.weights(copy, l);
        team.each(net.layout.s.units[l + 1] * columns, [&](int e) {
          body(flat + e, at + static_cast<long long>(e / columns) * ld + e % columns);
        });
      }
  }

  KRF_HD static void swap(double *&a, double *&b) {
    double *c = a;
    a = b;
    b = c;
  }

  Sliding<Team> a_, b_;
  bool first_is_current_ = true;

public:
  Pass base, trial; // at w, at w_trial
  double *w_trial, *field_trial;
  double *mode, *mode_next, *theta, *theta_next, *work;

private:
  double *shift_, *remembered_, *along_;
  double scale_ = 0, relative_to_residual_ = 0;
};

KRF_END_NAMESPACE
