// Bump allocation from one block that the executor owns.  A structure that is laid out over a null
// arena only counts, so that no size is written down twice.
//
// Memory from an arena is uninitialised (NaN in tests): initialise any padding that is read.
#pragma once

#include "config.hpp"

KRF_BEGIN_NAMESPACE

class Arena {
public:
  KRF_HD explicit Arena(double *base) : base_(base) {}

  template <class Item = double> KRF_HD Item *take(long long count) {
    static_assert(sizeof(Item) <= sizeof(double));
    constexpr long long kItems = sizeof(double) / sizeof(Item);
    double *block = base_ ? base_ + used_ : nullptr;
    used_ += padded((count + kItems - 1) / kItems);
    return reinterpret_cast<Item *>(block);
  }
  KRF_HD long long used() const { return used_; }

private:
  double *base_;
  long long used_ = 0;
};

KRF_END_NAMESPACE
