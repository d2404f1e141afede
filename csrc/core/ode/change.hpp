// How large a change of the state is, in the measures that the tolerance speaks of.
#pragma once

#include "../base/config.hpp"

KRF_BEGIN_NAMESPACE

// Where a flow stands that no longer moves visibly: at a stationary point, or where a loss that
// would still fall has become rounding.
enum class Rest { kNone, kRounding, kStationary };

struct Change {
  double single = 0; // worst relative change of one part that must keep its own relative accuracy
  double whole = 0;  // norm of the change of the predictor
  double norm = 0;   // of the predictor there
  double step = 0;   // norm of the predictor's change over the whole step, where a step is tried
  KRF_HD double relative_to(double atol, double rtol, double norm_before) const {
    const double scale = atol + rtol * larger(norm_before, norm);
    return larger(single / rtol, scale > 0 ? whole / scale : (whole > 0 ? kInfinity : 0.0));
  }
};

KRF_END_NAMESPACE
