// Host threads that play the lanes of a device's warps, 32 each, with the layout of its tensor
// cores: what csrc/cuda/device_block.cuh does with shuffles and ballots goes through memory here.
#pragma once

#include <atomic>
#include <barrier>
#include <memory>
#include <vector>

#include "../../csrc/cuda/warp_tiles.hpp"

KRF_BEGIN_NAMESPACE

struct WarpBlock {
  static constexpr int kWarp = 32, kSide = WarpTiles::kSide, kSums = WarpTiles::kSums;

  struct Warp {
    std::barrier<> barrier{kWarp};
    double left[kWarp], right[kWarp];
  };
  struct Shared {
    explicit Shared(int threads) : barrier(threads) {
      for (int w = 0; w < threads / kWarp; ++w)
        warps.push_back(std::make_unique<Warp>());
    }
    std::barrier<> barrier;
    std::vector<std::unique_ptr<Warp>> warps;
  };

  WarpBlock(int rank, int size, Shared &shared) : rank_(rank), size_(size), shared_(&shared) {
    lane_ = rank % kWarp;
    warp_ = shared.warps[static_cast<std::size_t>(rank / kWarp)].get();
  }

  int rank() const { return rank_; }
  int size() const { return size_; }
  static long long add(long long *counter) { return std::atomic_ref(*counter).fetch_add(1); }
  static void tell(volatile int *word, long long value) {
    std::atomic_ref(*const_cast<int *>(word)).store(static_cast<int>(value));
  }
  void sync() const { shared_->barrier.arrive_and_wait(); }
  int lane() const { return lane_; }
  int warp() const { return rank_ / kWarp; }
  int warps() const { return size_ / kWarp; }
  static void warp_sync() { warp_->barrier.arrive_and_wait(); }

  static double warp_sum(double x) {
    return reduce(x, [](double a, double b) { return a + b; });
  }
  static double warp_max(double x) { return reduce(x, larger); }
  static int warp_count(bool mine, int &before) {
    warp_->left[lane_] = mine;
    warp_sync();
    int count = 0;
    before = 0;
    for (int l = 0; l < kWarp; ++l)
      count += warp_->left[l] != 0, before += l < lane_ && warp_->left[l] != 0;
    warp_sync();
    return count;
  }
  double sum(double x, double *exchange) const {
    return combine(warp_sum(x), exchange, [](double a, double b) { return a + b; });
  }
  double max(double x, double *exchange) const { return combine(warp_max(x), exchange, larger); }

  int side_row(int) const { return WarpTiles::side_row(lane_); }
  int side_k(int) const { return WarpTiles::side_k(lane_); }
  int sum_row(int) const { return WarpTiles::sum_row(lane_); }
  int sum_column(int e) const { return WarpTiles::sum_column(lane_, e); }
  template <int Eights>
  static void multiply_add(double (&c)[Eights][kSums], const double (&a)[Eights][2][kSide],
                           const double (&b)[2][kSide]) {
    for (int s = 0; s < Eights; ++s)
      for (int q = 0; q < 2; ++q)
        multiply_add(c[s], a[s][q][0], b[q][0]);
  }

private:
  // Every lane's sides, put together to a left tile of eight by four and a right one of four by
  // eight; every lane's sums of their product.
  static void multiply_add(double (&c)[kSums], double a, double b) {
    warp_->left[lane_] = a, warp_->right[lane_] = b;
    warp_sync();
    for (int e = 0; e < kSums; ++e)
      for (int k = 0; k < 4; ++k)
        c[e] += warp_->left[4 * WarpTiles::sum_row(lane_) + k] *
                warp_->right[4 * WarpTiles::sum_column(lane_, e) + k];
    warp_sync();
  }
  template <class Join> static double reduce(double x, Join join) {
    warp_->left[lane_] = x;
    warp_sync();
    double all = warp_->left[0];
    for (int l = 1; l < kWarp; ++l)
      all = join(all, warp_->left[l]);
    warp_sync();
    return all;
  }
  template <class Join> double combine(double of_warp, double *exchange, Join join) const {
    if (lane_ == 0)
      exchange[warp()] = of_warp;
    sync();
    double all = exchange[0];
    for (int w = 1; w < warps(); ++w)
      all = join(all, exchange[w]);
    sync();
    return all;
  }

  int rank_, size_;
  Shared *shared_;
  // The thread's, for the operations of a warp that need no block.
  static inline thread_local int lane_ = 0;
  static inline thread_local Warp *warp_ = nullptr;
};

KRF_END_NAMESPACE
