// 1: how fast double precision is: both shapes of the tensor cores, and plain multiply-adds.
#pragma once

#include "common.cuh"

enum class Shape { k16x8x8, k8x8x4, kPlain };

template <Shape shape> __global__ void __launch_bounds__(256) rate_kernel(double *out, int loops) {
  double c[6][4] = {}, a[4] = {1e-3 * threadIdx.x, 1.0, 2.0, 3.0}, b[2] = {1e-3, 2e-3};
  for (int loop = 0; loop < loops; ++loop)
#pragma unroll
    for (int u = 0; u < 6; ++u)
      if constexpr (shape == Shape::k16x8x8) {
        multiply_add(c[u], a, b);
      } else if constexpr (shape == Shape::k8x8x4) {
        asm volatile(
            "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
            : "+d"(c[u][0]), "+d"(c[u][1])
            : "d"(a[0]), "d"(b[0]));
      } else {
        for (int e = 0; e < 4; ++e)
          c[u][e] = fma(c[u][e], a[1 + e % 2], b[e % 2]);
      }
  double sum = 0;
  for (int u = 0; u < 6; ++u)
    for (int e = 0; e < 4; ++e)
      sum += c[u][e];
  out[blockIdx.x * 256 + threadIdx.x] = sum;
}

template <Shape shape>
void try_rate(const char *name, double *out, int blocks, int each, double flops_of_a_warp) {
  constexpr int kLoops = 4000;
  const Times t = microseconds([&] { rate_kernel<shape><<<blocks * each, 256>>>(out, kLoops); });
  const double flops = flops_of_a_warp * 6 * kLoops * 8.0 * blocks * each;
  std::printf("{\"experiment\": \"rate\", \"shape\": \"%s\", \"blocks_a_processor\": %d, "
              "\"tflops\": %.2f, \"us\": %.1f, \"spread\": %.1f}\n",
              name, each, flops / t.median / 1e6, t.median, t.spread);
}

inline void rates(int processors) {
  double *out = room<double>(256LL * processors * 2);
  for (int each : {1, 2}) {
    try_rate<Shape::k16x8x8>("m16n8k8", out, processors, each, 2.0 * 16 * 8 * 8);
    try_rate<Shape::k8x8x4>("m8n8k4", out, processors, each, 2.0 * 8 * 8 * 4);
    try_rate<Shape::kPlain>("fma", out, processors, each, 2.0 * 4 * 32);
  }
  CHECK(cudaFree(out));
}
