// Bump allocation from one block that the executor owns.  Laying out a structure over a null arena
// only counts, so sizes are never written down twice.
#pragma once

#include "config.hpp"

KRF_BEGIN_NAMESPACE

class Arena {
public:
  KRF_HD explicit Arena(double *base) : base_(base) {}
  KRF_HD double *take(long long count) {
    double *block = base_ ? base_ + used_ : nullptr;
    used_ += padded(count);
    return block;
  }
  KRF_HD long long used() const { return used_; }

private:
  double *base_;
  long long used_ = 0;
};

KRF_END_NAMESPACE
