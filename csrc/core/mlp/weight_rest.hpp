// Whether the weights of a network have come to rest: at a local minimum, or with nothing left
// alive.  A saddle is left meanwhile, at the pace its steps have.
#pragma once

#include "../ode/standstill.hpp"
#include "unit_shares.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class WeightRest {
  // What the field may still move the weights by over the time between two looks, in rtol.
  static constexpr double kStillMoving = 1e-3;
  // By how much errors that nothing holds let the weights wander between two looks, in rtol, and at
  // most: a unit that grows slowly beside a stiff direction moves by more.
  static constexpr double kWander = 10.0, kMostWander = 1e-3;

public:
  KRF_HD WeightRest(Network<TeamT> &net, Arena &arena)
      : team_(net.team), shares_(net), length_(net.layout.length()),
        remembered_(arena.take(length_)), moved_(arena.take(length_)) {}

  // Either the field would not have moved the weights over the last steps, or, where it never gets
  // so small (explicit steps leave noise), they and the loss did not.
  KRF_HD KRF_APART bool flow_rests(const Progress &now, const double *w, const double *field,
                                   double loss) {
    const double speed = shares_.largest_share(field, w);
    if (speed == 0.0)
      return true;
    if (now.steps == 0) {
      by_speed_.mark(now, loss);
      by_motion_.mark(now, loss);
      copy(team_, w, remembered_, length_);
      return false;
    }
    if (by_speed_.is_due(now)) {
      if (by_speed_.stands_still(loss) && speed * (now.t - by_speed_.t) < kStillMoving * now.rtol)
        return true;
      by_speed_.mark(now, loss);
    }
    if (by_motion_.is_due(now)) {
      if (by_motion_.stands_still(loss) && moved(w) < smaller(kWander * now.rtol, kMostWander))
        return true;
      by_motion_.mark(now, loss);
      copy(team_, w, remembered_, length_);
    }
    return false;
  }
  KRF_HD bool descent_rests(const Progress &now, const double *w, const double *field,
                            double loss) {
    if (!by_descent_.is_due(now))
      return false;
    const bool rests = !(shares_.largest_share(field, w) * now.t > kStillMoving * now.rtol) &&
                       by_descent_.stands_still(loss);
    by_descent_.mark(now, loss);
    return rests;
  }

private:
  KRF_HD double moved(const double *w) {
    subtract(team_, w, remembered_, moved_, length_);
    return shares_.largest_share(moved_, w);
  }

  TeamT &team_;
  UnitShares<TeamT> shares_;
  int length_;
  double *remembered_, *moved_;
  // So many steps, over so much of the time there has been, have moved nothing.
  Standstill by_speed_{20, 1.5}, by_motion_{1000, 2.0}, by_descent_{1000, 0.0};
};

KRF_END_NAMESPACE
