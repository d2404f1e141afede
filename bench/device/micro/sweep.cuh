// 2: one fused pass over X for a group of runs that share it: project, map, accumulate.
//
// Columns of all runs of a group side by side fill the tiles of the tensor cores, which a run's
// three leave mostly empty; X is read once a group.
#pragma once

#include "common.cuh"

constexpr int kChunk = 64;      // features in shared memory at a time
constexpr int kLdx = kRows + 4; // of a feature there: no bank conflicts in either use
constexpr int kLdv = kRows + 4; // of a column

// Of all runs: Z (3, kFeatures) and theta, half (kFeatures) each; V and F (3, kRows) each.
struct State {
  double *Z, *theta, *half, *F, *sums;
  const double *V;
};

inline State new_state(long long runs) {
  return {to_device(random_numbers(runs * 3 * kFeatures, 1e-3)),
          to_device(random_numbers(runs * kFeatures, 1.0)),
          to_device(random_numbers(runs * kFeatures, 1e-3)),
          room<double>(runs * 3 * kRows),
          room<double>(runs * 128),
          to_device(random_numbers(runs * 3 * kRows, 1e-3))};
}
inline void release(const State &s) {
  for (double *each : {s.Z, s.theta, s.half, s.F, s.sums, const_cast<double *>(s.V)})
    CHECK(cudaFree(each));
}

// One feature of one run: its stages move by *z each, and *z becomes the predictor there.
__device__ inline void map_feature(double *Z, double theta, double half, double *z, double &most,
                                   double &total) {
#pragma unroll
  for (int j = 0; j < 3; ++j) {
    const double dz = Z[j * kFeatures] + z[j];
    Z[j * kFeatures] = dz;
    const double p = theta + 8.0 * dz, growth = exp(p), plus = half * growth, minus = half / growth;
    const double size = plus + minus, q = p * p;
    double series = 1.0 / 121645100408832000.0; // of sinh, where a difference would cancel
    for (double next : {1.0 / 355687428096000.0, 1.0 / 1307674368000.0, 1.0 / 6227020800.0,
                        1.0 / 39916800.0, 1.0 / 362880.0, 1.0 / 5040.0, 1.0 / 120.0, 1.0 / 6.0})
      series = series * q + next;
    const double moved = 8.0 * size * fabs(z[j]);
    most = fmax(most, moved / size);
    total += moved * moved;
    z[j] = fabs(p) < 1.0 ? 2.0 * half * (p + p * q * series) : plus - minus;
  }
}

// kRuns runs a group, kTiles tiles of eight columns, four warps.  `mapped`: with the state of the
// runs, in device memory; else the two products alone.
template <int kRuns, int kTiles, bool mapped>
__global__ void __launch_bounds__(128, 2)
    sweep_kernel(const double *__restrict__ X, State s, int groups) {
  extern __shared__ double doubles[];
  constexpr int kLdz = 8 * kTiles + 2;
  double *xs = doubles, *vs = xs + kChunk * kLdx, *zs = vs + 8 * kTiles * kLdv;
  const int t = static_cast<int>(threadIdx.x), warp = t / 32, lane = t % 32;
  const int fourth = lane / 4, term = lane % 4;
  for (int group = static_cast<int>(blockIdx.x); group < groups;
       group += static_cast<int>(gridDim.x)) {
    const long long first = static_cast<long long>(group) * kRuns;
    for (int e = t; e < 8 * kTiles * kRows; e += 128) {
      const int c = e / kRows, i = e % kRows;
      vs[c * kLdv + i] = c < 3 * kRuns ? s.V[(first * 3 + c) * kRows + i] : 0.0;
    }
    double acc[2][kTiles][4] = {}, most = 0, total = 0;
    for (int f0 = 0; f0 < kFeatures; f0 += kChunk) {
      __syncthreads();
      for (int e = t; e < kChunk * kRows / 2; e += 128)
        copy16(xs + (2 * e / kRows) * kLdx + 2 * e % kRows,
               X + static_cast<long long>(f0) * kRows + 2 * e);
      wait_for_copies();
      __syncthreads();
      double z[kTiles][4] = {}; // features 16 warp .. 16 warp + 15 times all columns
      const double *x = xs + 16 * warp * kLdx;
#pragma unroll 2
      for (int k = 0; k < kRows; k += 8) {
        const double *low = x + fourth * kLdx + k + term, *high = low + 8 * kLdx;
        const double a[4] = {low[0], high[0], low[4], high[4]};
#pragma unroll
        for (int u = 0; u < kTiles; ++u) {
          const double *v = vs + (8 * u + fourth) * kLdv + k + term;
          const double b[2] = {v[0], v[4]};
          multiply_add(z[u], a, b);
        }
      }
#pragma unroll
      for (int u = 0; u < kTiles; ++u) {
        double *to = zs + (16 * warp + fourth) * kLdz + 8 * u + 2 * term;
        to[0] = z[u][0], to[1] = z[u][1], to[8 * kLdz] = z[u][2], to[8 * kLdz + 1] = z[u][3];
      }
      __syncthreads();
      if (mapped)
        for (int e = t; e < kChunk * kRuns; e += 128) {
          const int f = e % kChunk, g = e / kChunk;
          const long long run = first + g, at = run * kFeatures + f0 + f;
          map_feature(s.Z + run * 3 * kFeatures + f0 + f, s.theta[at], s.half[at],
                      zs + f * kLdz + 3 * g, most, total);
        }
      __syncthreads();
      // Rows 16 (warp + 4 m) on times all columns; sums stay in registers.
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        const int row = 16 * (warp + 4 * m);
        if (row >= kRows)
          continue;
        const int low = row + fourth, high = min(row + 8 + fourth, kRows - 1);
#pragma unroll 2
        for (int f = 0; f < kChunk; f += 8) {
          const double *here = xs + (f + term) * kLdx, *there = here + 4 * kLdx;
          const double a[4] = {here[low], here[high], there[low], there[high]};
#pragma unroll
          for (int u = 0; u < kTiles; ++u) {
            const double *from = zs + (f + term) * kLdz + 8 * u + fourth;
            const double b[2] = {from[0], from[4 * kLdz]};
            multiply_add(acc[m][u], a, b);
          }
        }
      }
    }
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int u = 0; u < kTiles; ++u)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int row = 16 * (warp + 4 * m) + fourth + 8 * (e / 2), c = 8 * u + 2 * term + e % 2;
          if (row < kRows && c < 3 * kRuns)
            s.F[(first * 3 + c) * kRows + row] = acc[m][u][e];
        }
    if (mapped)
      s.sums[static_cast<long long>(group) * 128 + t] = most + total;
  }
}

