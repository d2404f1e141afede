// A run of a margin loss, whatever the model: what its two clocks show at the state and at the end
// of the trial step, and which steps that allows.
#pragma once

#include "../ode/error_norm.hpp"
#include "clock.hpp"
#include "field.hpp"

KRF_BEGIN_NAMESPACE

namespace margin_rules {
// Newton's iteration has to settle the margins of the samples that matter: a change of one by
// kSettled of the tolerance counts like one of the predictor.
inline constexpr double kSettled = 0.1;
// Once -ln L is kLate, a step multiplies it by at most kMostGrowth: at its end errors made on the
// way are small against a predictor that has grown.
inline constexpr double kLate = 100.0, kMostGrowth = 10.0;
// kRoundedStep: what rounding may change of a weight in a step, relative to it, in rtol.  A
// velocity of a diagonal network, relative to what one sample alone would cause, is none where it
// is less than kRoundedStep rtol times the size of the predictions, and less than kMostStill.
inline constexpr double kRoundedStep = 1e-3, kMostStill = 1e-9;
KRF_HD inline double still(double rtol, double size) {
  return smaller(kRoundedStep * rtol * size, kMostStill);
}
// What the interpolation of -ln S may leave of an error of ln t in a step, in units of rtol and,
// where that is more than one, of |ln L|.
inline constexpr double kClock = 10.0;
// Errors of steps count so many times: samples that come and go leave errors of one sign.
inline constexpr double kCautious = 5.0;
// The step after one that failed is no longer than the one that then succeeded; the longest allowed
// grows by this factor with every further step.
inline constexpr double kRecovery = 5.0;
inline constexpr int kSearch = 40; // for a value of the clock
// Margins whose rounding is more than this part of one say nothing of the loss.
inline constexpr double kUnknown = 0.25;
} // namespace margin_rules

class MarginRun {
public:
  MarginClock clock;
  double log_loss = 0; // ln L
  double width = 1;    // MarginSums::width
  double noise = 0;    // rounding of a margin
  double rtol = 0;

  // Results are asked for at values of ln t, or of minus ln L.
  KRF_HD explicit MarginRun(bool by_time) : by_time_(by_time) {}

  // `tolerance` is that of a step.
  KRF_HD void set_accuracy(double rtol_, double tolerance) { rtol = rtol_, tolerance_ = tolerance; }
  KRF_HD void start(const MarginSums &at) {
    log_loss = at.log_loss, clock.value[0] = -at.log_slope;
    width = end_width_ = at.width;
  }
  // d(-ln S) / d tau at the start.
  KRF_HD void start_speed(double speed) { speed_ = speed; }

  KRF_HD void begin_step(double h) {
    failures_ = begun_ ? failures_ + 1 : 0;
    begun_ = true;
    h_ = h;
  }
  KRF_HD bool is_lost_in_rounding() const { return noise > margin_rules::kUnknown; }
  // The longest step after a failure.
  KRF_HD double cap() const { return begun_ ? kInfinity : after_failure_; }

  // Of stage j of the trial step; the third is its end.
  KRF_HD void show_stage(int j, const MarginSums &at) {
    clock.value[j + 1] = -at.log_slope;
    end_log_loss_ = at.log_loss, end_width_ = at.width;
  }
  // What Newton's iteration has moved margins by, over their width, as an error of the state.
  KRF_HD double unsettled(double moved) const {
    return margin_rules::kSettled * tolerance_ * moved;
  }
  KRF_HD bool decreases() const {
    const double slack = end_width_ > 1.0 ? margin_rules::kSpread * end_width_ : 0.0;
    return end_log_loss_ <= log_loss + 2.0 * noise + slack &&
           -end_log_loss_ < margin_rules::kMostGrowth * larger(-log_loss, margin_rules::kLate);
  }
  // Adds the clock's error in the trial step; `end_speed` is d(-ln S) / d tau at its end.
  KRF_HD ErrorNorm with_clock(ErrorNorm norm, double end_speed) {
    norm.predictor *= margin_rules::kCautious;
    norm.componentwise *= margin_rules::kCautious;
    end_speed_ = end_speed;
    clock.slope_start = h_ * speed_, clock.slope_end = h_ * end_speed_;
    const double allowed = margin_rules::kClock * rtol * larger(1.0, absolute(log_loss));
    norm.componentwise = larger(norm.componentwise, tolerance_ * (clock.interpolate(h_) / allowed));
    return norm;
  }
  KRF_HD void advance() {
    clock.log_t = clock.end_log_time();
    clock.value[0] = clock.end();
    speed_ = end_speed_;
    log_loss = end_log_loss_, width = end_width_;
    after_failure_ = failures_ > 0 ? h_ : margin_rules::kRecovery * after_failure_;
    begun_ = false;
  }

  KRF_HD bool passed(double value) const { return shown() >= value; }
  KRF_HD bool reaches(double value) const { return shown_at_end() >= value; }
  // The fraction of the trial step at which the clock shows the value, by regula falsi (Illinois);
  // at(x) are the sums there.
  template <class At> KRF_HD double fraction_at(double value, At at) {
    double low = 0.0, high = 1.0;
    double below = shown() - value, above = shown_at_end() - value;
    const double enough = 1e-12 * (1.0 + absolute(value)) + 2.0 * noise;
    for (int k = 0, side = 0; k < margin_rules::kSearch; ++k) {
      const double secant = low - below * (high - low) / (above - below);
      const double x = below > -kInfinity ? secant : early_fraction(value, low, high);
      if (!(x > low && x < high))
        return high;
      const MarginSums there = at(x);
      const double gap = (by_time_ ? log_time(x, there) : -there.log_loss) - value;
      if (absolute(gap) <= enough)
        return x;
      if (gap < 0) {
        low = x, below = gap;
        above *= side < 0 ? 0.5 : 1.0;
        side = -1;
      } else {
        high = x, above = gap;
        below *= side > 0 ? 0.5 : 1.0;
        side = 1;
      }
    }
    return high;
  }
  // ln t at fraction x of the trial step.
  KRF_HD double log_time(double x, const MarginSums &there) {
    return clock.log_time(x, -there.log_slope);
  }

private:
  // Where t is zero at the start: the gradient has not changed yet, or the middle.
  KRF_HD double early_fraction(double value, double low, double high) const {
    const double x = std::exp(value - std::log(2.0 * h_) - clock.value[0]);
    return low == 0.0 && x < 0.5 * high ? larger(x, 1e-300) : 0.5 * (low + high);
  }
  KRF_HD double shown() const { return by_time_ ? clock.log_t : -log_loss; }
  KRF_HD double shown_at_end() const { return by_time_ ? clock.end_log_time() : -end_log_loss_; }

  bool by_time_;
  double end_log_loss_ = 0, end_width_ = 1; // of the trial step
  double speed_ = 0, end_speed_ = 0;
  double tolerance_ = 0, h_ = 0, after_failure_ = kInfinity;
  int failures_ = 0;   // in a row, of the step under way
  bool begun_ = false; // an attempt that no step has followed
};

KRF_END_NAMESPACE
