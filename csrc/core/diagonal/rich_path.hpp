// The path of a diagonal network's gradient flow as alpha -> 0.
//
// On the time scale on which small weights grow, T, the dual variable s moves on straight lines,
//     ds/dT = y - X beta,   |x_i . s| <= bound_i,
// while beta rests at a saddle.  A feature whose x_i . s reaches its bound can leave zero; there
// beta jumps to the least-squares fit of the features at their bounds, each with the sign of its
// bound.  A feature that is at its bound with beta_i = 0 and is drawn inwards leaves the bound.
// The path ends where no feature is drawn outwards: where X beta = y if some beta fits, and s then
// certifies that sum_i bound_i |beta_i| is least; else where X^T (y - X beta) = 0.
//
// Written for a team of one thread: loops over features and samples that are no team primitive are
// not shared out.
#pragma once

#include "../team.hpp"
#include "signed_fit.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT, class Factor> class RichPath {
public:
  using T = typename TeamT::Value;
  // Features as near to their bounds, relative to it, jump together; plateaus that are shorter,
  // relative to the time passed, are none.
  static constexpr double kTogether = 1e-12;
  // |X beta - y| / |y| where some beta fits, and of a row, relative to its terms.
  static constexpr double kFits = 1e-11;
  // |x_i . r| / (|x_i| |r|) of a residual r that no beta removes.
  static constexpr double kOrthogonal = 1e-12;

  KRF_HD RichPath(TeamT &team, const RichPathProblem &p, Arena &arena)
      : team_(team), p_(p), directions_(arena.take(2LL * padded(p.n))),
        drift_(arena.take(padded(p.d))), position_(arena.take(padded(p.d))), fit_(team, p, arena) {}

  KRF_HD void run(long long max_jumps, RichPathOutput &out) {
    start();
    out.status = follow(max_jumps, out);
    for (int i = 0; i < p_.n; ++i)
      out.dual[i] = s()[i];
    for (int i = 0; i < p_.d; ++i)
      out.at_bound[i] = static_cast<signed char>(fit_.side[i]);
    out.t = time_;
    out.loss = fit_.loss();
    out.n_pivots = fit_.n_pivots;
  }

private:
  KRF_HD double *s() { return directions_ + padded(p_.n); }

  KRF_HD void start() {
    fit_.start();
    for (int i = 0; i < padded(p_.n); ++i)
      s()[i] = 0;
    time_ = 0;
    n_jumps_ = 0;
  }

  KRF_HD Status follow(long long max_jumps, RichPathOutput &out) {
    int fits_at_once = 0;
    for (;;) {
      if (team_.cancelled())
        return Status::kFailed;
      project();
      release();
      const double wait = time_to_next();
      if (!(wait < kInfinity)) {
        report(out);
        return end();
      }
      if (!(wait <= kTogether * time_)) {
        report(out);
        if (n_jumps_ == max_jumps)
          return Status::kMaxSteps;
        ++n_jumps_;
        fits_at_once = 0;
      } else if (++fits_at_once > p_.n + p_.d) {
        return Status::kFailed; // every fit lowers the loss, unless rounding repeats itself
      }
      advance(wait);
      if (!fit_.solve())
        return Status::kFailed;
    }
  }

  // Of a path on which no feature is drawn outwards.  It has failed where rounding may have hidden
  // a feature that is: a GradedFactor then tells more.
  KRF_HD Status end() {
    const bool fits = fit_.fits(kFits);
    if (p_.reduced)
      return fits ? Status::kConverged : Status::kStationary;
    if (fits && fit_.fits_rows(kFits))
      return Status::kConverged;
    if constexpr (Factor::kGraded) // its residual is zero, not rounding, where some beta fits
      return fit_.residual_norm > 0.0 ? Status::kStationary : Status::kFailed;
    else
      return !fits && is_orthogonal() ? Status::kStationary : Status::kFailed;
  }

  KRF_HD bool is_orthogonal() const {
    for (int i = 0; i < p_.d; ++i)
      if (std::fabs(drift_[i]) > kOrthogonal * p_.feature_norm[i] * fit_.residual_norm)
        return false;
    return true;
  }

  // drift = X^T residual and position = X^T s.
  KRF_HD void project() {
    const int ldn = padded(p_.n);
    team_.for_each(ldn, [&](int i) { write<T>(directions_ + i, read<T>(fit_.residual + i)); });
    NoSums none;
    team_.template map_features<2>(p_.X, ldn, padded(p_.d), directions_, nullptr, none,
                                   [&](int i, const T *z, T *, NoSums &) {
                                     write<T>(drift_ + i, z[0]);
                                     write<T>(position_ + i, z[1]);
                                   });
  }

  KRF_HD void release() {
    for (int i = 0; i < p_.d; ++i)
      if (fit_.side[i] != 0.0 && !fit_.in_support(i) && fit_.side[i] * drift_[i] < -fit_.noise(i))
        fit_.side[i] = 0;
  }

  // Time until feature i reaches the bound it moves to; infinity if it rests, or is at a bound.
  KRF_HD double time_to_bound(int i) const {
    const double speed = std::fabs(drift_[i]);
    if (fit_.side[i] != 0.0 || speed <= fit_.noise(i))
      return kInfinity;
    const double left = p_.bound[i] - (drift_[i] > 0.0 ? position_[i] : -position_[i]);
    return larger(left, 0.0) / speed;
  }

  KRF_HD double time_to_next() const {
    double wait = kInfinity;
    for (int i = 0; i < p_.d; ++i)
      wait = smaller(wait, time_to_bound(i));
    return wait;
  }

  // To the next jump: s moves on, and features that arrive take sides.
  KRF_HD void advance(double wait) {
    for (int i = 0; i < p_.d; ++i) {
      const double own = time_to_bound(i);
      if (own < kInfinity && (own - wait) * std::fabs(drift_[i]) <= kTogether * p_.bound[i])
        fit_.side[i] = drift_[i] > 0.0 ? 1.0 : -1.0;
    }
    for (int i = 0; i < p_.n; ++i)
      s()[i] += wait * fit_.residual[i];
    time_ += wait;
  }

  // The saddle at which beta rests now, if there was a jump.
  KRF_HD void report(RichPathOutput &out) {
    if (n_jumps_ > 0)
      out.jump(out.to, time_, fit_.loss(), fit_.size(), fit_.support, fit_.value);
  }

  TeamT &team_;
  const RichPathProblem &p_;
  double *directions_; // the residual and s
  double *drift_, *position_;
  SignedFit<TeamT, Factor> fit_;
  double time_ = 0;
  long long n_jumps_ = 0;
};

KRF_END_NAMESPACE
