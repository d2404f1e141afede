// method = "auto": which of the two methods a run uses, decided by progress per unit of work.
//
// Both are measured on the run itself.  The method in use is judged after a few steps against the
// step length of the other one when it was last used, weighted by the cost ratio of a step; every
// verdict against a trial makes the next trial rarer, so a run wastes a bounded share on trials.
// Work is counted in operations, never in seconds: results must not depend on the machine's load.
#pragma once

#include "../base/config.hpp"

KRF_BEGIN_NAMESPACE

class MethodChoice {
public:
  // cost_ratio is that of a stiff step to an explicit one.
  KRF_HD MethodChoice(bool free, bool stiff, double cost_ratio)
      : free_(free), stiff_(stiff), cost_ratio_(cost_ratio),
        edge_steps_(larger(3.0, 0.5 * cost_ratio)),
        trial_every_(kTrial * larger(1.0, 0.25 * cost_ratio)) {}

  KRF_HD bool stiff() const { return stiff_; }

  // Whether the largest eigenvalue is wanted for the next call of `accepted`.
  KRF_HD bool wants_eigenvalue() const {
    return free_ && stiff_ && !on_trial_ && steps_ % kLook == kLook - 1;
  }

  // After an accepted step: h is what the controller wants next.  `stiffness` is h times the
  // largest eigenvalue where known, else negative.  Returns whether the method changed; going back
  // after a trial resumes with the step length of before.
  KRF_HD bool accepted(double &h, double stiffness) {
    if (!free_)
      return false;
    ++steps_;
    if (on_trial_) {
      if (steps_ < kTrial)
        return false;
      on_trial_ = false;
      const double gain = stiff_ ? h / (cost_ratio_ * other_h_) : h * cost_ratio_ / other_h_;
      if (gain >= 1.0)
        return false;
      // Beyond any number of steps there is nothing to gain, but an overflow to be had.
      patience_ = patience_ < kMostPatience ? 3 * patience_ : patience_;
      const double resume = other_h_;
      change(h, false);
      h = resume;
      return true;
    }
    if (!stiff_) {
      stiff_steps_ = stiffness > kStabilityEdge ? stiff_steps_ + 1 : 0;
      if (stiff_steps_ >= edge_steps_ || steps_ >= trial_every_ * patience_)
        return change(h, true);
    } else if (stiffness >= 0.0) {
      // An explicit method is limited to h times eigenvalue of about three.
      easy_ = stiffness < kStabilityEdge * cost_ratio_ ? easy_ + 1 : 0;
      if (easy_ >= patience_)
        return change(h, true);
    }
    return false;
  }

private:
  static constexpr int kTrial = 6;
  static constexpr int kLook = 4;
  static constexpr int kMostPatience = 100'000'000;
  static constexpr double kStabilityEdge = 2.5;

  KRF_HD bool change(double h, bool on_trial) {
    other_h_ = h;
    stiff_ = !stiff_;
    on_trial_ = on_trial;
    steps_ = stiff_steps_ = easy_ = 0;
    return true;
  }

  bool free_, stiff_, on_trial_ = false;
  // A trial of the stiff method costs kTrial times cost_ratio explicit steps, so the dearer it is,
  // the more explicit steps come first.
  double cost_ratio_, edge_steps_, trial_every_, other_h_ = 0;
  int steps_ = 0, stiff_steps_ = 0, easy_ = 0, patience_ = 1;
};

KRF_END_NAMESPACE
