// Which elements of a tile the lanes of a warp hold in the FP64 products of the tensor cores (PTX
// ISA, mma with .f64: m8n8k4, and as eights of rows and quads of terms of that m16n8k8): the
// device's layout, which host threads that play lanes share.
#pragma once

#include "../core/base/config.hpp"

KRF_BEGIN_NAMESPACE

struct WarpTiles {
  static constexpr int kSide = 1, kSums = 2;                // numbers a lane
  KRF_HD static int side_row(int lane) { return lane / 4; } // a column, on the right
  KRF_HD static int side_k(int lane) { return lane % 4; }
  KRF_HD static int sum_row(int lane) { return lane / 4; }
  KRF_HD static int sum_column(int lane, int e) { return 2 * (lane % 4) + e; }
};

KRF_END_NAMESPACE
