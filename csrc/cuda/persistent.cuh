// Persistent blocks: as many as fit on the device, each drawing runs until the queue is empty.
#pragma once

#include "check.cuh"
#include "device_block.cuh"

namespace krf::cuda {

inline constexpr int kThreads = 256;

// What a block keeps in shared memory.
struct BlockScratch {
  double exchange[DeviceTeam::exchange_room(kThreads)];
  long long run; // drawn from the queue
};

// body(team, run, arena) for every run of the queue; the block's workspace begins with what the
// team's sweeps need.
template <class Body>
__device__ void draw_runs(const Queue &queue, double *workspace, long long doubles_per_block,
                          long long sweep_room, Body body) {
  __shared__ BlockScratch scratch;
  double *mine = workspace + static_cast<long long>(blockIdx.x) * doubles_per_block;
  DeviceTeam team(DeviceBlock{}, scratch.exchange, mine,
                  const_cast<const int *>(queue.host_control));
  for (;;) {
    __syncthreads();
    if (threadIdx.x == 0) {
      scratch.run = static_cast<long long>(
          atomicAdd(reinterpret_cast<unsigned long long *>(queue.next), 1ULL));
      scratch.exchange[2 * kThreads] = 0.0; // a new run's operations
    }
    __syncthreads();
    const long long at = scratch.run;
    if (at >= queue.count || team.cancelled())
      return;
    Arena arena(mine + (sweep_room + kLanes - 1) / kLanes * kLanes);
    body(team, queue.order[at], arena);
    __syncthreads();
    if (threadIdx.x == 0)
      atomicAdd_system(const_cast<int *>(queue.host_control + 1), 1);
  }
}

// Blocks that are resident at once, and their workspace.
template <class Kernel> Plan plan_kernel(Kernel kernel, long long doubles_per_block) {
  int device = 0, processors = 0, resident = 0;
  KRF_CHECK(cudaGetDevice(&device));
  KRF_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  KRF_CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, kThreads, 0));
  return {kThreads, processors * (resident > 0 ? resident : 1), doubles_per_block};
}

// The arena a run of `Solver` needs, counted on the host, after the room of the sweeps.
template <class Solver, class Problem>
long long count_doubles(const Problem &problem, long long sweep_room) {
  const int never = 0;
  DeviceTeam team(DeviceBlock{}, nullptr, nullptr, &never);
  Arena arena(nullptr);
  Solver solver(team, problem, arena);
  return arena.used() + (sweep_room + kLanes - 1) / kLanes * kLanes;
}

} // namespace krf::cuda
