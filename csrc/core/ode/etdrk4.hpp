// Exponential Runge-Kutta of order four for gradient flows of a sum of squares.
//
// With the linear part L = -2 J^T J of a step's start, the flow is L plus what is nonlinear, and
// the stages of Krogstad's ETDRK4 (J. Comput. Phys. 203, 2005) treat L exactly: in the kernel
// regime, where J is constant, steps can be arbitrarily long.  L has the rank of the N samples, so
// its phi functions are those of the tangent kernel K = J J^T:
//
//     phi_k(h L) v = v / k! - 2 h J^T phi_{k+1}(-2 h K) J v.
//
// Vectors are kept as p + J^T c, with c in the eigenbasis of K. Only vectors of weights are large.
// The error estimate compares the last stage with the field at the end of the step (first same as
// last), as for the classical method, to which all this reduces for K = 0.
#pragma once

#include "../linalg/phi_functions.hpp"
#include "../linalg/symmetric_eigen.hpp"
#include "step_control.hpp"
#include "system.hpp"

KRF_BEGIN_NAMESPACE

template <ExponentialSystem System> struct Etdrk4 {
  static constexpr bool kChecksLoss = false, kKeepsMatrices = false;
  using T = typename System::Value;
  using TeamType = typename System::TeamType;

  System &s;
  int length, n, ldn;
  long long n_rhs = 0;

  KRF_HD Etdrk4(System &system, Arena &arena)
      : s(system), length(system.length), n(system.samples()), ldn(padded(n)),
        kernel_(take_matrix(arena, n, ldn)), eigen_(system.team, n, arena),
        fields_(n ? length : 0, arena), rows_(ldn, arena), value_(arena.take(ldn)) {}

  KRF_HD static void start(double) {}
  KRF_HD void restart() { known_ = false; }
  KRF_HD static double *history() { return nullptr; }
  KRF_HD const double *end_field() const { return fields_.end; }
  // Of a step, for errors of rtol at the end. In stiff flows the error of a step is no smaller than
  // its estimate (the stiff order is three), and errors add up over rtol^(-1/4) steps: without the
  // correction predictions are off by 17 rtol and weights by 73 at 1e-11.
  KRF_HD static double tolerance(double rtol) { return rtol * smaller(1.0, std::cbrt(rtol * 1e6)); }
  KRF_HD static double step_factor(double error) { return step_control::step_factor(error, 4.0); }
  KRF_HD void accept(double) {
    s.advance(nullptr, fields_.end);
    restart();
  }
  // Of the flow's linear part; known after an attempt.
  KRF_HD double largest_eigenvalue() const {
    double top = 0;
    for (int i = 0; i < n; ++i)
      top = larger(top, eigen_.value[i]);
    s.team.sync();
    return 2.0 * top;
  }

  KRF_HD KRF_APART double attempt(double h, double rtol, double atol, double norm_before) {
    if ((!known_ && !decompose()) || !take_stages(h))
      return -1.0;
    return s.error_norm_of(estimate_error(h)).relative_to(atol, rtol, norm_before);
  }

private:
  struct Fields { // at the stages, and at the trial end
    double *G2, *G3, *G4, *end;
    KRF_HD Fields(int length, Arena &arena)
        : G2(arena.take(length)), G3(arena.take(length)), G4(arena.take(length)),
          end(arena.take(length)) {}
  };
  struct Rows { // of the samples, in the eigenbasis
    static constexpr int kCount = 8;
    double *rho;          // dL/df
    double *g2, *g3, *g4; // J times the fields
    double *d2, *d3, *d4; // what the nonlinear part of a stage is made of
    double *c;            // of J' in a stage
    KRF_HD Rows(int ldn, Arena &arena)
        : rho(arena.take(kCount * ldn)), g2(rho + ldn), g3(rho + 2 * ldn), g4(rho + 3 * ldn),
          d2(rho + 4 * ldn), d3(rho + 5 * ldn), d4(rho + 6 * ldn), c(rho + 7 * ldn) {}
  };

  KRF_HD KRF_APART bool take_stages(double h) {
    auto [G2, G3, G4, end] = fields_;
    auto [rho, g2, g3, g4, d2, d3, d4, c] = rows_;
    // rho: dL/df; the field at the start is -J^T rho.
    to_basis(s.dloss_df(), rho);
    each([&](int i) { c[i] = -0.5 * h * phi(1, h * lambda(i)) * rho[i]; });
    if (!stage(c, nullptr, 0, nullptr, 0, nullptr, 0, G2, g2))
      return false;
    each([&](int i) {
      const double l = lambda(i);
      d2[i] = rho[i] + 2.0 * l * c[i];
      c[i] += 0.5 * h * d2[i] - h * h * phi(3, h * l) * (g2[i] + l * d2[i]);
    });
    if (!stage(c, G2, 0.5 * h, nullptr, 0, nullptr, 0, G3, g3))
      return false;
    each([&](int i) {
      const double l = lambda(i), x = 2.0 * h * l;
      d3[i] = rho[i] + 2.0 * (0.5 * h * g2[i] + l * c[i]);
      c[i] = -h * phi(1, x) * rho[i] + h * d3[i] - 4.0 * h * h * phi(3, x) * (g3[i] + l * d3[i]);
    });
    if (!stage(c, G3, h, nullptr, 0, nullptr, 0, G4, g4))
      return false;
    each([&](int i) {
      const double l = lambda(i), x = 2.0 * h * l, p3 = phi(3, x), p4 = phi(4, x);
      d4[i] = rho[i] + 2.0 * (h * g3[i] + l * c[i]);
      c[i] = -h * phi(1, x) * rho[i] + h / 3.0 * (d2[i] + d3[i]) + h / 6.0 * d4[i] -
             2.0 * h * h *
                 ((2.0 * p3 - 4.0 * p4) * (g2[i] + g3[i] + l * (d2[i] + d3[i])) +
                  (4.0 * p4 - p3) * (g4[i] + l * d4[i]));
      // What the error needs of g2, whose place g5 takes, goes to d2.
      d2[i] = rho[i] + 2.0 * (h / 3.0 * (g2[i] + g3[i]) + h / 6.0 * g4[i] + l * c[i]);
    });
    return stage(c, G2, h / 3.0, G3, h / 3.0, G4, h / 6.0, end, g2);
  }

  // The last stage against the field at the end, in the place of G3.
  KRF_HD double *estimate_error(double h) {
    const double *g5 = rows_.g2, *d5 = rows_.d2, *g4 = rows_.g4, *d4 = rows_.d4;
    double *c = rows_.c, *error = fields_.G3;
    each([&](int i) {
      const double l = lambda(i), x = 2.0 * h * l;
      const double d = d4[i] - d5[i];
      c[i] = h / 6.0 * d - 2.0 * h * h * (4.0 * phi(4, x) - phi(3, x)) * (g4[i] - g5[i] + l * d);
    });
    from_basis(c, value_);
    s.project_gradient(value_, error);
    s.team.for_each(length, [&](int i) {
      write(error + i,
            read<T>(error + i) + h / 6.0 * (read<T>(fields_.G4 + i) - read<T>(fields_.end + i)));
    });
    return error;
  }

  KRF_HD double lambda(int i) const { return larger(eigen_.value[i], 0.0); }
  template <class Body> KRF_HD void each(Body body) { s.team.each(n, body); }

  KRF_HD KRF_APART bool decompose() {
    fill(s.team, 0.0, kernel_.data, n * ldn);
    fill(s.team, 0.0, value_, ldn);
    fill(s.team, 0.0, rows_.rho, Rows::kCount * ldn);
    s.tangent_kernel(kernel_.data);
    known_ = eigen_.decompose_by_library(kernel_.data);
    return known_;
  }

  KRF_HD void to_basis(const double *values, double *out) {
    s.team.each(ldn, [&](int i) { value_[i] = i < n ? values[i] : 0.0; });
    s.team.products(eigen_.vector.data, ldn, n, value_, ldn, 1, ldn, out, 1, false);
  }
  KRF_HD void from_basis(const double *c, double *out) {
    s.team.combine(c, 0, 1, 1, n, eigen_.vector.data, ldn, ldn, out, ldn, false);
  }

  // The field G at J^T c + a A + b B + d D from the start, and J G in the eigenbasis.
  KRF_HD KRF_APART bool stage(const double *c, const double *A, double a, const double *B, double b,
                              const double *D, double d, double *G, double *JG) {
    from_basis(c, value_);
    double *shift = s.shift();
    s.project_gradient(value_, shift);
    if (A)
      s.team.for_each(length, [&](int i) {
        T x = read<T>(shift + i) + a * read<T>(A + i);
        if (B)
          x += b * read<T>(B + i) + d * read<T>(D + i);
        write(shift + i, x);
      });
    ++n_rhs;
    if (!s.evaluate(shift, G))
      return false;
    s.project_along(G, value_);
    s.team.products(eigen_.vector.data, ldn, n, value_, ldn, 1, ldn, JG, 1, false);
    return true;
  }

  bool known_ = false;
  Matrix kernel_;
  SymmetricEigen<TeamType> eigen_;
  Fields fields_;
  Rows rows_;
  double *value_; // of the predictions
};

KRF_END_NAMESPACE
