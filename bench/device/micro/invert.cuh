// 4: an explicit inverse in single precision, Gauss-Jordan in the registers of a block.
#pragma once

#include "common.cuh"

// 256 threads, 16 x 16 of them, 7 x 7 elements each.
__global__ void __launch_bounds__(256) invert_kernel(const float *A, float *B) {
  constexpr int kTile = 7, kSide = 16 * kTile, N = kRows;
  __shared__ float row[2][kSide], column[2][kSide];
  const int t = static_cast<int>(threadIdx.x), ti = t % 16, tj = t / 16;
  const long long at = static_cast<long long>(blockIdx.x) * N * N;
  float a[kTile][kTile];
#pragma unroll
  for (int u = 0; u < kTile; ++u)
#pragma unroll
    for (int v = 0; v < kTile; ++v) {
      const int i = ti + 16 * u, j = tj + 16 * v;
      a[u][v] = i < N && j < N ? A[at + j * N + i] : (i == j ? 1.f : 0.f);
    }
#pragma unroll
  for (int block = 0; block < kTile; ++block)
    for (int inside = 0; inside < 16; ++inside) {
      const int k = 16 * block + inside, buffer = inside & 1;
      if (k >= N)
        break;
      if (ti == inside)
#pragma unroll
        for (int v = 0; v < kTile; ++v)
          row[buffer][tj + 16 * v] = a[block][v];
      if (tj == inside)
#pragma unroll
        for (int u = 0; u < kTile; ++u)
          column[buffer][ti + 16 * u] = a[u][block];
      __syncthreads();
      const float pivot = 1.f / row[buffer][k];
      float scaled[kTile];
#pragma unroll
      for (int v = 0; v < kTile; ++v)
        scaled[v] = row[buffer][tj + 16 * v] * pivot;
#pragma unroll
      for (int u = 0; u < kTile; ++u) {
        const float c = column[buffer][ti + 16 * u];
#pragma unroll
        for (int v = 0; v < kTile; ++v) {
          const bool in_row = ti == inside && u == block, in_column = tj == inside && v == block;
          a[u][v] = in_row ? (in_column ? pivot : scaled[v])
                           : (in_column ? -c * pivot : a[u][v] - c * scaled[v]);
        }
      }
    }
#pragma unroll
  for (int u = 0; u < kTile; ++u)
#pragma unroll
    for (int v = 0; v < kTile; ++v) {
      const int i = ti + 16 * u, j = tj + 16 * v;
      if (i < N && j < N)
        B[at + j * N + i] = a[u][v];
    }
}

inline void inverses() {
  for (int runs : {1, 64, 528, 4224}) {
    const std::vector<float> here = near_identities(runs);
    float *A = to_device(here), *B = room<float>(static_cast<long long>(here.size()));
    const Times t = microseconds([&] { invert_kernel<<<runs, 256>>>(A, B); });
    const std::vector<float> inverse = to_host(B, kRows * kRows);
    double worst = 0;
    for (int i = 0; i < kRows; ++i)
      for (int j = 0; j < kRows; ++j) {
        double sum = i == j ? -1.0 : 0.0;
        for (int k = 0; k < kRows; ++k)
          sum += static_cast<double>(here[static_cast<std::size_t>(i * kRows + k)]) *
                 inverse[static_cast<std::size_t>(k * kRows + j)];
        worst = std::max(worst, std::abs(sum));
      }
    std::printf("{\"experiment\": \"invert\", \"runs\": %d, \"us\": %.2f, \"spread\": %.2f, "
                "\"us_a_run\": %.4f, \"error\": %.1e}\n",
                runs, t.median, t.spread, t.median / runs, worst);
    CHECK(cudaFree(A));
    CHECK(cudaFree(B));
  }
}
