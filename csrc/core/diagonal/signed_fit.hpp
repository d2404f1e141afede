// Least squares with signs: beta minimises |X beta - y| where side_i beta_i >= 0 for the features
// that have a side (side_i = +1 or -1), and beta_i = 0 for all others.
//
// The active-set method of Lawson and Hanson (Solving Least Squares Problems, 1974, chapter 23),
// started from the last solution: the features with beta_i != 0 are the support.  Factor is an
// OrthogonalFactor or, for rows in any units, a GradedFactor.
#pragma once

#include "../linalg/graded_factor.hpp"
#include "../linalg/orthogonal_factor.hpp"
#include "../team.hpp"
#include "problem.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, class Factor> class SignedFit {
public:
  using T = typename TeamT::Value;
  // Of |x_i| |y|, or of the sizes of a GradedFactor: what rounding makes of a gradient x_i .
  // residual that is zero, and of a term |x_i|^2 beta_i that is.  The second is smaller, so that a
  // feature that left does not return.
  static constexpr double kGradient = (Factor::kGraded ? 64.0 : 16.0) * kEpsilon;
  static constexpr double kTerm = 0.25 * kGradient;
  static constexpr int kPivots = 100; // times the number of samples, in one solve

  KRF_HD SignedFit(TeamT &team, const RichPathProblem &p, Arena &arena)
      : residual(arena.take(padded(p.n))), side(arena.take(padded(p.d))),
        support(arena.take<int>(padded(p.n))), value(arena.take(padded(p.n))), team_(team), p_(p),
        factor_(team, p.n, p.n < p.d ? p.n : p.d, p.row_units, arena),
        trial_(arena.take(padded(p.n))), terms_(arena.take(padded(p.n))),
        state_(arena.take<int>(padded(p.d))),
        noise_(arena.take(padded(Factor::kGraded ? p.d : 0))) {}

  // beta = 0, and no feature has a side.
  KRF_HD void start() {
    factor_.clear();
    n_pivots = 0;
    for (int i = 0; i < padded(p_.n); ++i)
      residual[i] = p_.y[i];
    for (int i = 0; i < p_.d; ++i)
      side[i] = 0, state_[i] = kFree;
    residual_norm = norm(p_.y);
    target_norm_ = std::sqrt(square(residual_norm) + p_.loss_offset);
    if constexpr (Factor::kGraded)
      fit(), n_pivots = 0;
  }

  KRF_HD int size() const { return factor_.size(); }
  KRF_HD bool in_support(int i) const { return state_[i] == kSupport; }
  // Whether |X beta - y| is at most this share of |y|.
  KRF_HD bool fits(double share) const {
    return square(residual_norm) + p_.loss_offset <= square(share * target_norm_);
  }
  // The same of every row, relative to the sum of the moduli of its terms.
  KRF_HD bool fits_rows(double share) {
    subtract_terms();
    for (int i = 0; i < p_.n; ++i)
      if (!(std::fabs(trial_[i]) <= share * terms_[i]))
        return false;
    return true;
  }
  // A smaller |x_i . residual| is rounding.
  KRF_HD double noise(int i) const {
    if constexpr (Factor::kGraded)
      return noise_[i];
    else
      return kGradient * p_.feature_norm[i] * target_norm_;
  }
  KRF_HD const double *feature(int i) const {
    return p_.X + static_cast<long long>(i) * padded(p_.n);
  }

  // Returns false where no solution was found within the budget of pivots, or none is finite.
  KRF_HD bool solve() {
    forget_refusals();
    const long long budget = n_pivots + static_cast<long long>(kPivots) * (p_.n + 1);
    while (n_pivots < budget) {
      const int entering = best_candidate();
      if (entering < 0)
        return std::isfinite(residual_norm);
      if (!factor_.append(feature(entering))) {
        state_[entering] = kRefused;
        continue;
      }
      support[size() - 1] = entering;
      value[size() - 1] = 0;
      state_[entering] = kSupport;
      fit();
      if (!has_its_sign(size() - 1)) { // its gradient was rounding
        leave(size() - 1);
        state_[entering] = kRefused;
        fit();
        continue;
      }
      restore_signs();
      forget_refusals();
    }
    return false;
  }

  // |X beta - y|^2 of the coefficients as they are, rounded; `residual` is that of exact ones.
  KRF_HD double loss() {
    subtract_terms();
    return team_.dot(trial_, trial_, padded(p_.n)) + p_.loss_offset;
  }

  double *residual, residual_norm = 0;
  double *side;
  int *support;  // features, in the order of the columns of the factor
  double *value; // their coefficients
  long long n_pivots = 0;

