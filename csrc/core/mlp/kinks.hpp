// Kinks that a step has crossed: when, what that did to its accuracy, and what happens next.
//
// A step is computed with every kink as it was at the start, so the field is smooth and any order
// holds; it runs a little past the first crossing.  The error of the part after the crossing is the
// jump of the field times the time since the crossing, and the jump of the predictions. Where the
// tolerance covers it, crossings are accepted at the end of the step, many at once; otherwise the
// step is repeated up to just behind the first.  Then each crossed kink passes, or slides where
// both sides point back at it (sliding.hpp).
#pragma once

#include "../ode/events.hpp"
#include "cubic.hpp"
#include "mlp_system.hpp"

KRF_BEGIN_NAMESPACE

template <Team TeamT> class Kinks {
  using System = MlpSystem<TeamT>;
  using T = typename TeamT::Value;

public:
  KRF_HD Kinks(System &system, Arena &arena)
      : s_(system), index_(arena.take<int>(system.size())), listed_(arena.take<int>(system.size())),
        rate_(arena.take(system.size())), rate_trial_(arena.take(system.size())),
        touched_(arena.take(system.size())), jump_(arena.take(system.length)) {}

  long long n_rhs = 1; // fields evaluated; that of the start had to find the modes first

  // Of a trial step whose error, with the kinks as they were, is within the tolerance.
  KRF_HD Resolution resolve(double step, const double *end_field, double rtol, double atol) {
    const Resolution refused{Verdict::kRefuse};
    if (!arrive(end_field))
      return refused;
    measure_rates();
    const double excursion = first_excursion(step, rtol, atol);
    if (excursion < 1.0 && repeats_ < kMaxRepeats) {
      ++repeats_;
      return {Verdict::kRepeat, excursion * step};
    }
    const double x = first_crossing(step);
    if (x > 1.0)
      return accepted(kInfinity);
    if (halvings_ < kMaxHalvings && is_undecided()) {
      ++halvings_;
      return {Verdict::kRepeat, 0.5 * step};
    }
    if (x == 0.0 && rewinds_ < kMaxRewinds)
      return restarted();
    const double time_past_crossing = (1.0 - x) * step;
    const double crossing_error = cross(time_past_crossing, rtol, atol);
    // The error of one crossing is proportional to the time behind it; of many, there are fewer in
    // a shorter time.
    const double share = kBehind / crossing_error;
    const double shorter = x * step + time_past_crossing * (crowded() ? std::sqrt(share) : share);
    if (crossing_error > 1.0 && repeats_ < kMaxRepeats && shorter < step) {
      ++repeats_;
      return {Verdict::kRepeat, shorter};
    }
    if (!(crossing_error < kMaxCrossingError) || (crossing_error > kNegligible && !resolve_modes()))
      return refused;
    s_.accept_modes();
    halvings_ = 0;
    return accepted(crowded() ? std::sqrt(0.6 / larger(crossing_error, 1e-3)) : kInfinity);
  }

private:
  KRF_HD Resolution restarted() {
    ++rewinds_;
    if (!rewind())
      return {Verdict::kFail};
    s_.accept_modes();
    s_.accept();
    return {Verdict::kRestart};
  }
  KRF_HD Resolution accepted(double step_factor) {
    repeats_ = rewinds_ = 0;
    return {Verdict::kAccept, 0, step_factor};
  }

  // The trial end, with its weights back on the kinks along which units slide, and the field there.
  KRF_HD KRF_APART bool arrive(const double *end_field) {
    if (!s_.sliding().deep()) {
      copy(s_.team, end_field, s_.field_trial, s_.length);
    } else {
      for (int pass = 0; pass < 2 && (pass == 0 || is_off_kinks()); ++pass) {
        s_.sliding().restore(s_.trial, s_.w_trial);
        ++n_rhs;
        if (!s_.evaluate_at(s_.w_trial, s_.mode, s_.sliding(), s_.trial, s_.field_trial))
          return false;
      }
    }
    if (s_.sliding().any())
      s_.sliding().fractions(s_.w_trial, s_.mode, s_.trial, s_.theta_next, s_.work);
    return true;
  }

  // Whether deeper units are still off their kinks after one correction, which is of first order.
  // Two of them may hold the z of a unit in an earlier layer at its kink, and what is left would
  // make that unit cross in every step.
  KRF_HD bool is_off_kinks() {
    return s_.team.any(s_.size(), [&](int e) {
      return s_.mode[e] < 0.0 && s_.net.layout.layer_of(e) > 0 &&
             std::fabs(s_.trial.Z[e]) > s_.noise(e);
    });
  }

  // The rates of all z at both ends of a trial step.
  KRF_HD KRF_APART void measure_rates() {
    s_.net.rates(s_.w, s_.field, s_.mode, s_.base, rate_);
    s_.net.rates(s_.w_trial, s_.field_trial, s_.mode, s_.trial, rate_trial_);
  }

  // A kink that was crossed and crossed back shows at neither end of the step, yet behind the first
  // crossing the flow may have gone another way. The fraction of the step at which the first such z
  // is farthest on its other side, or a value above one where there is none, or where all of them
  // there, for as long as they were, cause an error below the tolerance.
  KRF_HD KRF_APART double first_excursion(double step, double rtol, double atol) {
    const double *mode = s_.mode, *Z0 = s_.base.Z, *Z1 = s_.trial.Z;
    const auto cubic = [&](int e) {
      const double side = mode[e] > 0.0 ? 1.0 : -1.0;
      return Cubic{side * Z0[e], side * step * rate_[e], side * Z1[e],
                   side * step * rate_trial_[e]};
    };
    count_ = s_.team.collect(
        s_.size(),
        [&](int e) {
          if (mode[e] < 0.0 || !s_.hidden(e))
            return false;
          const Cubic z = cubic(e);
          return z.dips() && z.at(z.lowest()) < -s_.noise(e);
        },
        index_);
    if (count_ == 0)
      return 2.0;
    const int longest = s_.team.largest(count_, [&](int i) { return cubic(index_[i]).below(); });
    const int first =
        s_.team.largest(count_, [&](int i) { return 2.0 - cubic(index_[i]).lowest(); });
    const double time = step * cubic(index_[longest]).below();
    const double where = cubic(index_[first]).lowest();
    double *next = s_.mode_next;
    copy(s_.team, mode, next, s_.size());
    s_.team.each(count_, [&](int i) { next[index_[i]] = mode[index_[i]] > 0.0 ? 0.0 : 1.0; });
    copy(s_.team, s_.field_trial, jump_, s_.length);
    s_.sliding_next().collect(next, Z1);
    if (!evaluate_trial())
      return where;
    s_.team.for_each(s_.length, [&](int i) {
      write(jump_ + i, time * (read<T>(s_.field_trial + i) - read<T>(jump_ + i)));
    });
    const double crossing_error =
        s_.error_norm_of(jump_).relative_to(atol, rtol, s_.predictor_norm());
    ++n_rhs; // back to the modes of the step
    if (!s_.evaluate_at(s_.w_trial, mode, s_.sliding(), s_.trial, s_.field_trial))
      return where;
    return crossing_error > 1.0 ? where : 2.0;
  }

  // After a trial step: the fraction of the step at which the first kink was crossed, or a value
  // above one where none was.
  KRF_HD KRF_APART double first_crossing(double step) {
    const double *mode = s_.mode, *Z = s_.trial.Z, *theta = s_.theta_next;
    count_ = s_.team.collect(
        s_.size(),
        [&](int e) {
          if (mode[e] < 0.0)
            return leaves(theta[e]);
          return (Z[e] > 0.0) != (mode[e] > 0.0) && s_.hidden(e) && std::fabs(Z[e]) > s_.noise(e);
        },
        index_);
    crossed_ = count_;
    if (count_ == 0)
      return 2.0;
    const auto fraction = [&](int i) {
      const int e = index_[i];
      return mode[e] < 0.0 ? leaving(s_.theta[e], theta[e])
                           : crossing(s_.base.Z[e], step * rate_[e], Z[e], step * rate_trial_[e],
                                      mode[e] > 0.0);
    };
    const int first = s_.team.largest(count_, [&](int i) { return 2.0 - fraction(i); });
    return first < 0 ? 0.0 : fraction(first);
  }

  // Whether a kink slid and left to a side that the end of the step cannot tell.
  KRF_HD bool is_undecided() {
    return s_.team.any(count_, [&](int i) { return is_undecided(index_[i]); });
  }
  KRF_HD bool is_undecided(int e) const {
    return s_.mode[e] < 0.0 && s_.theta_next[e] != s_.theta_next[e];
  }

  // The kinks that were on the wrong side at the start already, by rounding: back to the start.
  KRF_HD KRF_APART bool rewind() {
    const double *mode = s_.mode, *Z = s_.base.Z, *theta = s_.theta;
    const double *end = s_.trial.Z, *theta_end = s_.theta_next;
    const int found = s_.team.collect(
        count_,
        [&](int i) {
          const int e = index_[i];
          return mode[e] < 0.0 ? leaving(theta[e], theta_end[e]) == 0.0
                               : (Z[e] > 0.0) != (mode[e] > 0.0);
        },
        listed_);
    // Their modes change whatever the rounding of z says: what it becomes decides.
    s_.team.each(found, [&](int i) { touched_[i] = index_[listed_[i]]; });
    s_.team.each(found, [&](int i) {
      const int e = static_cast<int>(touched_[i]);
      index_[i] = e;
      rate_[i] = mode[e] < 0.0 ? (theta_end[e] > 1.0 ? 1.0 : 0.0) : (end[e] > 0.0 ? 1.0 : 0.0);
    });
    count_ = found;
    double *next = s_.mode_next;
    copy(s_.team, mode, next, s_.size());
    s_.team.each(count_, [&](int i) { next[index_[i]] = rate_[i]; });
    copy(s_.team, s_.w, s_.w_trial, s_.length);
    s_.net.forward(s_.w_trial, next, s_.trial);
    s_.sliding_next().collect(next, s_.trial.Z);
    return evaluate_trial() && resolve_modes();
  }

  // More than can be told apart one by one.
  KRF_HD bool crowded() const { return crossed_ > kCrowded; }

  // The modes behind the crossings, the field there, and the error of crossing at the end of the
  // step, in tolerances; `time_past_crossing` is the time since the first crossing.
  KRF_HD KRF_APART double cross(double time_past_crossing, double rtol, double atol) {
    const double *mode = s_.mode, *Z = s_.trial.Z, *theta = s_.theta_next;
    double *next = s_.mode_next;
    copy(s_.team, mode, next, s_.size());
    const int outputs = s_.n() * s_.net.layout.outputs();
    copy(s_.team, s_.field_trial, jump_, s_.length);
    double *before = s_.work; // of the predictions
    s_.team.each(outputs, [&](int i) { before[i] = s_.trial.f[i]; });
    // Layer by layer: a unit that only followed others through their kinks comes back with them,
    // and one behind units that were all at rest for a sample starts from zero when they wake.
    const MlpLayout &layout = s_.net.layout;
    s_.net.forward(s_.w_trial, next, s_.trial, [&](int copy, int l) {
      s_.team.each(count_, [&](int i) {
        const int e = index_[i];
        if (layout.copy_of(e) != copy || layout.layer_of(e) != l)
          return;
        if (mode[e] < 0.0)
          next[e] = theta[e] > 1.0 || (is_undecided(e) && s_.theta[e] > 0.5) ? 1.0 : 0.0;
        else if (std::fabs(Z[e]) > s_.noise(e))
          next[e] = Z[e] > 0.0 ? 1.0 : 0.0;
      });
      if (l > 0 && l + 1 < layout.s.depth)
        list_followers(copy, l);
    });
    s_.sliding_next().collect(next, Z);
    if (!evaluate_trial())
      return kInfinity;
    T sum = splat<T>(0.0);
    s_.team.each(outputs, [&](int i) {
      const double d = s_.trial.f[i] - before[i];
      sum += one_lane<T>(d * d);
    });
    const double predictions = std::sqrt(s_.team.sum(sum));
    s_.team.for_each(s_.length, [&](int i) {
      write(jump_ + i, time_past_crossing * (read<T>(s_.field_trial + i) - read<T>(jump_ + i)));
    });
    const double scale = s_.predictor_norm();
    return larger(s_.error_norm_of(jump_).relative_to(atol, rtol, scale),
                  predictions > 0 ? predictions / (atol + rtol * scale) : 0.0);
  }

  // Lets crossed kinks slide where both sides point back, until all agree with the field (principal
  // pivoting: all that disagree at once, later one by one).  Kinks that stop sliding are changed
  // first, and the crossed ones judged by the field after that; changed together they may find
  // modes that agree with the field but that descent would leave.  False where the field fails.
  KRF_HD KRF_APART bool resolve_modes() {
    const double *Z = s_.trial.Z;
    double *next = s_.mode_next, *theta = s_.theta_next;
    fill(s_.team, 0.0, touched_, s_.size());
    s_.team.each(count_, [&](int i) { touched_[index_[i]] = was_beyond(index_[i]) ? 0.0 : 1.0; });
    for (int round = 0; round < kRounds; ++round) {
      s_.net.rates(s_.w_trial, s_.field_trial, next, s_.trial, rate_trial_);
      if (s_.sliding_next().any())
        s_.sliding_next().fractions(s_.w_trial, next, s_.trial, theta, s_.work);
      const auto stops_sliding = [&](int e) { return next[e] < 0.0 && leaves(theta[e]); };
      const auto comes_back = [&](int e) {
        return next[e] >= 0.0 && touched_[e] > 0.0 &&
               (next[e] > 0.0 ? rate_trial_[e] < 0.0 : rate_trial_[e] > 0.0);
      };
      int found = 0;
      if (crowded()) {
        found = s_.team.collect(
            s_.size(), [&](int e) { return stops_sliding(e) || comes_back(e); }, index_);
      } else {
        found = s_.team.collect(s_.size(), stops_sliding, index_);
        if (found == 0)
          found = s_.team.collect(s_.size(), comes_back, index_);
      }
      if (found == 0 || (round >= (crowded() ? kFewRounds : kRounds)))
        return true;
      if (round >= kTogether)
        found = 1;
      s_.team.each(found, [&](int i) {
        const int e = index_[i];
        touched_[e] = 1.0;
        next[e] = next[e] < 0.0 ? (theta[e] > 1.0 ? 1.0 : 0.0) : -1.0;
      });
      s_.sliding_next().collect(next, Z);
      s_.sliding_next().first.project(s_.w_trial);
      if (!evaluate_trial())
        return false;
    }
    return true;
  }

  // Whether z was on the other side than its mode says when the step began.  Crossings count at the
  // end of a step: a unit whose field then points back gets its old mode while z is still behind
  // the kink. From there z has not come to the kink, and must not be held on it.
  KRF_HD bool was_beyond(int e) const {
    return s_.mode[e] >= 0.0 && (s_.base.Z[e] > 0.0) != (s_.mode[e] > 0.0) &&
           std::fabs(s_.base.Z[e]) > s_.noise(e);
  }

  // Adds the units of a layer that the new modes before it have put on the other side.
  KRF_HD void list_followers(int copy, int l) {
    const double *Z = s_.trial.Z;
    double *next = s_.mode_next;
    const int begin = s_.net.layout.offset(copy, l, s_.n());
    const int found = s_.team.collect(
        s_.n() * s_.net.layout.ldz(l),
        [&](int i) {
          const int e = begin + i;
          return next[e] >= 0.0 && (Z[e] > 0.0) != (next[e] > 0.0) && s_.hidden(e) &&
                 std::fabs(Z[e]) > s_.noise(e);
        },
        listed_);
    s_.team.each(found, [&](int i) {
      const int e = begin + listed_[i];
      index_[count_ + i] = e;
      next[e] = Z[e] > 0.0 ? 1.0 : 0.0;
    });
    count_ += found;
  }

  // A repeated step aims at this share of the tolerance behind the crossing.
  static constexpr double kBehind = 0.3;
  // How often a step is repeated for its crossings before it is taken, by then very short; it is
  // refused if their error is more than kMaxCrossingError tolerances even so.
  static constexpr int kMaxRepeats = 12;
  static constexpr double kMaxCrossingError = 10.0;
  // Consecutive mode corrections, without advancing time, for kinks already on the wrong side at
  // the start of the step.
  static constexpr int kMaxRewinds = 2;
  // Below this crossing error, in tolerances, it does not matter which kinks slide.
  static constexpr double kNegligible = 1e-2;
  // How many times steps are halved to find the side to which a kink is left.  There is a bound,
  // because both sides may turn away at the same moment.
  static constexpr int kMaxHalvings = 20;
  // The fraction of a step at which a kink counts as left where theta has passed infinity or is
  // undecided, and the true fraction is not known.
  static constexpr double kEarly = 1e-6;
  static constexpr int kRounds = 24;
  static constexpr int kTogether = 6;
  static constexpr int kFewRounds = 2; // where there are many
  static constexpr int kCrowded = 8;

  KRF_HD bool evaluate_trial() {
    ++n_rhs;
    return s_.evaluate_at(s_.w_trial, s_.mode_next, s_.sliding_next(), s_.trial, s_.field_trial);
  }

  // With a hair of slack: at rest, theta may be 0 or 1 up to rounding.
  KRF_HD static bool leaves(double theta) { return !(theta >= -1e-8 && theta <= 1.0 + 1e-8); }

  // Where theta, taken as linear, leaves [0, 1]; zero where it was outside to begin with.
  KRF_HD static double leaving(double before, double after) {
    const double from = smaller(1.0, larger(0.0, before)), edge = after > 1.0 ? 1.0 : 0.0;
    if (from == edge)
      return 0.0;
    const double x = smaller(1.0, (edge - from) / (after - from));
    return x > kEarly ? x : kEarly;
  }

  // Where z changes sign; zero where it had the other sign to begin with.
  KRF_HD static double crossing(double z0, double d0, double z1, double d1, bool positive) {
    if ((z0 > 0.0) != positive)
      return 0.0;
    const Cubic z{z0, d0, z1, d1};
    const double side = positive ? 1.0 : -1.0;
    return Cubic::root([&](double x) { return side * z.at(x); }, 0.0, 1.0);
  }

  System &s_;
  int repeats_ = 0, rewinds_ = 0, halvings_ = 0;
  int count_ = 0, crossed_ = 0; // in index_; of the last trial step
  int *index_, *listed_;
  double *rate_, *rate_trial_, *touched_, *jump_;
};

KRF_END_NAMESPACE
