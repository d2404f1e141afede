// What may happen within a step: kinks of a ReLU network that were crossed, or nothing.
#pragma once

#include "system.hpp"

KRF_BEGIN_NAMESPACE

enum class Verdict {
  kAccept,  // the step stands
  kRepeat,  // from its start, with length h
  kRefuse,  // the step failed
  kRestart, // the state at its start was corrected, and no time has passed
  kFail     // the run cannot go on
};

struct Resolution {
  Verdict verdict = Verdict::kAccept;
  double h = 0;                   // of a repeated step
  double step_factor = kInfinity; // the next step is at most so much longer
};

// The policy of smooth systems.
template <FlowSystem System> struct NoEvents {
  long long n_rhs = 0; // fields evaluated

  KRF_HD NoEvents(System &, Arena &) {}
  // Of a trial step of length `step`, whose error is within the tolerance.
  KRF_HD static Resolution resolve(double, const double *, double, double) { return {}; }
};

KRF_END_NAMESPACE
