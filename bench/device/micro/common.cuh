// What the experiments share: checks, times, memory with random numbers, and two instructions.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(call)                                                                                \
  do {                                                                                             \
    const cudaError_t status = (call);                                                             \
    if (status != cudaSuccess) {                                                                   \
      std::printf("{\"failed\": \"%s:%d %s\"}\n", __FILE__, __LINE__, cudaGetErrorString(status)); \
      std::exit(1);                                                                                \
    }                                                                                              \
  } while (0)

// The problem that all of them stand for: 100 samples, padded, and 1000 features, padded.
constexpr int kRows = 104, kFeatures = 1024;

// c += a b, 16 x 8 over eight terms.
__device__ inline void multiply_add(double (&c)[4], const double (&a)[4], const double (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, "
               "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+d"(c[0]), "+d"(c[1]), "+d"(c[2]), "+d"(c[3])
               : "d"(a[0]), "d"(a[1]), "d"(a[2]), "d"(a[3]), "d"(b[0]), "d"(b[1]));
}
// Sixteen bytes from device memory to shared memory, past the registers.
__device__ inline void copy16(void *to, const void *from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(to))),
               "l"(from));
}
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.commit_group;\n\tcp.async.wait_group 0;" ::: "memory");
}

struct Times {
  double median, spread; // microseconds; spread: largest less smallest
};
// Of what `launch` puts on the stream; the first is not timed.
template <class Launch> Times microseconds(Launch launch, cudaStream_t stream = nullptr) {
  constexpr int kRepeats = 7;
  cudaEvent_t begin, end;
  CHECK(cudaEventCreate(&begin));
  CHECK(cudaEventCreate(&end));
  launch();
  CHECK(cudaGetLastError());
  CHECK(cudaDeviceSynchronize());
  std::vector<double> times(kRepeats);
  for (double &time : times) {
    CHECK(cudaEventRecord(begin, stream));
    launch();
    CHECK(cudaEventRecord(end, stream));
    CHECK(cudaEventSynchronize(end));
    float milliseconds = 0;
    CHECK(cudaEventElapsedTime(&milliseconds, begin, end));
    time = 1e3 * milliseconds;
  }
  CHECK(cudaGetLastError());
  CHECK(cudaEventDestroy(begin));
  CHECK(cudaEventDestroy(end));
  std::sort(times.begin(), times.end());
  return {times[kRepeats / 2], times.back() - times.front()};
}

// Uniform in (-scale / 2, scale / 2), the same on every run.
inline std::vector<double> random_numbers(long long count, double scale) {
  static unsigned long long state = 88172645463325252ULL;
  std::vector<double> numbers(static_cast<std::size_t>(count));
  for (double &x : numbers) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    x = scale * (static_cast<double>(state >> 11) * 0x1p-53 - 0.5);
  }
  return numbers;
}
template <class Number> Number *to_device(const std::vector<Number> &numbers) {
  Number *there = nullptr;
  CHECK(cudaMalloc(&there, sizeof(Number) * numbers.size()));
  CHECK(cudaMemcpy(there, numbers.data(), sizeof(Number) * numbers.size(), cudaMemcpyHostToDevice));
  return there;
}
template <class Number> std::vector<Number> to_host(const Number *there, long long count) {
  std::vector<Number> here(static_cast<std::size_t>(count));
  CHECK(cudaMemcpy(here.data(), there, sizeof(Number) * here.size(), cudaMemcpyDeviceToHost));
  return here;
}
template <class Number> Number *room(long long count) {
  Number *there = nullptr;
  CHECK(cudaMalloc(&there, sizeof(Number) * static_cast<std::size_t>(count)));
  return there;
}

// I + 0.1 R with R symmetric, of kRows rows, one for each run: definite, of condition about two.
inline std::vector<float> near_identities(long long runs) {
  const std::vector<double> R = random_numbers(kRows * kRows, 0.1);
  std::vector<float> all(static_cast<std::size_t>(runs * kRows * kRows));
  for (long long run = 0; run < runs; ++run)
    for (int i = 0; i < kRows; ++i)
      for (int j = 0; j < kRows; ++j)
        all[static_cast<std::size_t>((run * kRows + i) * kRows + j)] = static_cast<float>(
            (i == j ? 1.0 : 0.0) +
            R[static_cast<std::size_t>(std::max(i, j) * kRows + std::min(i, j))]);
  return all;
}
