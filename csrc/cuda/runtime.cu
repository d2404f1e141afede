// Small services: devices, mapped control memory, events.
#include "check.cuh"

namespace krf::cuda {

int device_count() {
  int count = 0;
  KRF_CHECK(cudaGetDeviceCount(&count));
  return count;
}

bool is_on_current_device(const void *address) {
  int device = 0;
  cudaPointerAttributes attributes{};
  KRF_CHECK(cudaGetDevice(&device));
  KRF_CHECK(cudaPointerGetAttributes(&attributes, address));
  return attributes.type != cudaMemoryTypeUnregistered && attributes.type != cudaMemoryTypeHost &&
         (attributes.device == device || attributes.type == cudaMemoryTypeManaged);
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
