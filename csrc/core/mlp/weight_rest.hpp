// Whether the weights of a network have come to rest: at a local minimum, or with nothing left
// alive.  A saddle is left meanwhile, at the pace its steps have.
#pragma once

#include "../ode/standstill.hpp"
#include "unit_shares.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class WeightRest {
  using T = typename TeamT::Value;
  // What the field may still move the weights by over the time between two looks, in rtol.
  static constexpr double kStillMoving = 1e-3;
  // In directions that the loss does not see, errors add up: by so much the weights of a network at
  // rest may move between two looks.  The first is in rtol, and grows with the root of the steps.
  static constexpr double kWander = 10.0, kMostWander = 1e-2;
  // Explicit steps beside a stiff direction are short.  So the time between two looks has to be so
  // long that the residual could let a unit grow by e to this.
  static constexpr double kEFolds = 20.0;
  // A field that is only rounding, in units of the rounding of the largest it could be.  It grows
  // with the steps, since a step carries the rounding of the field through its length.
  static constexpr double kQuiet = 1024.0, kQuietPerRate = 8.0, kMostQuiet = 1e5;

public:
  KRF_HD WeightRest(Network<TeamT> &net, Arena &arena)
      : net_(net), team_(net.team), shares_(net), length_(net.layout.length()),
        remembered_(arena.take(length_)), moved_(arena.take(length_)) {}

  // The field is only rounding; or it would not have moved the weights over the last steps; or,
  // where it never gets so small (explicit steps leave noise), they and the loss did not move.
  KRF_HD KRF_APART bool flow_rests(const Progress &now, const double *w, const double *field,
                                   double loss) {
    const double speed = shares_.largest_share_of_whole(field, w);
    if (speed == 0.0)
      return true;
    if (now.steps == 0) {
      by_speed_.mark(now, loss);
      by_motion_.mark(now, loss);
      copy(team_, w, remembered_, length_);
      return false;
    }
    if (is_quiet(now, w, speed, loss))
      return true;
    if (by_speed_.is_due(now)) {
      if (by_speed_.stands_still(loss) && speed * (now.t - by_speed_.t) < kStillMoving * now.rtol)
        return true;
      by_speed_.mark(now, loss);
    }
    if (by_motion_.is_due(now)) {
      const double steps = static_cast<double>(now.steps - by_motion_.steps);
      const double wander = smaller(kWander * now.rtol * std::sqrt(steps), kMostWander);
      if (by_motion_.stands_still(loss) && moved(w) < wander &&
          largest_rate(w, loss) * (now.t - by_motion_.t) > kEFolds)
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
    const bool rests =
        !(shares_.largest_share_of_whole(field, w) * now.t > kStillMoving * now.rtol) &&
        by_descent_.stands_still(loss);
    by_descent_.mark(now, loss);
    return rests;
  }

private:
  // Whether the field has been rounding for a while.  Stiff steps become so long at rest that the
  // other looks come too late: rounding times the length of a step then moves the weights.
  KRF_HD KRF_APART bool is_quiet(const Progress &now, const double *w, double speed, double loss) {
    const double h = now.t - quiet_.last;
    quiet_.last = now.t;
    const bool moves = speed * now.t > kStillMoving; // the rate need not be known
    const double rate = moves ? 0.0 : largest_rate(w, loss);
    if (!(speed <= kEpsilon * rate * smaller(kQuiet + kQuietPerRate * rate * h, kMostQuiet))) {
      quiet_.since = kInfinity;
      return false;
    }
    quiet_.since = smaller(quiet_.since, now.t);
    return rate * (now.t - quiet_.since) > kEFolds;
  }

  KRF_HD double moved(const double *w) {
    subtract(team_, w, remembered_, moved_, length_);
    return shares_.largest_share_of_whole(moved_, w);
  }

  // A bound on the rate at which a unit may grow, from the residual and the size of other layers.
  KRF_HD KRF_APART double largest_rate(const double *w, double loss) {
    const MlpLayout &layout = net_.layout;
    T largest = splat<T>(0.0);
    team_.each(net_.n(), [&](int i) {
      const double *x = ConstMatrix{net_.X, layout.ld(0)}.row(i);
      double sum = 0;
      for (int j = 0; j < layout.ld(0); ++j)
        sum += square(x[j]);
      largest = greater_of(largest, one_lane<T>(sum));
    });
    double product = 1.0, least = kInfinity, next = kInfinity; // of the layers' sizes
    for (int l = 0; l < layout.s.depth; ++l) {
      double size2 = 0;
      for (int copy = 0; copy < layout.s.copies; ++copy) {
        const double *of = w + layout.weights(copy, l);
        size2 += team_.dot(of, of, layout.s.units[l + 1] * layout.ld(l));
      }
      const double size = std::sqrt(size2);
      product *= size;
      next = smaller(next, larger(least, size));
      least = smaller(least, size);
    }
    const double others = least * next > 0.0 ? product / (least * next) : 0.0;
    return 2.0 * std::sqrt(loss * team_.max(largest)) * others;
  }

  Network<TeamT> &net_;
  TeamT &team_;
  UnitShares<TeamT> shares_;
  int length_;
  double *remembered_, *moved_;
  struct Quiet {
    double last = 0, since = kInfinity; // the time of the last step, and of the first quiet one
  } quiet_;
  // So many steps, over so much of the time there has been, have moved nothing.
  // The least fall is small, because over short steps a slow loss falls by little.  A loss that is
  // only noise rises as often as it falls, so that one of the next looks finds it at rest.
  Standstill by_speed_{20, 1.5, 1e-13}, by_motion_{200, 1.1, 1e-13}, by_descent_{1000, 0.0};
};

KRF_END_NAMESPACE
