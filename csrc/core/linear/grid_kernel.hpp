// The tangent kernel where every entry (o, j) of M is observed with the weight sigma_j of its
// column: K = A (x) S^2 + I (x) S B S with A = U U', B = V V' and S = diag(sigma).
//
// In the basis of the eigenvectors of A it falls apart into a block a_i S^2 + S B S for each
// eigenvalue a_i, so that a factorisation costs p m^3 in place of (p m)^3 operations for p rows and
// m columns of observed entries.
#pragma once

#include "../factorization/measurements.hpp"
#include "../linalg/symmetric_eigen.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class GridKernel {
  using T = typename TeamT::Value;

public:
  static constexpr long long kMaxDoubles = 1LL << 26; // of the factors

  const int n_samples;

  KRF_HD GridKernel(TeamT &team, Measurements<TeamT> &sensing, Arena &arena)
      : n_samples(room(sensing) <= kMaxDoubles ? sensing.n_samples : 0), team_(team),
        sensing_(sensing), p_(n_samples ? sensing.p : 0),
        m_(n_samples ? sensing.n_samples / p_ : 0), ld_(padded(m_)), eigen_(team, p_, arena),
        A_(take_matrix(arena, p_, padded(p_))), B_(take_matrix(arena, ld_, ld_)),
        real_(arena.take(p_ * block())), plane_r_(arena.take(p_ * block())),
        plane_i_(arena.take(p_ * block())), pivot_(take_matrix(arena, p_, ld_)),
        pivot_r_(take_matrix(arena, p_, ld_)), pivot_i_(take_matrix(arena, p_, ld_)),
        rows_(take_matrix(arena, p_, ld_)), turned_(take_matrix(arena, p_, ld_)),
        turned_i_(take_matrix(arena, p_, ld_)) {}

  KRF_HD double factor_work() const { return p_ * (0.9 * square(m_) * m_ + 9.0 * square(p_)); }
  KRF_HD double solve_work() const { return 5.0 * p_ * square(m_) + 6.0 * square(p_) * m_; }

  KRF_HD KRF_APART void renew(const double *W) {
    const ConstMatrix rows = sensing_.rows_of(W);
    const int ldr = sensing_.ldr;
    fill(team_, 0.0, A_.data, p_ * A_.ld);
    team_.products(W, ldr, p_, W, ldr, p_, ldr, A_.data, A_.ld, false);
    team_.sync();
    decomposed_ = eigen_.decompose(A_.data);
    fill(team_, 0.0, B_.data, ld_ * ld_);
    const double *V = rows.row(sensing_.c0);
    team_.products(V, ldr, m_, V, ldr, m_, ldr, B_.data, ld_, false);
    const double *sigma = sensing_.scale;
    team_.each(m_ * ld_, [&](int at) {
      const int j = at / ld_, k = at % ld_;
      B_(j, k) = k < m_ ? sigma[j] * sigma[k] * B_(j, k) : 0.0;
    });
  }

  KRF_HD KRF_APART double factor(double h, double gamma, double alpha, double beta) {
    h_factored_ = h;
    if (!decomposed_)
      return 0.0;
    double kept = 1.0;
    for (int i = 0; i < p_; ++i)
      kept = smaller(kept, factor_block(i, gamma / h, alpha / h, beta / h));
    return kept;
  }
  KRF_HD double h_factored() const { return h_factored_; }
  KRF_HD void forget() { h_factored_ = 0; }

  KRF_HD KRF_APART void solve(double *b) {
    turn(b, turned_);
    for (int i = 0; i < p_; ++i)
      team_.solve(real_ + i * block(), ld_, m_, pivot_.row(i), turned_.row(i));
    turn_back(turned_, b);
  }
  KRF_HD KRF_APART void solve(double *b_r, double *b_i) {
    turn(b_r, turned_);
    turn(b_i, turned_i_);
    for (int i = 0; i < p_; ++i)
      team_.solve(plane_r_ + i * block(), plane_i_ + i * block(), ld_, m_, pivot_r_.row(i),
                  pivot_i_.row(i), turned_.row(i), turned_i_.row(i));
    turn_back(turned_, b_r);
    turn_back(turned_i_, b_i);
  }

private:
  KRF_HD static long long room(const Measurements<TeamT> &sensing) {
    const long long m = padded(sensing.n_samples / sensing.p);
    return 3LL * sensing.p * m * m;
  }
  KRF_HD long long block() const { return static_cast<long long>(ld_) * ld_; }

  KRF_HD double factor_block(int i, double real, double complex_r, double complex_i) {
    const long long at = i * block();
    double *L = real_ + at, *r = plane_r_ + at, *im = plane_i_ + at;
    const double *sigma = sensing_.scale;
    const double a = larger(eigen_.value[i], 0.0); // below zero by rounding alone
    team_.for_each(ld_ * ld_, [&](int e) {
      const T b = read<T>(B_.data + e);
      write(L + e, b);
      write(r + e, b);
      write(im + e, splat<T>(0.0));
    });
    team_.each(m_, [&](int j) {
      const long long d = static_cast<long long>(j) * ld_ + j;
      const double own = a * sigma[j] * sigma[j];
      L[d] += own + real;
      r[d] += own + complex_r;
      im[d] += complex_i;
    });
    team_.factor(r, im, ld_, m_, pivot_r_.row(i), pivot_i_.row(i));
    return team_.factor(L, ld_, m_, pivot_.row(i));
  }

  // out_i = sum_o P_io b_o for the rows b_o of m samples, and back.
  KRF_HD void turn(const double *b, Matrix out) {
    team_.each(p_ * ld_, [&](int at) {
      const int o = at / ld_, j = at % ld_;
      rows_(o, j) = j < m_ ? b[o * m_ + j] : 0.0;
    });
    team_.combine(eigen_.vector.data, eigen_.vector.ld, 1LL, p_, p_, rows_.data, ld_, ld_, out.data,
                  ld_, false);
  }
  KRF_HD void turn_back(Matrix from, double *b) {
    team_.combine(eigen_.vector.data, 1LL, eigen_.vector.ld, p_, p_, from.data, ld_, ld_,
                  rows_.data, ld_, false);
    team_.each(n_samples, [&](int i) { b[i] = rows_(i / m_, i % m_); });
  }

  TeamT &team_;
  Measurements<TeamT> &sensing_;
  int p_, m_, ld_;
  SymmetricEigen<TeamT> eigen_;        // of A
  Matrix A_, B_;                       // A is destroyed; B is S B S
  double *real_, *plane_r_, *plane_i_; // factors, block after block
  Matrix pivot_, pivot_r_, pivot_i_;
  Matrix rows_, turned_, turned_i_; // of a vector of samples
  double h_factored_ = 0;
  bool decomposed_ = false;
};

KRF_END_NAMESPACE
