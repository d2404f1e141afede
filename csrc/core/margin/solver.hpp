// Solves with the Jacobian of the field of a margin loss by the dual.  In the time tau of clock.hpp
// it is J = -(A - y p (y a)') G, where a are the derivatives p c / width, A = diag(a) and
// G = X diag(s) X'; in time itself, -A G.
//
// M = shift + A G is symmetric up to a scaling, M = A^1/2 (shift + A^1/2 G A^1/2) A^-1/2.  The rank
// of one is a multiple of M^-1 y p.  Which one follows from a sum: the entries of p sum to one
// whatever the margins are, so those of y J v sum to zero, and those of y (shift - J)^-1 b to those
// of y b over the shift.
#pragma once

#include "../linalg/shifted_factors.hpp"
#include "../ode/radau5.hpp"

KRF_BEGIN_NAMESPACE

// M^-1 for Radau's two shifts.
template <Team TeamT> class WeightedSolver {
public:
  using T = typename TeamT::Value;

  KRF_HD WeightedSolver(TeamT &team, int n, Arena &arena)
      : team_(team), n_(n), length_(padded(n)), factors_(team, n, arena),
        matrix_(factors_.square(arena)), root_(arena.take(length_)) {}

  // For a step h, from G by columns, lower triangle, and a = weight(i).  False where the matrix is
  // not definite.
  template <class Weight>
  KRF_HD KRF_APART bool prepare(const double *G, double h, const Weight &weight) {
    team_.for_each(length_, [&](int i) {
      write(root_ + i, exponential(0.5 * logarithm(greater_of(weight(i), splat<T>(kLeast)))));
    });
    team_.for_rows(n_, length_, [&](int column, int i) {
      const long long at = static_cast<long long>(column) * length_ + i;
      write(matrix_ + at, root_[column] * read<T>(G + at) * read<T>(root_ + i));
    });
    return factors_.factor(matrix_, h, radau5::kGamma, radau5::kAlpha, radau5::kBeta) > 0.0;
  }
  KRF_HD void solve(double *b) {
    unscale(b);
    factors_.solve(b);
    rescale(b);
  }
  KRF_HD void solve(double *re, double *im) {
    unscale(re);
    unscale(im);
    factors_.solve(re, im);
    rescale(re);
    rescale(im);
  }

private:
  static constexpr double kLeast = 1e-280; // of a: a scaling by zero could not be undone

  KRF_HD void unscale(double *v) {
    team_.for_each(length_, [&](int i) { write(v + i, read<T>(v + i) / read<T>(root_ + i)); });
  }
  KRF_HD void rescale(double *v) {
    team_.for_each(length_, [&](int i) { write(v + i, read<T>(v + i) * read<T>(root_ + i)); });
  }

  TeamT &team_;
  int n_, length_;
  ShiftedFactors<TeamT> factors_;
  double *matrix_; // A^1/2 G A^1/2
  double *root_;   // A^1/2
};

template <Team TeamT> class MarginSolver {
public:
  using T = typename TeamT::Value;

  KRF_HD MarginSolver(TeamT &team, const double *y, int n, Arena &arena)
      : team_(team), y_(y), length_(padded(n)), symmetric_(team, n, arena),
        along_(arena.take(3LL * length_)) {}

  // For a step h, from G by columns, lower triangle, the field y p, c, and the sharpness 1 / width.
  // False where the matrix is not definite.
  KRF_HD KRF_APART bool prepare(const double *G, const double *field, const double *c,
                                double sharpness, double h) {
    if (!symmetric_.prepare(
            G, h, [&](int i) { return absolute(read<T>(field + i)) * read<T>(c + i) * sharpness; }))
      return false;
    shift_ = {radau5::kGamma / h, radau5::kAlpha / h, radau5::kBeta / h};
    double *re = along_ + length_, *im = along_ + 2LL * length_;
    copy(team_, field, along_, length_);
    copy(team_, field, re, length_);
    fill(team_, 0.0, im, length_);
    symmetric_.solve(along_);
    symmetric_.solve(re, im);
    sum_ = signed_sum(along_), sum_r_ = signed_sum(re), sum_i_ = signed_sum(im);
    return true;
  }

  KRF_HD KRF_APART void solve(double *b) {
    const double before = signed_sum(b);
    symmetric_.solve(b);
    axpy(team_, (before / shift_.real - signed_sum(b)) / sum_, along_, b, length_);
  }
  // Three columns: one for the real shift, and the parts of one for the complex.
  KRF_HD KRF_APART void solve_stages(double *b) {
    solve(b);
    double *re = b + length_, *im = b + 2LL * length_;
    const double before_r = signed_sum(re), before_i = signed_sum(im);
    symmetric_.solve(re, im);
    const double s_r = shift_.complex_r, s_i = shift_.complex_i, s2 = s_r * s_r + s_i * s_i;
    const double lacks_r = (before_r * s_r + before_i * s_i) / s2 - signed_sum(re);
    const double lacks_i = (before_i * s_r - before_r * s_i) / s2 - signed_sum(im);
    const double of2 = sum_r_ * sum_r_ + sum_i_ * sum_i_;
    const double f_r = (lacks_r * sum_r_ + lacks_i * sum_i_) / of2;
    const double f_i = (lacks_i * sum_r_ - lacks_r * sum_i_) / of2;
    const double *v_r = along_ + length_, *v_i = along_ + 2LL * length_;
    axpy(team_, f_r, v_r, re, length_);
    axpy(team_, -f_i, v_i, re, length_);
    axpy(team_, f_r, v_i, im, length_);
    axpy(team_, f_i, v_r, im, length_);
  }

private:
  KRF_HD double signed_sum(const double *v) { return team_.dot(y_, v, length_); }

  TeamT &team_;
  const double *y_;
  int length_;
  WeightedSolver<TeamT> symmetric_;
  double *along_; // M^-1 y p for the real shift, and for the complex
  Shifts shift_{};
  double sum_ = 0, sum_r_ = 0, sum_i_ = 0; // of y times these
};

KRF_END_NAMESPACE
