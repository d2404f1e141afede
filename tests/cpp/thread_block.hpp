// Host threads that play a CUDA block: csrc/cuda/block_team.hpp runs on them unchanged.
#pragma once

#include <barrier>

#include "../../csrc/core/config.hpp"

KRF_BEGIN_NAMESPACE

struct ThreadBlock {
  int rank_, size_;
  std::barrier<> *barrier;

  int rank() const { return rank_; }
  int size() const { return size_; }
  static int lanes() { return 1; }
  static double warp_sum(double x) { return x; }
  void sync() const { barrier->arrive_and_wait(); }

  double sum(double x, double *exchange) const {
    exchange[rank_] = x;
    sync();
    double total = 0;
    for (int r = 0; r < size_; ++r)
      total += exchange[r];
    sync();
    return total;
  }
  double max(double x, double *exchange) const {
    exchange[rank_] = x;
    sync();
    double most = exchange[0];
    for (int r = 1; r < size_; ++r)
      most = larger(most, exchange[r]);
    sync();
    return most;
  }
  void add_columns(double *A, int ld, const double *X, const int *index, const double *weight,
                   int count) const {
    for (int e = rank_; e < ld * ld; e += size_) {
      const int j = e / ld, i = e % ld;
      if (i < j)
        continue;
      double s = 0;
      for (int k = 0; k < count; ++k) {
        const double *x = X + static_cast<long long>(index[k]) * ld;
        s += weight[k] * x[i] * x[j];
      }
      A[e] += s;
    }
  }
};

KRF_END_NAMESPACE