template <int kRuns, int kTiles, bool mapped>
void sweep(const double *X, const State &s, int groups, int blocks) {
  const int bytes = 8 * (kChunk * kLdx + 8 * kTiles * kLdv + kChunk * (8 * kTiles + 2));
  CHECK(cudaFuncSetAttribute(sweep_kernel<kRuns, kTiles, mapped>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  sweep_kernel<kRuns, kTiles, mapped><<<std::min(groups, blocks), 128, bytes>>>(X, s, groups);
}

template <int kRuns, int kTiles, bool mapped>
void try_sweep(const double *X, int runs, int blocks) {
  const int groups = runs / kRuns;
  const State s = new_state(runs);
  const Times t = microseconds([&] { sweep<kRuns, kTiles, mapped>(X, s, groups, blocks); });
  std::printf("{\"experiment\": \"sweep\", \"group\": %d, \"mapped\": %d, \"runs\": %d, "
              "\"blocks\": %d, \"us\": %.1f, \"spread\": %.1f, \"us_a_run\": %.4f, "
              "\"useful_tflops\": %.2f}\n",
              kRuns, mapped, runs, std::min(groups, blocks), t.median, t.spread, t.median / runs,
              12.0 * 100 * 1000 * runs / t.median / 1e6);
  release(s);
}

// Against the host; and whether a run's bits depend on its group.
inline void check_sweep(const double *X, int processors) {
  const int runs = 8 * processors;
  const long long count = 3LL * kRows * runs;
  const State s = new_state(runs);
  sweep<1, 1, false>(X, s, runs, processors);
  const std::vector<double> alone = to_host(s.F, count);
  sweep<8, 3, false>(X, s, processors, processors);
  const std::vector<double> together = to_host(s.F, count);
  long long unlike = 0;
  for (std::size_t e = 0; e < alone.size(); ++e)
    unlike += !(alone[e] == together[e]);
  const std::vector<double> x = to_host(X, static_cast<long long>(kFeatures) * kRows);
  const std::vector<double> V = to_host(s.V, count);
  double worst = 0, largest = 0;
  for (int c : {0, 3 * runs - 1}) {
    std::vector<double> expected(kRows);
    for (int f = 0; f < kFeatures; ++f) {
      double z = 0;
      for (int i = 0; i < kRows; ++i)
        z +=
            x[static_cast<std::size_t>(f * kRows + i)] * V[static_cast<std::size_t>(c * kRows + i)];
      for (int i = 0; i < kRows; ++i)
        expected[static_cast<std::size_t>(i)] += z * x[static_cast<std::size_t>(f * kRows + i)];
    }
    for (int i = 0; i < kRows; ++i) {
      const double right = expected[static_cast<std::size_t>(i)];
      worst = std::max(worst, std::abs(right - together[static_cast<std::size_t>(c * kRows + i)]));
      largest = std::max(largest, std::abs(right));
    }
  }
  std::printf("{\"experiment\": \"sweep\", \"unlike_alone_and_in_a_group\": %lld, \"of\": %lld, "
              "\"error\": %.1e}\n",
              unlike, count, worst / largest);
  release(s);
}

inline void sweeps(int processors) {
  const double *X = to_device(random_numbers(static_cast<long long>(kFeatures) * kRows, 1.0));
  check_sweep(X, processors);
  const int blocks = 2 * processors;
  for (int k : {1, 2, 4}) {
    try_sweep<1, 1, false>(X, blocks * k, blocks);
    try_sweep<2, 1, false>(X, 2 * blocks * k, blocks);
    try_sweep<5, 2, false>(X, 5 * blocks * k, blocks);
    try_sweep<8, 3, false>(X, 8 * blocks * k, blocks);
    try_sweep<1, 1, true>(X, blocks * k, blocks);
    try_sweep<2, 1, true>(X, 2 * blocks * k, blocks);
    try_sweep<5, 2, true>(X, 5 * blocks * k, blocks);
    try_sweep<8, 3, true>(X, 8 * blocks * k, blocks);
  }
  try_sweep<8, 3, true>(X, 8 * processors, processors);
  try_sweep<8, 3, true>(X, 64, blocks);
  CHECK(cudaFree(const_cast<double *>(X)));
}
