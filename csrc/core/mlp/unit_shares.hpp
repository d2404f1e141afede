// Changes of weights relative to those of the unit they belong to: what is small beside others may
// outgrow them later, and must keep its own relative accuracy until then.
#pragma once

#include "network.hpp"

KRF_BEGIN_NAMESPACE

// A hidden unit has the weights that lead to it, and those that lead from it to the outputs.
template <Team TeamT> class UnitShares {
  using T = typename TeamT::Value;
  // The least sizes that changes are compared with, relative to the largest unit.  A unit that is
  // zero, as in a last layer that starts at zero, has no relative accuracy: its size is kNothing.
  static constexpr double kNothing = 1e-8, kSmallestUnit = 1e-30;
  // Squares below this may have lost digits.
  static constexpr double kLeastSquare = 1e-240;

public:
  KRF_HD explicit UnitShares(Network<TeamT> &net) : net_(net), team_(net.team) {}

  // The share of a unit's weights, in norm, that v is: the largest over the units.
  KRF_HD double largest_share(const double *v, const double *w) {
    return largest_share(v, w, false);
  }
  // The same, of the larger of a unit's weights: those to it and those from it grow by each other,
  // and where the former vanish on a kink their own size means nothing.
  KRF_HD double largest_share_of_whole(const double *v, const double *w) {
    return largest_share(v, w, true);
  }

private:
  KRF_HD KRF_APART double largest_share(const double *v, const double *w, bool whole) {
    const double largest2 = largest_norm2(w, 1.0);
    const double share2 = share2_of(v, w, 1.0, 1.0, largest2, whole);
    if (largest2 > kLeastSquare && share2 > kLeastSquare)
      return std::sqrt(share2);
    // Once more, in units in which squares do not underflow.
    const double v_size = largest_entry(v), w_size = largest_entry(w);
    if (!(v_size > 0.0 && w_size > 0.0))
      return std::sqrt(share2);
    const double v_unit = 1.0 / v_size, w_unit = 1.0 / w_size;
    const double scaled2 = share2_of(v, w, v_unit, w_unit, largest_norm2(w, w_unit), whole);
    return std::sqrt(scaled2) * w_unit * v_size;
  }

  // The square of the largest share of v_unit v in w_unit w.
  KRF_HD KRF_APART double share2_of(const double *v, const double *w, double v_unit, double w_unit,
                                    double largest2, bool whole) {
    const double nothing = kNothing * kNothing * largest2;
    const double floor = kSmallestUnit * kSmallestUnit * largest2;
    T worst = splat<T>(0.0);
    for (int copy = 0; copy < net_.layout.s.copies; ++copy)
      for (int l = 0; l < net_.layout.s.depth; ++l)
        team_.each(units_of(l), [&](int unit) {
          const double part = norm2(v, copy, l, unit, v_unit);
          double own = norm2(w, copy, l, unit, w_unit);
          if (whole)
            own = larger(own, norm2_beyond(w, copy, l, unit, w_unit));
          const double size = own > 0.0 ? larger(own, floor) : nothing;
          worst = greater_of(worst, one_lane<T>(part > 0 ? part / size : 0.0));
        });
    return team_.max(worst);
  }
  KRF_HD double largest_entry(const double *v) {
    T most = splat<T>(0.0);
    team_.each(net_.layout.length(),
               [&](int i) { most = greater_of(most, one_lane<T>(std::fabs(v[i]))); });
    return team_.max(most);
  }
  // The units that a layer's weights are told apart by: those it leads to, but where these are the
  // outputs, those it comes from.
  KRF_HD bool is_last(int l) const { return l + 1 == net_.layout.s.depth; }
  KRF_HD int units_of(int l) const {
    const MlpShape &s = net_.layout.s;
    return is_last(l) ? s.units[l] + s.bias : s.units[l + 1];
  }
  KRF_HD double norm2(const double *v, int copy, int l, int unit, double factor) const {
    const ConstMatrix layer = net_.layout.layer_weights(v, copy, l);
    double sum = 0;
    if (is_last(l))
      for (int row = 0; row < net_.layout.s.units[l + 1]; ++row)
        sum += square(factor * layer(row, unit));
    else
      for (int i = 0; i < layer.ld; ++i)
        sum += square(factor * layer(unit, i));
    return sum;
  }
  // Of the unit's other weights: those from it, but in the last layer those to it.
  KRF_HD double norm2_beyond(const double *w, int copy, int l, int unit, double factor) const {
    const MlpShape &s = net_.layout.s;
    if (is_last(l))
      return unit < s.units[l] && l > 0 ? norm2(w, copy, l - 1, unit, factor) : 0.0;
    const ConstMatrix next = net_.layout.layer_weights(w, copy, l + 1);
    double sum = 0;
    for (int row = 0; row < s.units[l + 2]; ++row)
      sum += square(factor * next(row, unit));
    return sum;
  }
  KRF_HD double largest_norm2(const double *w, double factor) {
    T largest = splat<T>(0.0);
    for (int copy = 0; copy < net_.layout.s.copies; ++copy)
      for (int l = 0; l < net_.layout.s.depth; ++l)
        team_.each(units_of(l), [&](int unit) {
          largest = greater_of(largest, one_lane<T>(norm2(w, copy, l, unit, factor)));
        });
    return team_.max(largest);
  }

  Network<TeamT> &net_;
  TeamT &team_;
};

KRF_END_NAMESPACE
