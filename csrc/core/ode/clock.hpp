// The time of a run, in two doubles: after a plateau of 1e18, a step of 1e-2 still counts.
#pragma once

#include "../base/config.hpp"

KRF_BEGIN_NAMESPACE

class Clock {
public:
  KRF_HD double time() const { return high_; }
  // No flow moves within kShortest, and what is divided by a step as short may overflow.
  KRF_HD double until(double t) const {
    const double left = (t - high_) - low_;
    return left > 0.0 && left < kShortest ? 0.0 : left;
  }
  KRF_HD void set(double t) { high_ = t, low_ = 0; }
  KRF_HD void advance(double h) {
    const double total = high_ + h, part = total - high_;
    low_ += (high_ - (total - part)) + (h - part);
    high_ = total;
  }

private:
  static constexpr double kShortest = 1e-300;
  double high_ = 0, low_ = 0;
};

KRF_END_NAMESPACE