private:
  enum State : int { kFree, kSupport, kRefused };

  // trial_ = y - X beta, and terms_ the sum of the moduli of its terms.
  KRF_HD void subtract_terms() {
    team_.for_each(padded(p_.n), [&](int i) {
      const T y = read<T>(p_.y + i);
      write<T>(trial_ + i, y);
      write<T>(terms_ + i, absolute(y));
    });
    for (int k = 0; k < size(); ++k) {
      const double *x = feature(support[k]);
      team_.for_each(padded(p_.n), [&](int i) {
        const T term = value[k] * read<T>(x + i);
        write<T>(trial_ + i, read<T>(trial_ + i) - term);
        write<T>(terms_ + i, read<T>(terms_ + i) + absolute(term));
      });
    }
  }

  KRF_HD double norm(const double *v) { return std::sqrt(team_.dot(v, v, padded(p_.n))); }

  // The feature with a side and the steepest descent, relative to its norm; -1 if there is none.
  KRF_HD int best_candidate() {
    int best = -1;
    double steepest = 0;
    for (int i = 0; i < p_.d; ++i) {
      if (side[i] == 0.0 || state_[i] != kFree)
        continue;
      const double gradient = side[i] * team_.dot(feature(i), residual, padded(p_.n));
      if (gradient > noise(i) && gradient > steepest * p_.feature_norm[i])
        best = i, steepest = gradient / p_.feature_norm[i];
    }
    return best;
  }

  KRF_HD void forget_refusals() {
    for (int i = 0; i < p_.d; ++i)
      if (state_[i] == kRefused)
        state_[i] = kFree;
  }

  KRF_HD void fit() {
    ++n_pivots;
    factor_.fit(p_.y, trial_, residual);
    residual_norm = norm(residual);
    if constexpr (Factor::kGraded)
      for (int i = 0; i < p_.d; ++i)
        noise_[i] = kGradient * factor_.size_of_product(feature(i));
  }

  // Moves from `value` towards the unconstrained `trial_`; coefficients that reach zero leave.
  KRF_HD void restore_signs() {
    for (;;) {
      double length = 1.0;
      int first = -1;
      for (int k = 0; k < size(); ++k) {
        if (has_its_sign(k))
          continue;
        const double now = std::fabs(value[k]), then = smaller(0.0, sign_of(k) * trial_[k]);
        const double reach = now > 0.0 ? now / (now - then) : 0.0;
        if (first < 0 || reach < length)
          first = k, length = reach;
      }
      for (int k = 0; k < size(); ++k)
        value[k] = first < 0 ? trial_[k] : value[k] + length * (trial_[k] - value[k]);
      if (first < 0)
        return;
      value[first] = 0;
      for (int k = size() - 1; k >= 0; --k)
        if (sign_of(k) * value[k] <= 0.0 && !has_its_sign(k))
          leave(k);
      fit();
    }
  }

  KRF_HD double sign_of(int k) const { return side[support[k]]; }
  KRF_HD bool has_its_sign(int k) const {
    if constexpr (Factor::kGraded)
      return sign_of(k) * trial_[k] > kTerm * factor_.coefficient_size(k);
    else
      return sign_of(k) * trial_[k] * p_.feature_norm[support[k]] > kTerm * target_norm_;
  }

  KRF_HD void leave(int k) {
    state_[support[k]] = kFree;
    factor_.drop(k);
    for (int j = k; j < size(); ++j) {
      support[j] = support[j + 1];
      value[j] = value[j + 1];
      trial_[j] = trial_[j + 1];
    }
  }

  TeamT &team_;
  const RichPathProblem &p_;
  Factor factor_;
  double *trial_, *terms_;
  int *state_;
  double *noise_; // of every feature, with a GradedFactor
  double target_norm_ = 0;
};

KRF_END_NAMESPACE
