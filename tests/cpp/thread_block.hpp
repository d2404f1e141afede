// Host threads that play a CUDA block: csrc/cuda/block_team.hpp runs on them unchanged.
#pragma once

#include <atomic>
#include <barrier>

#include "../../csrc/core/base/config.hpp"

KRF_BEGIN_NAMESPACE

struct ThreadBlock {
  using Shared = std::barrier<>;
  ThreadBlock(int rank, int size, Shared &shared) : rank_(rank), size_(size), barrier(&shared) {}

  int rank() const { return rank_; }
  int size() const { return size_; }
  static long long add(long long *counter) { return std::atomic_ref(*counter).fetch_add(1); }
  static void tell(volatile int *word, long long value) {
    std::atomic_ref(*const_cast<int *>(word)).store(static_cast<int>(value));
  }
  void sync() const { barrier->arrive_and_wait(); }

  // A warp is one member, and holds whole tiles.
  static constexpr int kWarp = 1, kSide = 32, kSums = 64;
  static int lane() { return 0; }
  int warp() const { return rank_; }
  int warps() const { return size_; }
  static void warp_sync() {}
  static double warp_sum(double x) { return x; }
  static double warp_max(double x) { return x; }
  static int warp_count(bool mine, int &before) {
    before = 0;
    return mine;
  }
  static int side_row(int e) { return e / 4; }
  static int side_k(int e) { return e % 4; }
  static int sum_row(int e) { return e / 8; }
  static int sum_column(int e) { return e % 8; }
  template <int Eights>
  static void multiply_add(double (&c)[Eights][kSums], const double (&a)[Eights][2][kSide],
                           const double (&b)[2][kSide]) {
    for (int s = 0; s < Eights; ++s)
      for (int q = 0; q < 2; ++q)
        for (int e = 0; e < kSums; ++e)
          for (int k = 0; k < 4; ++k)
            c[s][e] += a[s][q][4 * (e / 8) + k] * b[q][4 * (e % 8) + k];
  }

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

private:
  int rank_, size_;
  Shared *barrier;
};

KRF_END_NAMESPACE
