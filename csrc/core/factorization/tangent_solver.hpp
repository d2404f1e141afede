// Solves with c I + 2 J^T J, J the Jacobian of the predictions at some factor W: by the tangent
// kernel J J^T, which has the size of the samples (Sherman-Morrison-Woodbury).  KernelT: see
// dense_kernel.hpp.
#pragma once

#include "../loss.hpp"
#include "../ode/radau5.hpp"
#include "dense_kernel.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, QuadraticLoss LossT, TangentKernel KernelT> class TangentSolver {
  using T = typename TeamT::Value;

public:
  // Newton rate from which the tangent kernel is renewed.
  static constexpr double kSlowRate = 0.1;

  double *W; // where the tangent kernel was taken, of `length`
  KernelT kernel;

  KRF_HD TangentSolver(TeamT &team, Measurements<TeamT> &sensing, int length, Arena &arena)
      : W(arena.take(length)), kernel(team, sensing, arena), team_(team), sensing_(sensing),
        length_(length), sample_(arena.take(sensing.ldn)), sample_i_(arena.take(sensing.ldn)) {}

  KRF_HD void start() { // solves touch the padding of samples
    fill(team_, 0.0, sample_, sensing_.ldn);
    fill(team_, 0.0, sample_i_, sensing_.ldn);
    fill(team_, 0.0, W, length_);
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
      team_.for_each(length_, [&](int i) {
        write(W + i, (read<T>(stages + i) + read<T>(stages + length_ + i) +
                      read<T>(stages + 2 * length_ + i)) *
                         (1.0 / 3.0));
      });
      kernel.renew(W);
      fresh_ = true;
    }
    gamma_h_ = radau5::kGamma / h, alpha_h_ = radau5::kAlpha / h, beta_h_ = radau5::kBeta / h;
    constexpr double c = LossT::kCurvature;
    const double kept = kernel.factor(h, radau5::kGamma / c, radau5::kAlpha / c, radau5::kBeta / c);
    if (!(kept > 0.0))
      kernel.forget();
    return kept > 0.0;
  }

  // b <- (gamma / h + 2 J^T J)^-1 b
  KRF_HD void solve(double *b) {
    sensing_.linearise(W, b, sample_);
    kernel.solve(sample_);
    sensing_.subtract_adjoint(sample_, 1.0, W, b);
    scale(team_, 1.0 / gamma_h_, b, length_);
  }
  // b <- ((alpha + i beta) / h + 2 J^T J)^-1 b
  KRF_HD void solve(double *b_r, double *b_i) {
    sensing_.linearise(W, b_r, sample_);
    sensing_.linearise(W, b_i, sample_i_);
    kernel.solve(sample_, sample_i_);
    sensing_.subtract_adjoint(sample_, 1.0, W, b_r);
    sensing_.subtract_adjoint(sample_i_, 1.0, W, b_i);
    const double size2 = 1.0 / (alpha_h_ * alpha_h_ + beta_h_ * beta_h_);
    const double a = alpha_h_ * size2, b = beta_h_ * size2;
    team_.for_each(length_, [&](int i) {
      const T u = read<T>(b_r + i), v = read<T>(b_i + i);
      write(b_r + i, a * u + b * v);
      write(b_i + i, a * v - b * u);
    });
  }

private:
  TeamT &team_;
  Measurements<TeamT> &sensing_;
  int length_;
  double *sample_, *sample_i_; // n_samples each
  double gamma_h_ = 0, alpha_h_ = 0, beta_h_ = 0;
  bool fresh_ = false; // the kernel belongs to this run
};

KRF_END_NAMESPACE
