# Sets krf_cuda_targets to what the CUDA module is compiled for: what KRF_CUDA_ARCHITECTURES says;
# "all" for KRF_CUDA=ON; for AUTO the GPUs of this machine, or nothing where there are none. Three
# targets take a quarter of an hour of one core, one takes a third of that.
set(KRF_CUDA_ARCHITECTURES "" CACHE STRING
    "Targets of the CUDA module; one without -real keeps its PTX for later devices")
set(krf_cuda_targets ${KRF_CUDA_ARCHITECTURES})
if(krf_cuda_targets)
  return()
endif()
if(KRF_CUDA STREQUAL "ON")
  set(krf_cuda_targets all)
  return()
endif()

execute_process(
  COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
  OUTPUT_VARIABLE krf_capabilities ERROR_QUIET RESULT_VARIABLE krf_failed)
if(NOT krf_failed)
  string(REGEX MATCHALL "[0-9]+\\.[0-9]+" krf_capabilities "${krf_capabilities}")
  foreach(capability IN LISTS krf_capabilities)
    # Tensor cores multiply doubles from 8.0 on.
    if(capability VERSION_GREATER_EQUAL 8.0)
      string(REPLACE "." "" capability ${capability})
      list(APPEND krf_cuda_targets ${capability}-real)
    endif()
  endforeach()
  list(REMOVE_DUPLICATES krf_cuda_targets)
endif()
if(NOT krf_cuda_targets)
  message(STATUS "No CUDA module: no GPU of compute capability 8.0 or newer here; KRF_CUDA=ON builds it")
endif()
