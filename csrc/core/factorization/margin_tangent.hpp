// Solves with shift - J for the velocity F of a factorisation under a margin loss, without the part
// of J that leaves p alone: J = -2 B^T D B with B the Jacobian of the predictions and
// D = A - y p (y a)^T (margin/solver.hpp).
//
// By the tangent kernel K = B B^T: (shift + 2 B^T D B)^-1 b = (b - 2 B^T v) / shift, where
// (shift + 2 D K) v = D B b.
#pragma once

#include "../margin/solver.hpp"
#include "measurements.hpp"
#include "tangent_point.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class MarginTangent {
  using T = typename TeamT::Value;

public:
  TangentPoint<TeamT> at;

  KRF_HD MarginTangent(TeamT &team, Measurements<TeamT> &sensing, const double *y, int length,
                       Arena &arena)
      : at(team, length, arena), team_(team), sensing_(sensing), length_(length), ldn_(sensing.ldn),
        kernel_(arena.take(static_cast<long long>(ldn_) * ldn_)),
        solver_(team, y, sensing.n_samples, arena), pull_(arena.take(ldn_)),
        slope_(arena.take(ldn_)), samples_(arena.take(3LL * ldn_)) {}

  KRF_HD void start() { // solves touch the padding of samples
    fill(team_, 0.0, samples_, 3 * ldn_);
    at.start();
  }

  // For a step h, from the mean of three stages, and from y p and c at its start; false where the
  // matrices are not definite.
  KRF_HD bool prepare(double h, const double *stages, const double *pull, const double *c,
                      double sharpness) {
    at.take_mean(stages);
    at.step(h);
    sensing_.tangent_kernel(at.W, kernel_);
    scale(team_, 2.0, kernel_, ldn_ * sensing_.n_samples);
    copy(team_, pull, pull_, ldn_);
    team_.for_each(
        ldn_, [&](int i) { write(slope_ + i, read<T>(pull + i) * read<T>(c + i) * sharpness); });
    return solver_.prepare(kernel_, pull, c, sharpness, h);
  }

  KRF_HD void solve(double *b) {
    observe(b, samples_);
    solver_.solve(samples_);
    sensing_.subtract_adjoint(samples_, 2.0, at.W, b);
    at.divide(b);
  }
  // Three vectors: one for the real shift, and the parts of one for the complex.
  KRF_HD void solve_stages(double *b) {
    for (int j = 0; j < 3; ++j)
      observe(b + static_cast<long long>(j) * length_, samples_ + j * ldn_);
    solver_.solve_stages(samples_);
    for (int j = 0; j < 3; ++j)
      sensing_.subtract_adjoint(samples_ + j * ldn_, 2.0, at.W,
                                b + static_cast<long long>(j) * length_);
    at.divide(b);
    at.divide(b + length_, b + 2LL * length_);
  }

private:
  // out = D B b
  KRF_HD void observe(const double *b, double *out) {
    sensing_.linearise(at.W, b, out);
    const double mean = team_.dot(slope_, out, ldn_);
    team_.for_each(ldn_, [&](int i) {
      const T a = absolute(read<T>(slope_ + i));
      write(out + i, a * read<T>(out + i) - read<T>(pull_ + i) * mean);
    });
  }

  TeamT &team_;
  Measurements<TeamT> &sensing_;
  int length_, ldn_;
  double *kernel_; // 2 K
  MarginSolver<TeamT> solver_;
  double *pull_, *slope_; // y p, and y a
  double *samples_;       // three vectors
};

KRF_END_NAMESPACE
