// Where a tangent kernel is taken, and division by the shifts of a step: what solves with
// shift + J^T D J share.
#pragma once

#include "../linalg/shifted_factors.hpp"
#include "../ode/radau5.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class TangentPoint {
  using T = typename TeamT::Value;

public:
  double *W; // of `length`

  KRF_HD TangentPoint(TeamT &team, int length, Arena &arena)
      : W(arena.take(length)), team_(team), length_(length) {}

  KRF_HD void start() { fill(team_, 0.0, W, length_); }
  KRF_HD void step(double h) {
    shift_ = {radau5::kGamma / h, radau5::kAlpha / h, radau5::kBeta / h};
  }

  // The mean of three stages.
  KRF_HD void take_mean(const double *stages) {
    team_.for_each(length_, [&](int i) {
      write(W + i, (read<T>(stages + i) + read<T>(stages + length_ + i) +
                    read<T>(stages + 2 * length_ + i)) *
                       (1.0 / 3.0));
    });
  }

  // b over the real shift, and over the complex.
  KRF_HD void divide(double *b) { scale(team_, 1.0 / shift_.real, b, length_); }
  KRF_HD void divide(double *b_r, double *b_i) {
    const double re = shift_.complex_r, im = shift_.complex_i;
    const double size2 = 1.0 / (re * re + im * im);
    const double a = re * size2, b = im * size2;
    team_.for_each(length_, [&](int i) {
      const T u = read<T>(b_r + i), v = read<T>(b_i + i);
      write(b_r + i, a * u + b * v);
      write(b_i + i, a * v - b * u);
    });
  }

private:
  TeamT &team_;
  int length_;
  Shifts shift_{};
};

KRF_END_NAMESPACE
