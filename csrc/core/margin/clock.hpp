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

struct MarginClock {
  double log_t = -kInfinity;             // at the start of the step
  double value[4] = {};                  // -ln S there, and at the three stages
  double slope_start = 0, slope_end = 0; // its derivatives by the fraction of the step

  KRF_HD static double node(int j) { return j == 0 ? 0.0 : radau5::c(j - 1); }
  KRF_HD double end() const { return value[3]; }

  // -ln S at fraction x of the step.
  KRF_HD double at(double x) const { return steep && x > node(2) ? at_end(x) : polynomial(x); }

  // The logarithm of time at fraction x of a step of length h, where -ln S is known to be `there`.
  KRF_HD KRF_APART double log_time(double x, double h, double there) {
    if (!(x > 0.0))
      return log_t;
    steep = value[3] - value[2] > kSteep;
    return margin_clock::log_add(log_t, std::log(2.0 * h) + there + log_shape(x));
  }
  // By how much ln t at the end of the step depends on the interpolant.
  KRF_HD KRF_APART double uncertainty(double h) {
    double found[2];
    for (int k = 0; k < 2; ++k) {
      steep = k > 0;
      found[k] = margin_clock::log_add(log_t, std::log(2.0 * h) + value[3] + log_shape(1.0));
    }
    return absolute(found[1] - found[0]);
  }

private:
  // By how much -ln S grows from the second stage to the end, for it to be taken for steep: a
  // polynomial through its slope at the end would not be monotone.
  static constexpr double kSteep = 2.0;
  bool steep = false;

  // From the second stage on: the hyperbola through both values and the slope at the end, which is
  // monotone.
  KRF_HD double at_end(double x) const {
    const double rise = value[3] - value[2], width = 1.0 - node(2), left = 1.0 - x;
    if (!(rise > 0.0 && slope_end > 0.0))
      return value[3] - rise * (left / width);
    const double bend = (slope_end * width / rise - 1.0) / width;
    return value[3] - slope_end * left / (1.0 + bend * left);
  }

  // The polynomial through values and slopes, kept between the values beside x, since it may grow
  // by orders of magnitude within a step.
  KRF_HD double polynomial(double x) const {
    double cubic = 0.0, all = 1.0, cubic_start = 0.0, cubic_end = 0.0;
    double all_start = 1.0, all_end = 1.0; // slopes of the product of all x - node
    int after = 1;
    for (int j = 0; j < 4; ++j) {
      double basis = 1.0, start = 0.0, end = 0.0;
      for (int k = 0; k < 4; ++k)
        if (k != j) {
          basis *= (x - node(k)) / (node(j) - node(k));
          start += term(j, k, 0.0);
          end += term(j, k, 1.0);
        }
      cubic += value[j] * basis;
      cubic_start += value[j] * start;
      cubic_end += value[j] * end;
      all *= x - node(j);
      all_start *= j > 0 ? -node(j) : 1.0;
      all_end *= j < 3 ? 1.0 - node(j) : 1.0;
      after = j > 1 && x > node(j - 1) ? j : after;
    }
    const double start = kept(slope_start, value[1] - value[0], node(1));
    const double end = kept(slope_end, value[3] - value[2], 1.0 - node(2));
    const double quintic = cubic + all * ((start - cubic_start) / all_start * (1.0 - x) +
                                          (end - cubic_end) / all_end * x);
    const double a = value[after - 1], b = value[after];
    return larger(smaller(a, b), smaller(larger(a, b), quintic));
  }

  // A slope, of no more than thrice the chord beside it: beyond, no monotone cubic has it.
  KRF_HD static double kept(double slope, double change, double width) {
    const double most = 3.0 * change / width;
    return change > 0 ? larger(0.0, smaller(slope, most)) : smaller(0.0, larger(slope, most));
  }
  // A term of the derivative at x of Lagrange's polynomial of node j: that in which the factor of
  // node k is derived.
  KRF_HD static double term(int j, int k, double x) {
    double product = 1.0 / (node(j) - node(k));
    for (int i = 0; i < 4; ++i)
      if (i != j && i != k)
        product *= (x - node(i)) / (node(j) - node(i));
    return product;
  }
  // ln of the integral of exp(at(x') - at(x)) over x' from 0 to x: panels of Gauss's rule with four
  // points, each no longer than -ln S takes to change by one, from x down to where nothing is left.
  KRF_HD double log_shape(double x) const {
    const double here = at(x);
    double top = here;
    for (int j = 0; j < 4; ++j)
      top = node(j) < x ? larger(top, value[j]) : top;
    double sum = 0.0, end = x;
    for (int k = 0; k < margin_clock::kMostPanels && end > 0.0; ++k) {
      const double small = 1e-7 * end;
      const double rate = absolute((at(end) - at(end - small)) / small);
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
      // What is left is shorter than the whole and, where -ln S falls with x, smaller than here.
      if (at(end) < top - margin_clock::kNegligible &&
          at(0.5 * end) < top - margin_clock::kNegligible)
        break;
    }
    return std::log(sum) + (top - here);
  }
};

KRF_END_NAMESPACE
