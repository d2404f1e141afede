// Whether a run has come to a standstill: looks at intervals whether the loss still falls.
#pragma once

#include "../base/config.hpp"

KRF_BEGIN_NAMESPACE

// How far a run has come.
struct Progress {
  long long steps = 0;
  double t = 0, rtol = 0;
  bool descending = false; // by gradient descent instead of the flow
  bool timed = false;      // asked for at times
};

// The state of a run at an earlier step, against which its loss is compared.
struct Standstill {
  long long interval;       // in steps
  double time_ratio;        // the time passes by at least this factor between two looks
  double least_fall = 1e-9; // relative; a loss that falls by less stands still
  long long steps = 0;      // at the last look, like those that follow
  double t = 0, loss = kInfinity;

  KRF_HD bool is_due(const Progress &now) const {
    return now.steps >= steps + interval && now.t >= time_ratio * t;
  }
  KRF_HD bool stands_still(double loss_now) const { return loss_now > loss * (1.0 - least_fall); }
  KRF_HD void mark(const Progress &now, double loss_now) {
    steps = now.steps, t = now.t, loss = loss_now;
  }
};

KRF_END_NAMESPACE
