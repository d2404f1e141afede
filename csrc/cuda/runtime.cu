// Small services: packing X, mapped control memory, events.
#include "../core/base/config.hpp"
#include "check.cuh"

namespace krf::cuda {
namespace {

// One warp per feature: its column of X, padded, and its norm.
__global__ void pack_kernel(const double *X, long long count, int n, int d, double *packed,
                            double *norm) {
  const int ldn = padded(n), ldd = padded(d), lane = static_cast<int>(threadIdx.x) % 32;
  const long long warp = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const long long warps = static_cast<long long>(gridDim.x) * blockDim.x / 32;
  for (long long f = warp; f < count * ldd; f += warps) {
    const int i = static_cast<int>(f % ldd);
    const double *from = X + f / ldd * n * d + i;
    double sum = 0;
    for (int j = lane; j < ldn; j += 32) {
      const double x = i < d && j < n ? from[static_cast<long long>(j) * d] : 0.0;
      packed[f * ldn + j] = x;
      sum += x * x;
    }
    for (int offset = 16; offset > 0; offset >>= 1)
      sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (lane == 0)
      norm[f] = sqrt(sum);
  }
}

} // namespace

int device_count() {
  int count = 0;
  KRF_CHECK(cudaGetDeviceCount(&count));
  return count;
}

void launch_pack(const double *X, long long count, int n, int d, double *packed, double *norm,
                 void *stream) {
  pack_kernel<<<1024, 256, 0, static_cast<cudaStream_t>(stream)>>>(X, count, n, d, packed, norm);
  KRF_CHECK(cudaGetLastError());
}

volatile int *new_control(volatile int **device_view) {
  void *host = nullptr, *device = nullptr;
  KRF_CHECK(cudaHostAlloc(&host, 2 * sizeof(int), cudaHostAllocMapped));
  KRF_CHECK(cudaHostGetDevicePointer(&device, host, 0));
  auto *control = static_cast<volatile int *>(host);
  control[0] = 0;
  control[1] = 0;
  *device_view = static_cast<volatile int *>(device);
  return control;
}
void free_control(volatile int *control) { cudaFreeHost(const_cast<int *>(control)); }

void *record(void *stream) {
  cudaEvent_t event = nullptr;
  KRF_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  KRF_CHECK(cudaEventRecord(event, static_cast<cudaStream_t>(stream)));
  return event;
}
bool finished(void *event) {
  const cudaError_t status = cudaEventQuery(static_cast<cudaEvent_t>(event));
  if (status == cudaErrorNotReady)
    return false;
  KRF_CHECK(status);
  return true;
}
void forget(void *event) { cudaEventDestroy(static_cast<cudaEvent_t>(event)); }

} // namespace krf::cuda
