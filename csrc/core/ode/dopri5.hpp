// Dormand-Prince 5(4) for any model family, first-same-as-last, with a quintic interpolant: both
// ends of the step, the fields there, and those at a quarter and at half of it, where Shampine's
// quartic says where the flow is.  Rows of the quartic alone were up to 31 rtol off.
//
// Tableau: Dormand & Prince, J. Comput. Appl. Math. 6 (1980); quartic: Shampine, Math. Comp. 46
// (1986).
#pragma once

#include "step_control.hpp"
#include "system.hpp"

KRF_BEGIN_NAMESPACE

// Functions, because device code cannot read a host array.
namespace dopri5 {
KRF_HD inline double a(int stage, int k) {
  static constexpr double kA[6][6] = {
      {1.0 / 5.0},
      {3.0 / 40.0, 9.0 / 40.0},
      {44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0},
      {19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0},
      {9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0},
      {35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0}};
  return kA[stage][k];
}
KRF_HD inline double c(int stage) {
  static constexpr double kC[7] = {0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0};
  return kC[stage];
}
KRF_HD inline double error(int k) {
  static constexpr double kError[7] = {
      71.0 / 57600.0,      0.0,          -71.0 / 16695.0, 71.0 / 1920.0,
      -17253.0 / 339200.0, 22.0 / 525.0, -1.0 / 40.0};
  return kError[k];
}
// Coefficients of the powers x, .., x^4 of the quartic, times h k.
KRF_HD inline double quartic(int k, int power) {
  static constexpr double kQuartic[7][4] = {
      {1.0, -8048581381.0 / 2820520608.0, 8663915743.0 / 2820520608.0,
       -12715105075.0 / 11282082432.0},
      {0.0, 0.0, 0.0, 0.0},
      {0.0, 131558114200.0 / 32700410799.0, -68118460800.0 / 10900136933.0,
       87487479700.0 / 32700410799.0},
      {0.0, -1754552775.0 / 470086768.0, 14199869525.0 / 1410260304.0,
       -10690763975.0 / 1880347072.0},
      {0.0, 127303824393.0 / 49829197408.0, -318862633887.0 / 49829197408.0,
       701980252875.0 / 199316789632.0},
      {0.0, -282668133.0 / 205662961.0, 2019193451.0 / 616988883.0, -1453857185.0 / 822651844.0},
      {0.0, 40617522.0 / 29380423.0, -110615467.0 / 29380423.0, 69997945.0 / 29380423.0}};
  return kQuartic[k][power];
}
// Fractions of the step at which the quintic has the field, besides its ends.
KRF_HD inline double inner(int j) { return j == 0 ? 0.25 : 0.5; }
// Coefficients of the powers x, .., x^5 of the quintic: times h and the fields at 0, 1/4, 1/2, 1,
// and times the step's change of the state.
KRF_HD inline double quintic(int j, int power) {
  static constexpr double kQuintic[5][5] = {{1.0, -19.0 / 4.0, 21.0 / 2.0, -43.0 / 4.0, 4.0},
                                            {0.0, 16.0 / 3.0, -32.0 / 3.0, 16.0 / 3.0, 0.0},
                                            {0.0, -7.0, 30.0, -39.0, 16.0},
                                            {0.0, -13.0 / 12.0, 31.0 / 6.0, -97.0 / 12.0, 4.0},
                                            {0.0, 15.0 / 2.0, -35.0, 105.0 / 2.0, -24.0}};
  return kQuintic[j][power];
}
// The tolerance of a step for errors of rtol at the end.  Local errors add up over more steps the
// tighter they are, and the steps of loose tolerances are so long that the embedded error comes out
// too small: without the correction the method reaches 11 rtol at 1e-10 early in a flow, and 18
// rtol at 1e-3 on the way off a saddle.
KRF_HD inline double step_tolerance(double rtol) {
  const double looser = std::pow(rtol * 1e6, 0.2);
  return rtol * smaller(looser, 1.0 / looser);
}
} // namespace dopri5

