// Teams on the device: a thread block or a cluster each, as many as fit.
#pragma once

#include "check.cuh"
#include "device_block.cuh"
#include "team_queue.hpp"

namespace krf::cuda {

inline constexpr int kThreads = 256; // of a block, at most

// What a block keeps in shared memory.
struct BlockScratch {
  double exchange[DeviceTeam::exchange_room(kThreads)];
  double tile[DeviceTeam::tile_room()];
};

// The team this thread belongs to; `run` is the part of its workspace that it leaves to a run.
__device__ inline DeviceTeam team_here(BlockScratch &scratch, const Plan &plan, double *workspace,
                                       const volatile int *cancel, double *&run) {
  const TeamMemory memory =
      memory_of<DeviceTeam>(plan, workspace, blockIdx.x / plan.cluster, scratch.exchange);
  run = memory.run;
  return DeviceTeam(DeviceBlock{}, memory.exchange, scratch.tile, memory.features,
                    const_cast<const int *>(cancel));
}

// body(team, run, arena) for every run of the queue.
template <class Body>
__device__ void draw_runs(const Queue &queue, const Plan &plan, double *workspace, Body body) {
  __shared__ BlockScratch scratch;
  double *run_memory = nullptr;
  DeviceTeam team = team_here(scratch, plan, workspace, queue.host_control, run_memory);
  krf::draw_runs(team, queue, run_memory,
                 [&](long long run, Arena &arena) { body(team, run, arena); });
}

inline cudaLaunchConfig_t launch_config(const Plan &plan, int blocks, void *stream,
                                        cudaLaunchAttribute *attribute) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(plan.threads));
  config.stream = static_cast<cudaStream_t>(stream);
  attribute->id = cudaLaunchAttributeClusterDimension;
  attribute->val.clusterDim.x = static_cast<unsigned>(plan.cluster);
  attribute->val.clusterDim.y = attribute->val.clusterDim.z = 1;
  config.attrs = attribute;
  config.numAttrs = plan.cluster > 1;
  return config;
}

// How a kernel is laid out for problems of `rows` samples (or whatever its square matrices have)
// and `columns` features.  By the shape alone: results must not depend on how a batch is split.
// Small problems get few warps, so that many fit on a processor; beyond 128 samples, where one
// processor would take long over a factorisation, a cluster works on one run.  `threads` replaces
// the threads of a block where it is not zero.  want(plan) sets features_room and, as
// doubles_per_team, what a run needs.
template <class Kernel, class Want>
Plan plan_kernel(Kernel kernel, int rows, int columns, int threads, Want want) {
  Plan plan{};
  const int warps = columns > 4 * rows ? (columns + 63) / 64 : (rows + 15) / 16;
  plan.threads = threads > 0 ? threads : 32 * (warps < kThreads / 32 ? warps : kThreads / 32);
  cudaFuncAttributes attributes{};
  KRF_CHECK(cudaFuncGetAttributes(&attributes, kernel));
  plan.cluster = rows > 128 && attributes.ptxVersion >= 90 ? 8 : 1; // the most that is portable
  want(plan);
  plan.doubles_per_team = workspace_of<DeviceTeam>(plan, plan.doubles_per_team);
  if (plan.cluster > 1) {
    cudaLaunchAttribute attribute{};
    const cudaLaunchConfig_t config = launch_config(plan, plan.cluster, nullptr, &attribute);
    KRF_CHECK(cudaOccupancyMaxActiveClusters(&plan.teams, kernel, &config));
  } else {
    int device = 0, processors = 0, resident = 0;
    KRF_CHECK(cudaGetDevice(&device));
    KRF_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    KRF_CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, plan.threads, 0));
    plan.teams = processors * resident;
  }
  plan.teams = plan.teams > 0 ? plan.teams : 1;
  return plan;
}

template <class... Parameters, class... Arguments>
void launch_teams(void (*kernel)(Parameters...), const Plan &plan, void *stream,
                  const Arguments &...arguments) {
  cudaLaunchAttribute attribute{};
  const cudaLaunchConfig_t config =
      launch_config(plan, plan.teams * plan.cluster, stream, &attribute);
  KRF_CHECK(cudaLaunchKernelEx(&config, kernel, arguments...));
}

} // namespace krf::cuda
