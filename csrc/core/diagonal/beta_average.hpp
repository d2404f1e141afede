// The integral of the predictor over time, by the quadrature of Radau's stages: of order five, and
// the one by which nu is the integral of the residual, so that y - X mean(beta) = nu / t.
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

template <Team TeamT> class BetaAverage {
  using T = typename TeamT::Value;

public:
  bool wanted;

  KRF_HD BetaAverage(const DiagonalProblem &p, int ldd, Arena &arena)
      : wanted(p.averaged), sum_(arena.take(ldd)) {}

  KRF_HD void start(TeamT &team, int ldd) { fill(team, 0.0, sum_, ldd); }

  // A step, whose stages move z by Z, three vectors.
  template <class StateT>
  KRF_HD KRF_APART void add(StateT &s, const double *Z, const DecayRun<TeamT> &decayed, double h) {
    time_ += h;
    s.team.for_each(s.ldd, [&](int i) {
      T sum = read<T>(sum_ + i);
      for (int j = 0; j < 3; ++j) {
        const T dz = read<T>(Z + static_cast<long long>(j) * s.ldd + i);
        auto good = dz < dz;
        const double share = h * radau5::weight(j) * decayed.decay.pace(decayed.step, j);
        sum += (share * decayed.of_stage[j].predictor) * s.mirror.evaluate(i, dz, good).beta;
      }
      write(sum_ + i, sum);
    });
  }

  // The mean up to t, at which the predictor is beta: what it was since the last step, too.
  KRF_HD void write_row(TeamT &team, const double *beta, int d, double t, double *out) const {
    team.each(d, [&](int i) {
      out[i] = t > 0 ? (sum_[i] + beta[i] * larger(0.0, t - time_)) / t : beta[i];
    });
  }

private:
  double *sum_;
  double time_ = 0; // up to which it is summed
};

KRF_END_NAMESPACE
