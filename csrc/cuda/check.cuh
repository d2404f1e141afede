// Every call of the CUDA runtime is checked.
#pragma once

#include <cuda_runtime.h>

#include "launch.hpp"

#define KRF_CHECK(call)                                                                            \
  do {                                                                                             \
    const cudaError_t krf_status = (call);                                                         \
    if (krf_status != cudaSuccess) {                                                               \
      cudaGetLastError(); /* what is not sticky is forgotten */                                    \
      throw krf::cuda::CudaError(#call, __FILE__, __LINE__, cudaGetErrorString(krf_status),        \
                                 krf_status == cudaErrorMemoryAllocation);                         \
    }                                                                                              \
  } while (0)