template <ExplicitSystem System> struct Dopri5 {
  static constexpr bool kChecksLoss = false;
  using T = typename System::Value;

  System &s;
  int length;
  double *k;   // seven fields
  double *end; // end of the step, less its start
  double *stage;
  double *defect;
  double stiffness = 0; // h times the largest eigenvalue, as seen between the last two stages
  long long n_rhs = 0;

  KRF_HD Dopri5(System &system, Arena &arena)
      : s(system), length(s.length), k(arena.take(7LL * length)), end(arena.take(length)),
        stage(arena.take(length)), defect(arena.take(length)), inner_(arena.take(2LL * length)) {}

  KRF_HD double tolerance(double rtol) const { return s.explicit_tolerance(rtol); }
  KRF_HD static double step_factor(double error) { return step_control::step_factor(error, 5.0); }

  KRF_HD KRF_APART double attempt(double h, double rtol, double atol, double norm_before) {
    inner_fields_ = Inner::kUnknown;
    copy(s.team, s.field, k, length);
    for (int j = 1; j < 7; ++j) {
      double *at = j == 6 ? end : stage;
      s.team.for_each(length, [&](int i) {
        T sum = splat<T>(0.0);
        for (int l = 0; l < j; ++l)
          sum += dopri5::a(j - 1, l) * read<T>(k + l * length + i);
        write(at + i, h * sum);
      });
      if (!evaluate_at(dopri5::c(j), at, k + j * length))
        return -1.0;
    }
    T slow = splat<T>(0.0), fast = splat<T>(0.0);
    s.team.for_each(length, [&](int i) {
      T sum = splat<T>(0.0);
      for (int l = 0; l < 7; ++l)
        sum += dopri5::error(l) * read<T>(k + l * length + i);
      write(defect + i, h * sum);
      const T dx = read<T>(end + i) - read<T>(stage + i);
      const T df = read<T>(k + 6 * length + i) - read<T>(k + 5 * length + i);
      slow += dx * dx;
      fast += df * df;
    });
    const double distance = s.team.sum(slow);
    stiffness = distance > 0 ? h * std::sqrt(s.team.sum(fast) / distance) : 0.0;
    return s.error_norm_at_end(defect, end_field()).relative_to(atol, rtol, norm_before);
  }

  KRF_HD const double *end_field() const { return k + 6 * length; }

  KRF_HD void accept(double) { s.advance(end, end_field()); }

  // The state at fraction x of the step just tried, relative to its start.
  KRF_HD void interpolate(double x, double h, double *out) {
    if (inner_fields_ == Inner::kUnknown) {
      inner_fields_ = evaluate_inner(h) ? Inner::kKnown : Inner::kNone;
      if constexpr (TimedSystem<System>)
        s.set_fraction(x);
    }
    if (inner_fields_ == Inner::kKnown)
      combine_quintic(x, h, out);
    else
      combine_quartic(x, h, out);
    s.interpolate_state(out);
  }

private:
  enum class Inner { kUnknown, kKnown, kNone };

  // False where one is not finite.  The trial end is evaluated again, because it is the system's
  // last evaluation that `accept` makes the state.
  KRF_HD KRF_APART bool evaluate_inner(double h) {
    bool finite = true;
    for (int j = 0; j < 2; ++j) {
      combine_quartic(dopri5::inner(j), h, stage);
      finite = evaluate_at(dopri5::inner(j), stage, inner_ + j * length) && finite;
    }
    return evaluate_at(1.0, end, k + 6LL * length) && finite;
  }
  KRF_HD bool evaluate_at(double fraction, const double *shift, double *out) {
    ++n_rhs;
    if constexpr (TimedSystem<System>)
      s.set_fraction(fraction);
    return s.evaluate(shift, out);
  }

  KRF_HD void combine_quartic(double x, double h, double *out) {
    double b[7];
    for (int j = 0; j < 7; ++j) {
      b[j] = 0;
      for (int power = 3; power >= 0; --power)
        b[j] = b[j] * x + dopri5::quartic(j, power);
      b[j] *= h * x;
    }
    s.team.for_each(length, [&](int i) {
      T sum = splat<T>(0.0);
      for (int j = 0; j < 7; ++j)
        sum += b[j] * read<T>(k + j * length + i);
      write(out + i, sum);
    });
  }

  KRF_HD void combine_quintic(double x, double h, double *out) {
    double b[5];
    for (int j = 0; j < 5; ++j) {
      b[j] = 0;
      for (int power = 4; power >= 0; --power)
        b[j] = b[j] * x + dopri5::quintic(j, power);
      b[j] *= j < 4 ? h * x : x;
    }
    s.team.for_each(length, [&](int i) {
      write(out + i, b[0] * read<T>(k + i) + b[1] * read<T>(inner_ + i) +
                         b[2] * read<T>(inner_ + length + i) + b[3] * read<T>(k + 6 * length + i) +
                         b[4] * read<T>(end + i));
    });
  }

  double *inner_; // fields within the step, where they are known
  Inner inner_fields_ = Inner::kUnknown;
};

KRF_END_NAMESPACE
