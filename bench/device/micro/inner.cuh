// 3: one run's inner solve: preconditioned conjugate gradients on a real and a complex system.
#pragma once

#include "common.cuh"

// kWarps warps a run.  `staged`: the matrices are copied to shared memory first.
template <int kWarps, bool staged>
__global__ void __launch_bounds__(32 * kWarps)
    inner_kernel(const float *inverses, const float *matrices, const double *right, double *out,
                 int iterations) {
  extern __shared__ float floats[];
  constexpr int kSize = 32 * kWarps, N = kRows;
  const int t = static_cast<int>(threadIdx.x);
  const long long run = blockIdx.x;
  const float *M = inverses + run * N * N, *A = matrices + run * N * N;
  float *x = floats, *r = x + 3 * N, *p = x + 6 * N, *q = x + 9 * N, *Ap = x + 12 * N;
  float *exchange = x + 15 * N;
  if (staged) {
    float *here = exchange + 64;
    for (int e = t; e < N * N / 4; e += kSize) {
      copy16(here + 4 * e, M + 4 * e);
      copy16(here + N * N + 4 * e, A + 4 * e);
    }
    wait_for_copies();
    M = here, A = here + N * N;
  }
  for (int e = t; e < 3 * N; e += kSize)
    r[e] = static_cast<float>(right[run * 3 * N + e]), x[e] = p[e] = 0;
  __syncthreads();

  // Three columns at once; symmetric, so a thread's row is a column, and lanes read side by side.
  const auto multiply = [&](const float *B, const float *from, float *to) {
    for (int i = t; i < N; i += kSize) {
      float s[3] = {};
#pragma unroll 8
      for (int j = 0; j < N; ++j)
        for (int k = 0; k < 3; ++k)
          s[k] += B[j * N + i] * from[k * N + j];
      for (int k = 0; k < 3; ++k)
        to[k * N + i] = s[k];
    }
    __syncthreads();
  };
  // <u, v> of the first column, and of the other two as one complex column (not conjugated).
  const auto products = [&](const float *u, const float *v, float (&sums)[3]) {
    sums[0] = sums[1] = sums[2] = 0;
    for (int i = t; i < N; i += kSize) {
      sums[0] += u[i] * v[i];
      sums[1] += u[N + i] * v[N + i] - u[2 * N + i] * v[2 * N + i];
      sums[2] += u[N + i] * v[2 * N + i] + u[2 * N + i] * v[N + i];
    }
    for (float &s : sums)
#pragma unroll
      for (int offset = 16; offset > 0; offset /= 2)
        s += __shfl_xor_sync(~0u, s, offset);
    if (kWarps == 1)
      return;
    if (t % 32 == 0)
      for (int k = 0; k < 3; ++k)
        exchange[t / 32 * 3 + k] = sums[k];
    __syncthreads();
    for (int k = 0; k < 3; ++k) {
      sums[k] = 0;
      for (int w = 0; w < kWarps; ++w)
        sums[k] += exchange[3 * w + k];
    }
    __syncthreads();
  };

  multiply(M, r, q);
  float before[3] = {1, 1, 0};
  for (int k = 0; k < iterations; ++k) {
    float rq[3], pAp[3];
    products(r, q, rq);
    const float size = before[1] * before[1] + before[2] * before[2];
    const float beta = k ? rq[0] / before[0] : 0.f;
    const float beta_r = k ? (rq[1] * before[1] + rq[2] * before[2]) / size : 0.f;
    const float beta_i = k ? (rq[2] * before[1] - rq[1] * before[2]) / size : 0.f;
    for (int c = 0; c < 3; ++c)
      before[c] = rq[c];
    for (int i = t; i < N; i += kSize) {
      const float p1 = p[N + i], p2 = p[2 * N + i];
      p[i] = q[i] + beta * p[i];
      p[N + i] = q[N + i] + beta_r * p1 - beta_i * p2;
      p[2 * N + i] = q[2 * N + i] + beta_r * p2 + beta_i * p1;
    }
    __syncthreads();
    multiply(A, p, Ap);
    products(p, Ap, pAp);
    const float step = rq[0] / pAp[0], norm = pAp[1] * pAp[1] + pAp[2] * pAp[2];
    const float step_r = (rq[1] * pAp[1] + rq[2] * pAp[2]) / norm;
    const float step_i = (rq[2] * pAp[1] - rq[1] * pAp[2]) / norm;
    for (int i = t; i < N; i += kSize) {
      x[i] += step * p[i], r[i] -= step * Ap[i];
      x[N + i] += step_r * p[N + i] - step_i * p[2 * N + i];
      x[2 * N + i] += step_r * p[2 * N + i] + step_i * p[N + i];
      r[N + i] -= step_r * Ap[N + i] - step_i * Ap[2 * N + i];
      r[2 * N + i] -= step_r * Ap[2 * N + i] + step_i * Ap[N + i];
    }
    __syncthreads();
    multiply(M, r, q);
  }
  for (int e = t; e < 3 * N; e += kSize)
    out[run * 3 * N + e] = x[e];
}

template <int kWarps, bool staged> void try_inner(int runs) {
  const std::vector<float> A = near_identities(runs);
  std::vector<float> I(A.size());
  for (std::size_t e = 0; e < I.size(); ++e)
    I[e] = e % (kRows * kRows) % (kRows + 1) == 0 ? 1.f : 0.f;
  const std::vector<double> b = random_numbers(3LL * kRows * runs, 1.0);
  float *matrices = to_device(A), *inverses = to_device(I);
  double *right = to_device(b), *out = room<double>(3LL * kRows * runs);
  const int bytes = 4 * (15 * kRows + 64 + (staged ? 2 * kRows * kRows : 0));
  CHECK(cudaFuncSetAttribute(inner_kernel<kWarps, staged>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  for (int iterations : {1, 2, 3}) {
    const Times t = microseconds([&] {
      inner_kernel<kWarps, staged>
          <<<runs, 32 * kWarps, bytes>>>(inverses, matrices, right, out, iterations);
    });
    const std::vector<double> x = to_host(out, 3 * kRows);
    double rest = 0, whole = 0;
    for (int c = 0; c < 3; ++c)
      for (int i = 0; i < kRows; ++i) {
        double left = b[static_cast<std::size_t>(c * kRows + i)];
        whole += left * left;
        for (int j = 0; j < kRows; ++j)
          left -= A[static_cast<std::size_t>(i * kRows + j)] *
                  x[static_cast<std::size_t>(c * kRows + j)];
        rest += left * left;
      }
    std::printf("{\"experiment\": \"inner\", \"warps\": %d, \"staged\": %d, \"iterations\": %d, "
                "\"runs\": %d, \"us\": %.2f, \"spread\": %.2f, \"us_a_run\": %.4f, "
                "\"residual\": %.1e}\n",
                kWarps, staged, iterations, runs, t.median, t.spread, t.median / runs,
                std::sqrt(rest / whole));
  }
  CHECK(cudaFree(matrices));
  CHECK(cudaFree(inverses));
  CHECK(cudaFree(right));
  CHECK(cudaFree(out));
}

inline void inner_solves() {
  for (int runs : {64, 528, 1056, 4224}) {
    try_inner<1, false>(runs);
    try_inner<4, false>(runs);
    try_inner<4, true>(runs);
  }
}
