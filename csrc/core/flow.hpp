// Gradient flow of one diagonal network from its start to a time, a loss or a standstill.
#pragma once

#include "dopri5.hpp"
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
  return smaller(0.5 * std::pow(rtol, 2.0 / 3.0), 40.0 * rtol);
}
// Local errors add up over more steps the tighter they are: without the correction the explicit
// method reaches 3 rtol at 1e-8 and 11 rtol at 1e-10 early in a flow.
KRF_HD inline double dopri_tolerance(double rtol) {
  return rtol * smaller(1.0, std::pow(rtol * 1e6, 0.2));
}
KRF_HD inline double newton_tolerance(double rtol) {
  return smaller(0.03, 0.3 * rtol / radau_tolerance(rtol));
}
inline constexpr int kMaxFailures = 100; // in a row
} // namespace flow_rules

template <class Team, class Mirror> class FlowIntegrator {
  using T = typename Team::Value;
  Team &team_;
  DualState<Team, Mirror> s_;
  Radau5<Team, Mirror> radau_;
  Dopri5<Team, Mirror> dopri_;
  double *dense_z_, *dense_nu_, *w_plus_, *w_minus_, *power_vector_, *power_image_;
  double t_ = 0, t_low_ = 0; // two-double: after a plateau of 1e18 a jump of 1e-2 still counts

public:
  FlowIntegrator(Team &team, const DiagonalProblem &p, Arena &arena)
      : team_(team), s_(team, p, arena), radau_(s_, arena), dopri_(s_, arena),
        dense_z_(arena.take(s_.ldd)), dense_nu_(arena.take(s_.ldn)), w_plus_(arena.take(s_.ldd)),
        w_minus_(arena.take(s_.ldd)), power_vector_(arena.take(s_.ldn)),
        power_image_(arena.take(s_.ldn)) {}

  void run(const DiagonalProblem &p, const FlowOptions &o, FlowOutput &out) {
    using namespace flow_rules;
    out.n_steps = out.n_rhs = 0;
    int row = 0; // next evaluation time
    if (!s_.start(p)) {
      fill_zero(out, o);
      out.status = Status::kFailed;
      return;
    }
    radau_.start();
    radau_.newton_tolerance = newton_tolerance(o.rtol);
    const double t_end = o.n_eval > 0 ? smaller(o.t_eval[o.n_eval - 1], o.t_max) : o.t_max;
    MethodChoice choice(o.method == Method::kAuto, o.method == Method::kStiff, s_.n, s_.d);
    for (int i = 0; i < s_.ldn; ++i)
      power_vector_[i] = 0.0;

    bool still = s_.measure_velocity();
    double h = first_step(o.rtol);
    double beta_norm = s_.beta_norm();
    double dense_h = kInfinity; // longest step whose interpolant is as good as rtol asks
    int failures = 0;
    long long attempts = 0;
    out.status = Status::kFailed;
    while (row < o.n_eval && o.t_eval[row] <= 0.0)
      write_row(out, row++, nullptr, nullptr, 0.0);
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
      const double error = stiff ? radau_.attempt(step, tolerance, o.atol, beta_norm)
                                 : dopri_.attempt(step, tolerance, o.atol, beta_norm);
      if (!(error >= 0.0) || (!stiff && error < 1.0 && !s_.decreases(dopri_.end_residual()))) {
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
          radau_.interpolate(x, dense_z_, dense_nu_);
        else
          dopri_.interpolate(x, step, dense_z_, dense_nu_);
        keep_in_domain(x, stiff ? radau_.end_z() : dopri_.end_z());
        write_row(out, row, dense_z_, dense_nu_, o.t_eval[row]);
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
      beta_norm = s_.beta_norm();
      still = s_.measure_velocity();

      factor = smaller(kMaxGrowth, larger(0.2, factor));
      // Refactoring for a slightly longer step does not pay.
      if (stiff && factor >= 1.0 && factor < 1.2 && step == h)
        factor = 1.0;
      // A step cut short says nothing against h; one cut by the cap says little for it.
      if (step < cap && step < h)
        h = larger(h, step * factor);
      else
        h = step < h ? larger(step * factor, smaller(h, 4.0 * step)) : step * factor;

      const double stiffness = !stiff ? dopri_.stiffness
                               : choice.wants_eigenvalue() && s_.n_reflectors == 0
                                   ? step * largest_eigenvalue()
                                   : -1.0;
      h = smaller(h, cap);
      if (choice.accepted(h, stiffness))
        radau_.forget();
    }
    out.n_rhs = radau_.n_rhs + dopri_.n_rhs;
    if (out.status == Status::kStationary || out.status == Status::kConverged)
      while (row < o.n_eval && remaining(o.t_eval[row]) >= 0.0 && o.t_eval[row] <= o.t_max)
        write_row(out, row, nullptr, nullptr, o.t_eval[row]), ++row;
    // Times that were not reached show the last state, with the time it belongs to.
    const int rows = o.n_eval > 0 ? o.n_eval : 1;
    for (; row < rows; ++row)
      write_row(out, row, nullptr, nullptr, t_);
    if (o.loss_offset > 0)
      for (int r = 0; r < rows; ++r)
        out.loss[r] += o.loss_offset;
  }

private:
  double remaining(double t) const { return (t - t_) - t_low_; }

  void add_time(double h) {
    const double total = t_ + h;
    const double part = total - t_;
    t_low_ += (t_ - (total - part)) + (h - part);
    t_ = total;
  }

  // A polynomial between two points of the mirror's domain may leave it; the chord cannot.
  void keep_in_domain(double x, const double *end_z) {
    T bad = splat<T>(0.0);
    team_.for_each(s_.ldd, [&](int i) {
      const T dz = read<T>(dense_z_ + i);
      auto good = dz < dz;
      s_.mirror.evaluate(i, dz, good);
      bad = select(good, bad, splat<T>(1.0));
    });
    if (team_.max(bad) > 0.0)
      team_.for_each(s_.ldd, [&](int i) { write(dense_z_ + i, x * read<T>(end_z + i)); });
  }

  double first_step(double rtol) {
    T sum = splat<T>(0.0);
    team_.for_each(s_.ldd, [&](int i) {
      const T v = read<T>(s_.velocity + i);
      sum += read<T>(s_.slope + i) * v * v;
    });
    const double rate = team_.sum(sum) / larger(s_.loss(), 1e-300);
    return rate > 0 ? std::pow(rtol, 0.2) / rate : kInfinity;
  }

  // One step of the power method on the Gram matrix, from the vector of the step before.
  double largest_eigenvalue() {
    const double norm = std::sqrt(team_.dot(power_vector_, power_vector_, s_.ldn));
    if (!(norm > 0.0)) {
      for (int i = 0; i < s_.n; ++i)
        power_vector_[i] = 1.0 + 0.1 * (i % 7);
      return kInfinity;
    }
    team_.for_each(s_.ldn, [&](int i) {
      write(power_vector_ + i, read<T>(power_vector_ + i) * (1.0 / norm));
    });
    team_.template sweep<1>(s_.X, s_.ldn, s_.ldd, power_vector_, power_image_,
                            [&](int i, const T *z, T *o) { o[0] = z[0] * read<T>(s_.slope + i); });
    double *swap = power_vector_;
    power_vector_ = power_image_;
    power_image_ = swap;
    return std::sqrt(team_.dot(power_vector_, power_vector_, s_.ldn));
  }

  // State at position + dz (the position itself where dz is null).
  void write_row(FlowOutput &out, int row, const double *dz, const double *dnu, double t) {
    const int d = s_.d, n = s_.n;
    const T zero = splat<T>(0.0);
    // The trial arrays still belong to the end of the step; the scratch of the power method and
    // the weights are free here.
    double *beta = w_minus_;
    team_.for_each(s_.ldd, [&](int i) {
      auto good = zero < zero;
      write(beta + i, s_.mirror.evaluate(i, dz ? read<T>(dz + i) : zero, good).beta);
    });
    s_.subtract_prediction(beta, power_image_);
    out.loss[row] = team_.dot(power_image_, power_image_, s_.ldn);
    for (int i = 0; i < d; ++i)
      out.beta[static_cast<long long>(row) * d + i] = beta[i];
    team_.for_each(s_.ldd, [&](int i) {
      T plus, minus;
      s_.mirror.weights(i, dz ? read<T>(dz + i) : zero, plus, minus);
      write(w_plus_ + i, plus);
      write(w_minus_ + i, minus);
    });
    for (int i = 0; i < d; ++i) {
      out.w_plus[static_cast<long long>(row) * d + i] = w_plus_[i];
      out.w_minus[static_cast<long long>(row) * d + i] = w_minus_[i];
    }
    team_.for_each(s_.ldn, [&](int i) {
      write(power_image_ + i, read<T>(s_.nu + i) + (dnu ? read<T>(dnu + i) : zero));
    });
    s_.to_original(power_image_);
    for (int i = 0; i < n; ++i)
      out.nu[static_cast<long long>(row) * n + i] = power_image_[i];
    out.t[row] = t;
  }

  void fill_zero(FlowOutput &out, const FlowOptions &o) {
    const int rows = o.n_eval > 0 ? o.n_eval : 1;
    for (long long i = 0; i < static_cast<long long>(rows) * s_.d; ++i)
      out.beta[i] = out.w_plus[i] = out.w_minus[i] = 0.0;
    for (long long i = 0; i < static_cast<long long>(rows) * s_.n; ++i)
      out.nu[i] = 0.0;
    for (int r = 0; r < rows; ++r)
      out.loss[r] = s_.y_norm2 + o.loss_offset, out.t[r] = 0.0;
  }
};

template <class Team, class Mirror>
void integrate_run(Team &team, const DiagonalProblem &p, const FlowOptions &o, FlowOutput &out,
                   Arena &arena) {
  FlowIntegrator<Team, Mirror>(team, p, arena).run(p, o, out);
}

KRF_END_NAMESPACE
