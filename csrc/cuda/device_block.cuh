// The policy of BlockTeam on a device: a CUDA thread block, its warps, its FP64 tensor cores.
#pragma once

#include "block_team.hpp"

KRF_BEGIN_NAMESPACE

struct DeviceBlock {
  __device__ int rank() const { return static_cast<int>(threadIdx.x); }
  __device__ int size() const { return static_cast<int>(blockDim.x); }
  __device__ static int lanes() { return 32; }
  __device__ void sync() const { __syncthreads(); }

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

  __device__ double sum(double x, double *exchange) const {
    x = warp_sum(x);
    if (rank() % 32 == 0)
      exchange[rank() / 32] = x;
    __syncthreads();
    double total = 0;
    for (int warp = 0; warp < size() / 32; ++warp)
      total += exchange[warp];
    __syncthreads();
    return total;
  }
  __device__ double max(double x, double *exchange) const {
    x = warp_max(x);
    if (rank() % 32 == 0)
      exchange[rank() / 32] = x;
    __syncthreads();
    double most = exchange[0];
    for (int warp = 1; warp < size() / 32; ++warp)
      most = larger(most, exchange[warp]);
    __syncthreads();
    return most;
  }

  // A += sum_k weight_k x_k x_k^T, lower triangle.  A warp owns tiles of 16 x 16: four products
  // m8n8k4 of the FP64 tensor cores for two loads of either side.  Fragments (PTX ISA, mma.m8n8k4
  // .f64): lane l holds A[l / 4][l % 4], B[l % 4][l / 4], and C[l / 4][2 (l % 4) + {0, 1}].
  __device__ void add_columns(double *A, int ld, const double *X, const int *index,
                              const double *weight, int count) const {
    const int lane = rank() % 32, group = lane / 4, part = lane % 4;
    const int tiles = (ld + 15) / 16, warps = size() / 32;
    for (int t = rank() / 32; t < tiles * tiles; t += warps) {
      const int bi = t / tiles, bj = t % tiles;
      if (bi < bj)
        continue;
      const int i0 = 16 * bi, j0 = 16 * bj;
      double c[2][2][2] = {};
      for (int k0 = 0; k0 < count; k0 += 4) {
        const int k = k0 + part;
        const bool real = k < count;
        const double *x = X + (real ? static_cast<long long>(index[k]) * ld : 0);
        const double w = real ? weight[k] : 0.0;
        double a[2], b[2];
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          const int i = i0 + 8 * s + group, j = j0 + 8 * s + group;
          a[s] = real && i < ld ? w * x[i] : 0.0;
          b[s] = real && j < ld ? x[j] : 0.0;
        }
#pragma unroll
        for (int s = 0; s < 2; ++s)
#pragma unroll
          for (int u = 0; u < 2; ++u)
            asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 "
                         "{%0, %1}, {%2}, {%3}, {%0, %1};"
                         : "+d"(c[s][u][0]), "+d"(c[s][u][1])
                         : "d"(a[s]), "d"(b[u]));
      }
#pragma unroll
      for (int s = 0; s < 2; ++s)
#pragma unroll
        for (int u = 0; u < 2; ++u)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int i = i0 + 8 * s + group, j = j0 + 8 * u + 2 * part + e;
            if (i < ld && j < ld && i >= j)
              A[static_cast<long long>(j) * ld + i] += c[s][u][e];
          }
    }
  }
};

using DeviceTeam = BlockTeam<DeviceBlock>;

KRF_END_NAMESPACE
