// The two clocks of a flow of a margin loss: minus the logarithm of the loss, and the logarithm of
// time.
//
// Steps are made in a time tau with d tau = (S / 2) dt, where S = sum_n -l'(m_n) is the size of
// the gradient, so that dt = 2 exp(-ln S) d tau.  -ln S grows from order one to 1e12 and by any
// amount within a step; it is interpolated from its values at the start and at Radau's stages, and
// the integral of its exponential is summed from the end, where nearly all of it is.
#pragma once

#include "../ode/radau5.hpp"

KRF_BEGIN_NAMESPACE

namespace margin_clock {
inline constexpr double kNegligible = 40.0; // e^-40 of a sum is rounding
inline constexpr int kMostPanels = 4000;

KRF_HD inline double log_add(double a, double b) {
  const double most = larger(a, b), least = smaller(a, b);
  return least > -kInfinity ? most + std::log1p(std::exp(least - most)) : most;
}
} // namespace margin_clock

class MarginClock {
public:
  double log_t = -kInfinity;             // at the start of the step
  double value[4] = {};                  // -ln S there, and at the three stages
  double slope_start = 0, slope_end = 0; // its derivatives by the fraction of the step

  KRF_HD double end() const { return value[3]; }
  KRF_HD double end_log_time() const { return end_log_t_; } // after interpolate()

  // Makes both interpolants of a step of length h from values and slopes.  Returns the difference
  // of the times, ln t, that they give for the end.
  KRF_HD KRF_APART double interpolate(double h) {
    make_polynomial();
    make_hyperbola();
    log_2h_ = std::log(2.0 * h);
    const bool is_steep = value[3] - value[2] > kSteep;
    steep_ = !is_steep;
    const double other = log_time(1.0, value[3]);
    steep_ = is_steep;
    end_log_t_ = log_time(1.0, value[3]);
    return absolute(end_log_t_ - other);
  }
  // The logarithm of time at fraction x of the step, where -ln S is known to be `there`.
  KRF_HD KRF_APART double log_time(double x, double there) const {
    return x > 0.0 ? margin_clock::log_add(log_t, log_2h_ + there + log_shape(x)) : log_t;
  }

private:
  // By how much -ln S grows from the second stage to the end, for it to be taken for steep: a
  // polynomial through its slope at the end would not be monotone.
  static constexpr double kSteep = 2.0;

  KRF_HD static double node(int j) { return j == 0 ? 0.0 : radau5::c(j - 1); }

  // -ln S at fraction x of the step, less its value at the end.
  KRF_HD double at(double x) const { return steep_ && x > node(2) ? hyperbola(x) : polynomial(x); }

  // From the second stage on: the hyperbola through both values and the slope at the end, which is
  // monotone.
  KRF_HD double hyperbola(double x) const {
    return -hyperbola_slope_ * (1.0 - x) / (1.0 + bend_ * (1.0 - x));
  }
  KRF_HD void make_hyperbola() {
    const double rise = value[3] - value[2], width = 1.0 - node(2);
    const bool is_rising = rise > 0.0 && slope_end > 0.0;
    hyperbola_slope_ = is_rising ? slope_end : rise / width;
    bend_ = is_rising ? (slope_end * width / rise - 1.0) / width : 0.0;
  }

  // The polynomial through values and slopes, kept between the values beside x, since it may grow
  // by orders of magnitude within a step.
  KRF_HD double polynomial(double x) const {
    double quintic = newton_[4];
    quintic = newton_[3] + x * quintic;
    quintic = newton_[2] + (x - node(1)) * quintic;
    quintic = newton_[1] + (x - node(2)) * quintic;
    quintic = (x - 1.0) * (newton_[0] + (x - 1.0) * quintic);
    const bool late = x > node(2), early = !(x > node(1));
    const double a = late ? fall_[2] : early ? fall_[0] : fall_[1];
    const double b = late ? 0.0 : early ? fall_[1] : fall_[2];
    return larger(smaller(a, b), smaller(larger(a, b), quintic));
  }
  // Newton's divided differences at 1, 1, the second stage, the first one, 0 and 0.  They start at
  // the end, near which most of the time passes, so that values of 1e12 lose few digits there.
  KRF_HD void make_polynomial() {
    for (int j = 0; j < 3; ++j)
      fall_[j] = value[j] - value[3];
    const double z[6] = {1.0, 1.0, node(2), node(1), 0.0, 0.0};
    double d[5] = {kept(slope_end, -fall_[2], 1.0 - node(2)), fall_[2] / (node(2) - 1.0),
                   (fall_[1] - fall_[2]) / (node(1) - node(2)), (fall_[0] - fall_[1]) / -node(1),
                   kept(slope_start, fall_[1] - fall_[0], node(1))};
    for (int k = 0; k < 5; ++k) {
      newton_[k] = d[0];
      for (int j = 0; j + k < 4; ++j)
        d[j] = (d[j + 1] - d[j]) / (z[j + k + 2] - z[j]);
    }
  }
  // A slope, of no more than thrice the chord beside it: beyond, no monotone cubic has it.
  KRF_HD static double kept(double slope, double change, double width) {
    const double most = 3.0 * change / width;
    return change > 0 ? larger(0.0, smaller(slope, most)) : smaller(0.0, larger(slope, most));
  }

  // ln of the integral of exp(at(x') - at(x)) over x' from 0 to x: panels of Gauss's rule with four
  // points, each no longer than -ln S takes to change by one, from x down to where nothing is left.
  KRF_HD double log_shape(double x) const {
    const double here = at(x);
    double top = x < 1.0 ? here : 0.0;
    for (int j = 0; j < 3; ++j)
      top = node(j) < x ? larger(top, fall_[j]) : top;
    double sum = 0.0, end = x, there = here;
    for (int k = 0; k < margin_clock::kMostPanels && end > 0.0; ++k) {
      const double small = 1e-7 * end;
      const double rate = absolute((there - at(end - small)) / small);
      const double width = smaller(end, smaller(0.125 * x, 1.0 / larger(rate, 1e-300)));
      double panel = 0.0;
      for (int g = 0; g < 4; ++g) {
        const double gauss = g % 2 ? 0.86113631159405257522 : 0.33998104358485626480;
        const double weight = g % 2 ? 0.17392742256872692869 : 0.32607257743127307131;
        const double where = end - 0.5 * width * (1.0 + (g < 2 ? gauss : -gauss));
        panel += weight * std::exp(at(where) - top);
      }
      sum += width * panel;
      end -= width;
      there = at(end);
      // What is left is shorter than the whole and, where -ln S falls with x, smaller than here.
      if (there < top - margin_clock::kNegligible &&
          at(0.5 * end) < top - margin_clock::kNegligible)
        break;
    }
    return std::log(sum) + (top - here);
  }

  double log_2h_ = 0, end_log_t_ = -kInfinity;
  double fall_[3] = {};   // the values at the start and at two stages, less that at the end
  double newton_[5] = {}; // divided differences of order one and more
  double hyperbola_slope_ = 0, bend_ = 0;
  bool steep_ = false;
};

KRF_END_NAMESPACE
