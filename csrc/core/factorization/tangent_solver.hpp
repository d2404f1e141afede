// Solves with c I + 2 J^T J, J the Jacobian of the predictions at some factor W: by the tangent
// kernel J J^T, which has the size of the samples (Sherman-Morrison-Woodbury).  KernelT: see
// dense_kernel.hpp.
#pragma once

#include "../loss.hpp"
#include "dense_kernel.hpp"
#include "tangent_point.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, QuadraticLoss LossT, TangentKernel KernelT> class TangentSolver {
public:
  // Newton rate from which the tangent kernel is renewed.
  static constexpr double kSlowRate = 0.1;

  TangentPoint<TeamT> at;
  KernelT kernel;

  KRF_HD TangentSolver(TeamT &team, Measurements<TeamT> &sensing, int length, Arena &arena)
      : at(team, length, arena), kernel(team, sensing, arena), team_(team), sensing_(sensing),
        sample_(arena.take(sensing.ldn)), sample_i_(arena.take(sensing.ldn)) {}

  KRF_HD void start() { // solves touch the padding of samples
    fill(team_, 0.0, sample_, sensing_.ldn);
    fill(team_, 0.0, sample_i_, sensing_.ldn);
    at.start();
  }
  KRF_HD void forget() { kernel.forget(), fresh_ = false; }

  // Tangent kernel at the mean of three stages, where it is to be renewed, and factors for a step
  // h; false if they are not definite.
  KRF_HD bool prepare(double h, double newton_rate, const double *stages) {
    const bool cheap = kernel.factor_work() < 3.0 * (7.0 * sensing_.work() + kernel.solve_work());
    const bool renew = !fresh_ || cheap || newton_rate > kSlowRate;
    if (!renew && h == kernel.h_factored())
      return true;
    if (renew) {
      at.take_mean(stages);
      kernel.renew(at.W);
      fresh_ = true;
    }
    at.step(h);
    constexpr double c = LossT::kCurvature;
    const double kept = kernel.factor(h, radau5::kGamma / c, radau5::kAlpha / c, radau5::kBeta / c);
    if (!(kept > 0.0))
      kernel.forget();
    return kept > 0.0;
  }

  // b <- (gamma / h + 2 J^T J)^-1 b
  KRF_HD void solve(double *b) {
    sensing_.linearise(at.W, b, sample_);
    kernel.solve(sample_);
    sensing_.subtract_adjoint(sample_, 1.0, at.W, b);
    at.divide(b);
  }
  // b <- ((alpha + i beta) / h + 2 J^T J)^-1 b
  KRF_HD void solve(double *b_r, double *b_i) {
    sensing_.linearise(at.W, b_r, sample_);
    sensing_.linearise(at.W, b_i, sample_i_);
    kernel.solve(sample_, sample_i_);
    sensing_.subtract_adjoint(sample_, 1.0, at.W, b_r);
    sensing_.subtract_adjoint(sample_i_, 1.0, at.W, b_i);
    at.divide(b_r, b_i);
  }

private:
  TeamT &team_;
  Measurements<TeamT> &sensing_;
  double *sample_, *sample_i_; // n_samples each
  bool fresh_ = false;         // the kernel belongs to this run
};

KRF_END_NAMESPACE
