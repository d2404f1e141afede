// A ReLU network in the middle of its gradient flow: weights, what every kink is doing, and the
// field with the kinks held as they are.  Kinks that a step crosses are handled in kinks.hpp.
#pragma once

#include "../ode/system.hpp"
#include "../team.hpp"
#include "sliding.hpp"
#include "weight_rest.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class MlpSystem {
public:
  using TeamType = TeamT;
  using Value = typename TeamT::Value;
  using T = Value;
  using Problem = MlpProblem;
  using Output = MlpFlowOutput;

  static constexpr double kFirstStepPower = 0.25, kMaxGrowth = 5.0;
  static constexpr int kMaxFailures = 60;
  // Beyond so many samples the tangent kernel is not formed: explicit steps only.
  static constexpr int kMostKernel = 1024;

  TeamT &team;
  Network<TeamT> net;
  int length; // of a vector of weights
  double *w, *field;
  Pass base, trial; // at w, at w_trial
  double *w_trial, *field_trial;
  // Of every hidden unit and sample (network.hpp, sliding.hpp), now and at the trial end.
  double *mode, *mode_next, *theta, *theta_next;
  double *work; // as large

  KRF_HD MlpSystem(TeamT &team_, const MlpProblem &p, Arena &arena)
      : team(team_), net(team_, p, Sliding<TeamT>::most_rows(MlpLayout(p.shape)), arena),
        length(net.layout.length()), w(arena.take(length)), field(arena.take(length)),
        base(net.take_pass(arena)), trial(net.take_pass(arena)), w_trial(arena.take(length)),
        field_trial(arena.take(length)), mode(arena.take(size())), mode_next(arena.take(size())),
        theta(arena.take(size())), theta_next(arena.take(size())), work(arena.take(size())),
        a_(net, has_kernel(p.shape), arena), b_(net, has_kernel(p.shape), arena), shares_(net),
        rest_(net, arena), shift_(arena.take(length)), along_(arena.take(padded(net.n()))) {}

  KRF_HD static bool has_kernel(const MlpShape &s) {
    return s.loss == LossKind::kSquared && s.units[s.depth] == 1 && s.n <= kMostKernel;
  }
  // Whether the tangent kernel is there for stiff steps.
  KRF_HD bool stiff_available() const { return has_kernel(net.layout.s); }
  KRF_HD bool starts_stiff() const { return cost_ratio() < 3.0; }
  KRF_HD int n() const { return net.n(); }
  KRF_HD int samples() const { return stiff_available() ? n() : 0; }
  KRF_HD double loss() const { return base.loss; }
  KRF_HD double rate() { return shares_.largest_share(field, w); }
  KRF_HD double predictor_norm() const { return scale_; }
  KRF_HD static double step_cap() { return kInfinity; }
  KRF_HD static double explicit_tolerance(double rtol) { return rtol; }
  KRF_HD static void renew_basis(double *) {}
  KRF_HD void set_accuracy(double rtol) { rtol_ = rtol; }
  // Close to interpolation the residual, not the target, says how exact a prediction must be.
  KRF_HD void begin_step(double, double) {
    const double residual = larger(std::sqrt(base.loss), 1e-9 * scale_);
    residual_weight_ = larger(1.0, rtol_ * scale_ / (kResidualShare * residual));
  }
  KRF_HD bool decreases(const double *) const {
    return trial.loss <= base.loss * (1.0 + 1e-6) + 1e-18 * square(scale_);
  }
  KRF_HD int size() const { return net.layout.size(net.n()); }

  KRF_HD bool start(const MlpProblem &p) {
    fill(team, 0.0, w, length);
    for_weights([&](long long flat, long long at) { w[at] = p.alpha * p.w0[flat]; });
    net.start(base);
    net.start(trial);
    a_.start();
    b_.start();
    fill(team, 0.0, theta, size());
    fill(team, 0.0, theta_next, size());
    fill(team, 0.0, mode_next, size());
    net.forward(w, nullptr, base);
    team.each(size(), [&](int e) { mode[e] = hidden(e) && base.Z[e] > 0.0 ? 1.0 : 0.0; });
    const bool fine = evaluate_at(w, mode, sliding(), base, field);
    const double scale2 = with_loss(net.layout.s.loss, [&](auto loss) {
      T sum = splat<T>(0.0);
      team.each(net.n(), [&](int i) { sum += one_lane<T>(loss.prediction_scale2(p.y[i])); });
      return team.sum(sum);
    });
    scale_ = std::sqrt(scale2 > 0 ? scale2 : base.loss);
    return fine;
  }

  // -grad L at weights `at`, with the kinks as in `modes`; `pass` and `slide` keep what was found.
  KRF_HD KRF_APART bool evaluate_at(const double *at, const double *modes, Sliding<TeamT> &slide,
                                    Pass &pass, double *out) {
    net.forward(at, modes, pass);
    return differentiate(at, modes, slide, pass, out);
  }
  // The same after `forward`.
  KRF_HD KRF_APART bool differentiate(const double *at, const double *modes, Sliding<TeamT> &slide,
                                      Pass &pass, double *out) {
    net.evaluate_loss(pass);
    if (!(pass.loss < kInfinity))
      return false;
    net.backward(at, modes, pass);
    net.gradient(pass.features, net.layout.outputs() == 1 ? pass.dloss_df : nullptr, out, false);
    scale(team, -1.0, out, length);
    return slide.project(at, modes, pass, out);
  }
  // At `shift` from the start of the step.
  KRF_HD bool evaluate(const double *shift, double *out) {
    add(team, w, shift, w_trial, length);
    return evaluate_at(w_trial, mode, sliding(), trial, out);
  }

  // What the exponential method asks for.
  KRF_HD const double *dloss_df() const { return base.dloss_df; }
  KRF_HD double *shift() const { return shift_; }
  KRF_HD KRF_APART void tangent_kernel(double *K) {
    sliding().prepare_base(w, mode, base);
    const int n = net.n();
    const Matrix kernel{K, padded(n)};
    sliding().project_kernel(base.features, kernel);
    team.each(n * n, [&](int e) {
      const int i = e / n, j = e % n;
      if (i < j)
        kernel(i, j) = kernel(j, i);
    });
  }
  KRF_HD void project_gradient(const double *c, double *out) {
    sliding().gradient(base.features, c, out);
  }
  KRF_HD void project_along(const double *v, double *out) {
    sliding().along(base.features, v, out);
  }

  KRF_HD ErrorNorm error_norm_of(const double *v) {
    ErrorNorm c;
    c.componentwise = shares_.largest_share(v, w);
    c.predictor = change_of_predictions(v);
    c.predictor_norm = scale_;
    if (net.layout.s.loss == LossKind::kSquared)
      c.predictor *= residual_weight_;
    return c;
  }
  KRF_HD ErrorNorm error_norm_at_end(const double *v, const double *) { return error_norm_of(v); }
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
    const int last = net.layout.s.depth - 1, outputs = net.layout.outputs();
    team.each(n * outputs, [&](int e) {
      double change = 0;
      for (int copy = 0; copy < net.layout.s.copies; ++copy)
        change +=
            net.layout.sign(copy) * net.layout.layer(work, copy, last, n)(e / outputs, e % outputs);
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
        ConstMatrix{net.input(trial.features, copy, l), ld}.row(net.layout.sample_of(e));
    const double *row = net.layout.layer_weights(w_trial, copy, l).row(net.layout.unit_of(e));
    double sum = 0;
    for (int i = 0; i < ld; ++i)
      sum += std::fabs(a[i] * row[i]);
    return 8.0 * kEpsilon * sum;
  }

  KRF_HD Sliding<TeamT> &sliding() { return first_is_current_ ? a_ : b_; }
  KRF_HD Sliding<TeamT> &sliding_next() { return first_is_current_ ? b_ : a_; }

  // The trial becomes the state: weights w_trial, field field_trial.
  KRF_HD void accept() {
    swap(w, w_trial);
    swap(field, field_trial);
    swap(theta, theta_next);
    swap(base, trial);
  }
  // The events have put the field of the trial end in field_trial.
  KRF_HD void advance(const double *, const double *) { accept(); }
  // And so do the kinks' next modes.
  KRF_HD void accept_modes() {
    swap(mode, mode_next);
    first_is_current_ = !first_is_current_;
  }

  // A step of gradient descent: modes follow the signs of Z, and nothing slides.
  KRF_HD bool descend(double h) {
    team.for_each(length,
                  [&](int i) { write(w_trial + i, read<T>(w + i) + h * read<T>(field + i)); });
    net.forward(w_trial, nullptr, trial);
    team.each(size(), [&](int e) { mode_next[e] = hidden(e) && trial.Z[e] > 0.0 ? 1.0 : 0.0; });
    return differentiate(w_trial, mode_next, sliding_next(), trial, field_trial);
  }
  KRF_HD void accept_descent() {
    accept();
    accept_modes();
  }

  // A local minimum, or nothing left alive.
  KRF_HD Rest rest(const MlpProblem &, double *, const Progress &now) {
    if (now.descending)
      return rest_.descent_rests(now, w, field, base.loss) ? Rest::kStationary : Rest::kNone;
    const bool rests = rest_.flow_rests(now, w, field, base.loss);
    if (!rests && now.steps > 0)
      return Rest::kNone;
    // Large parts of predictions may cancel, as of an antisymmetric start.
    const double noise =
        net.layout.s.loss == LossKind::kSquared && scale_ > 0.0 ? rounding_of_predictions() : 0.0;
    const double allowed = kPromised * now.rtol * scale_, residual = std::sqrt(base.loss);
    if (noise > allowed)
      return Rest::kLost;
    if (!rests)
      return Rest::kNone;
    if (!is_cancelled(residual, noise, kUnresolved, scale_))
      return Rest::kStationary;
    return residual > allowed ? Rest::kLost : Rest::kRounding;
  }

  KRF_HD void write_unstarted(MlpFlowOutput &out, int row) { write_row(out, row, 0.0); }
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

private:
  // The predictions' errors may be rtol |y|, and this share of the residual.
  static constexpr double kResidualShare = 0.3;
  static constexpr double kUnresolved = 32.0; // is_cancelled, for a noise that is a mean
  static constexpr double kPromised = 10.0;   // the error of predictions that is allowed, in rtol

  // The norm of the rounding that the predictions have from the products of the last layer.
  KRF_HD KRF_APART double rounding_of_predictions() {
    const int last = net.layout.s.depth - 1, ld = net.layout.ld(last);
    const int outputs = net.layout.outputs();
    T sum = splat<T>(0.0);
    team.each(net.n() * outputs, [&](int e) {
      double squares = 0;
      for (int copy = 0; copy < net.layout.s.copies; ++copy) {
        const double *a = ConstMatrix{net.input(base.features, copy, last), ld}.row(e / outputs);
        const double *row = net.layout.layer_weights(w, copy, last).row(e % outputs);
        for (int i = 0; i < ld; ++i)
          squares += square(a[i] * row[i]);
      }
      sum += one_lane<T>(squares);
    });
    return kEpsilon * std::sqrt(team.sum(sum));
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

  Sliding<TeamT> a_, b_; // of `mode` and of `mode_next`, in turn
  bool first_is_current_ = true;
  UnitShares<TeamT> shares_;
  WeightRest<TeamT> rest_;
  double *shift_, *along_;
  double scale_ = 0; // of the predictions
  double rtol_ = 0, residual_weight_ = 1.0;
};

KRF_END_NAMESPACE
