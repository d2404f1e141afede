// A CUDA thread block, or a cluster of them, as a block: its warps, its FP64 tensor cores.
#pragma once

#include "block_team.hpp"
#include "warp_tiles.hpp"

KRF_BEGIN_NAMESPACE

struct DeviceBlock {
  // Read when needed: that costs an instruction, while a member would cost a register across every
  // call.
  __device__ static int cluster() {
#if __CUDA_ARCH__ >= 900
    int blocks;
    asm("mov.u32 %0, %%cluster_nctaid.x;" : "=r"(blocks));
    return blocks;
#else
    return 1;
#endif
  }
  __device__ static int rank() {
    const int thread = static_cast<int>(threadIdx.x);
#if __CUDA_ARCH__ >= 900
    int block;
    asm("mov.u32 %0, %%cluster_ctaid.x;" : "=r"(block));
    return block * static_cast<int>(blockDim.x) + thread;
#else
    return thread;
#endif
  }
  __device__ static int size() { return cluster() * static_cast<int>(blockDim.x); }
  // Arrival releases and waiting acquires what the other blocks wrote to device memory.  Inlined in
  // hundreds of places, this would be a fifth of a kernel's code.
  __device__ KRF_APART static void sync_cluster() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
#endif
  }
  __device__ static void sync() {
#if __CUDA_ARCH__ >= 900
    if (cluster() > 1)
      return sync_cluster();
#endif
    __syncthreads();
  }

  static constexpr int kWarp = 32, kSide = WarpTiles::kSide, kSums = WarpTiles::kSums;
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ static int warp() { return rank() / kWarp; }
  __device__ static int warps() { return size() / kWarp; }
  __device__ static void warp_sync() { __syncwarp(); }

  // Returns the count before the addition.
  __device__ static long long add(long long *counter) {
    return static_cast<long long>(atomicAdd(reinterpret_cast<unsigned long long *>(counter), 1ULL));
  }
  __device__ static void tell(volatile int *word, long long value) {
    *word = static_cast<int>(value);
  }

  // Equal in all lanes, and the same on every run: the tree of additions is fixed.
  __device__ static double warp_sum(double x) {
    for (int offset = 16; offset > 0; offset >>= 1)
      x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
  }
  __device__ static double warp_max(double x) {
    for (int offset = 16; offset > 0; offset >>= 1)
      x = larger(x, __shfl_xor_sync(0xffffffffu, x, offset));
    return x;
  }
  // In how many lanes `mine` is true; in `before`, in how many of the lanes before this one.
  __device__ static int warp_count(bool mine, int &before) {
    const unsigned holding = __ballot_sync(0xffffffffu, mine);
    before = __popc(holding & ((1u << lane()) - 1u));
    return __popc(holding);
  }

  __device__ static double sum(double x, double *exchange) {
    x = warp_sum(x);
    if (lane() == 0)
      exchange[warp()] = x;
    sync();
    double total = 0;
    for (int w = 0; w < warps(); ++w)
      total += exchange[w];
    sync();
    return total;
  }
  __device__ static double max(double x, double *exchange) {
    x = warp_max(x);
    if (lane() == 0)
      exchange[warp()] = x;
    sync();
    double most = exchange[0];
    for (int w = 1; w < warps(); ++w)
      most = larger(most, exchange[w]);
    sync();
    return most;
  }

  __device__ static int side_row(int) { return WarpTiles::side_row(lane()); }
  __device__ static int side_k(int) { return WarpTiles::side_k(lane()); }
  __device__ static int sum_row(int) { return WarpTiles::sum_row(lane()); }
  __device__ static int sum_column(int e) { return WarpTiles::sum_column(lane(), e); }
  // c += a b over eight terms.  Hopper has larger shapes, with sixteen rows.
  template <int Eights>
  __device__ static void multiply_add(double (&c)[Eights][2], const double (&a)[Eights][2][1],
                                      const double (&b)[2][1]) {
    int s = 0;
#if __CUDA_ARCH__ >= 900
#pragma unroll
    for (; s + 1 < Eights; s += 2)
      asm volatile("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, "
                   "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                   : "+d"(c[s][0]), "+d"(c[s][1]), "+d"(c[s + 1][0]), "+d"(c[s + 1][1])
                   : "d"(a[s][0][0]), "d"(a[s + 1][0][0]), "d"(a[s][1][0]), "d"(a[s + 1][1][0]),
                     "d"(b[0][0]), "d"(b[1][0]));
#endif
#pragma unroll
    for (; s < Eights; ++s)
#pragma unroll
      for (int q = 0; q < 2; ++q)
        asm volatile(
            "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
            : "+d"(c[s][0]), "+d"(c[s][1])
            : "d"(a[s][q][0]), "d"(b[q][0]));
  }
};

using DeviceTeam = BlockTeam<DeviceBlock>;
static_assert(Team<DeviceTeam>);

KRF_END_NAMESPACE
