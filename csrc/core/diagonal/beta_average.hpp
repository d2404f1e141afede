// The integral of the predictor over time, by the quadrature of Radau's stages: of order five, and
// the one by which nu is the integral of the residual, so that y - X mean(beta) = nu / t.
//
// Under weight decay at depth D > 2 the stages are not Radau's points of t, but of the methods' own
// time (weight_decay.hpp).  The rule there is the one that integrates the cubic in t through the
// start and the stages, which is exact for a predictor at rest and also of order five.
#pragma once

#include "decay_run.hpp"

KRF_BEGIN_NAMESPACE

namespace radau5 {
// (16 - sqrt 6) / 36, (16 + sqrt 6) / 36, 1 / 9
KRF_HD inline double weight(int j) {
  static constexpr double kWeights[3] = {0.37640306270046727505, 0.51248582618842161384,
                                         0.11111111111111111111};
  return kWeights[j];
}
} // namespace radau5

// Quadrature over a step of length one by the start and Radau's stages, at the fractions of t where
// they lie; and its difference from the rule without the second stage, of order three.
struct StageQuadrature {
  double weight[4], difference[4];

  KRF_HD explicit StageQuadrature(const DecayStep &step) {
    const double a = step.from_own(radau5::c(0)), b = step.from_own(radau5::c(1));
    // The denominators of the four Lagrange polynomials.
    const double at[4] = {-a * b, a * (a - b) * (a - 1.0), b * (b - a) * (b - 1.0),
                          (1.0 - a) * (1.0 - b)};
    const double sum = a + b, product = a * b, without_b = (2.0 * a - 1.0) / 12.0;
    const double integral[4] = {sum / 6.0 - product / 2.0 - 1.0 / 12.0, (2.0 * b - 1.0) / 12.0,
                                without_b, 0.25 - sum / 3.0 + product / 2.0};
    for (int j = 0; j < 4; ++j)
      weight[j] = integral[j] / at[j], difference[j] = without_b / at[j];
  }
};

template <Team TeamT> class BetaAverage {
  using T = typename TeamT::Value;

public:
  bool wanted;

  KRF_HD BetaAverage(const DiagonalProblem &p, int ldd, Arena &arena)
      : wanted(p.averaged), sum_(arena.take(ldd)) {}

  KRF_HD void start(TeamT &team, int ldd) { fill(team, 0.0, sum_, ldd); }

  // What a trial step to a predictor of norm `size` adds to its errors, as a norm of predictors: as
  // much as the tolerance allows where the integral over the step is as accurate as rtol asks.
  template <class StateT>
  KRF_HD KRF_APART double error(StateT &s, const double *Z, const DecayRun<TeamT> &decayed,
                                double size, double rtol) const {
    const StageQuadrature rule(decayed.step);
    T wrong = splat<T>(0.0), start = splat<T>(0.0);
    s.team.for_each(s.ldd, [&](int i) {
      const T difference = combine(s, i, Z, decayed, rule.difference);
      wrong += difference * difference;
      start += read<T>(s.here.beta + i) * read<T>(s.here.beta + i);
    });
    size = larger(size, decayed.of_stage[2].predictor * std::sqrt(s.team.sum(start)));
    if (!(size > 0.0))
      return 0.0;
    // Relative to the integral the rule of order three is wrong by h^3, and the one in use by h^5,
    // which is to be rtol; the control of steps takes errors to be of order h^4.
    const double allowed = kShare * std::pow(rtol, 0.6) * size;
    return size * radau5::step_tolerance(rtol) *
           std::pow(std::sqrt(s.team.sum(wrong)) / allowed, 4.0 / 3.0);
  }

  // A step, whose stages move z by Z, three vectors.
  template <class StateT>
  KRF_HD KRF_APART void add(StateT &s, const double *Z, const DecayRun<TeamT> &decayed, double h) {
    time_ += h;
    if (decayed.step.slowing > 0) {
      const StageQuadrature rule(decayed.step);
      s.team.for_each(s.ldd, [&](int i) {
        write(sum_ + i, read<T>(sum_ + i) + h * combine(s, i, Z, decayed, rule.weight));
      });
      return;
    }
    s.team.for_each(s.ldd, [&](int i) {
      T sum = read<T>(sum_ + i);
      for (int j = 0; j < 3; ++j) {
        const T dz = read<T>(Z + static_cast<long long>(j) * s.ldd + i);
        auto good = dz < dz;
        const double share = h * radau5::weight(j);
        sum += (share * decayed.of_stage[j].predictor) * s.mirror.evaluate(i, dz, good).beta;
      }
      write(sum_ + i, sum);
    });
  }

  // The mean up to t, at which the predictor is beta: what it was since the last step, too.
  KRF_HD void write_row(TeamT &team, const double *beta, int d, double t, double *out) const {
    team.each(d, [&](int i) {
      out[i] = time_ > 0 ? (sum_[i] + beta[i] * larger(0.0, t - time_)) / t : beta[i];
    });
  }

private:
  // The predictor at the start and at the stages, times four weights.
  template <class StateT>
  KRF_HD T combine(StateT &s, int i, const double *Z, const DecayRun<TeamT> &decayed,
                   const double weight[4]) const {
    T sum = weight[0] * read<T>(s.here.beta + i);
    for (int j = 0; j < 3; ++j) {
      const T dz = read<T>(Z + static_cast<long long>(j) * s.ldd + i);
      auto good = dz < dz;
      sum += (weight[j + 1] * decayed.of_stage[j].predictor) * s.mirror.evaluate(i, dz, good).beta;
    }
    return sum;
  }

  static constexpr double kShare = 0.3; // of rtol^(3/5), for the rule of order three
  double *sum_;
  double time_ = 0; // up to which it is summed
};

KRF_END_NAMESPACE
