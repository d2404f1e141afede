// Changes of weights relative to those of the unit they belong to: what is small beside others may
// outgrow them later, and must keep its own relative accuracy until then.
#pragma once

#include "network.hpp"

KRF_BEGIN_NAMESPACE

// A hidden unit has the weights that lead to it, and those that lead from it to the outputs.
template <Team TeamT> class UnitShares {
  using T = typename TeamT::Value;
  // Of the largest unit; smaller ones are measured by this.
  static constexpr double kSmallestUnit = 1e-8;

public:
  KRF_HD explicit UnitShares(Network<TeamT> &net) : net_(net), team_(net.team) {}

  // The share of a unit's weights, in norm, that v is: the largest over the units.
  KRF_HD double largest_share(const double *v, const double *w) {
    // What is zero, as a last layer may be, has no relative accuracy.
    const double floor = kSmallestUnit * kSmallestUnit * largest_norm2(w);
    T worst = splat<T>(0.0);
    for (int copy = 0; copy < net_.layout.s.copies; ++copy)
      for (int l = 0; l < net_.layout.s.depth; ++l)
        team_.each(units_of(l), [&](int unit) {
          const double part = norm2(v, copy, l, unit);
          const double size = larger(norm2(w, copy, l, unit), floor);
          worst = greater_of(worst, one_lane<T>(part > 0 ? part / size : 0.0));
        });
    return std::sqrt(team_.max(worst));
  }

private:
  // The units that a layer's weights are told apart by: those it leads to, but where these are the
  // outputs, those it comes from.
  KRF_HD bool is_last(int l) const { return l + 1 == net_.layout.s.depth; }
  KRF_HD int units_of(int l) const {
    const MlpShape &s = net_.layout.s;
    return is_last(l) ? s.units[l] + s.bias : s.units[l + 1];
  }
  KRF_HD double norm2(const double *v, int copy, int l, int unit) const {
    const ConstMatrix layer = net_.layout.layer_weights(v, copy, l);
    double sum = 0;
    if (is_last(l))
      for (int row = 0; row < net_.layout.s.units[l + 1]; ++row)
        sum += square(layer(row, unit));
    else
      for (int i = 0; i < layer.ld; ++i)
        sum += square(layer(unit, i));
    return sum;
  }
  KRF_HD double largest_norm2(const double *w) {
    T largest = splat<T>(0.0);
    for (int copy = 0; copy < net_.layout.s.copies; ++copy)
      for (int l = 0; l < net_.layout.s.depth; ++l)
        team_.each(units_of(l), [&](int unit) {
          largest = greater_of(largest, one_lane<T>(norm2(w, copy, l, unit)));
        });
    return team_.max(largest);
  }

  Network<TeamT> &net_;
  TeamT &team_;
};

KRF_END_NAMESPACE
