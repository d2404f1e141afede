// Single primitives of the device's team, and the queue, for tests.
#include "persistent.cuh"
#include "team_parts.hpp"

namespace krf::cuda {
namespace {

__global__ void __launch_bounds__(kThreads, 1)
    part_kernel(Part part, int n, int m, const double *A, const double *B, double *out,
                double *workspace, const int *never) {
  __shared__ double exchange[DeviceTeam::exchange_room(kThreads)];
  if (threadIdx.x == 0)
    exchange[2 * kThreads] = 0.0;
  __syncthreads();
  const long long room = DeviceTeam::sweep_room(padded(n), padded(m), kThreads);
  DeviceTeam team(DeviceBlock{}, exchange, workspace, never);
  run_part(team, part, n, m, A, B, out, workspace + (room + kLanes - 1) / kLanes * kLanes);
}

// Counts how often a run is drawn; `order` maps what is drawn to runs.
__global__ void __launch_bounds__(kThreads, 1) draw_kernel(Queue queue, int *drawn, double *none) {
  draw_runs(queue, none, 0, 0,
            [&](DeviceTeam &team, long long run, Arena &) { team.once([&] { drawn[run] += 1; }); });
}

} // namespace

long long part_room(int n, int m) {
  return padded(static_cast<int>(DeviceTeam::sweep_room(padded(n), padded(m), kThreads))) +
         part_scratch(n, m);
}

void launch_part(int part, int n, int m, const double *A, const double *B, double *out,
                 double *workspace, const int *never, void *stream) {
  part_kernel<<<1, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(static_cast<Part>(part), n, m,
                                                                     A, B, out, workspace, never);
  KRF_CHECK(cudaGetLastError());
}

void launch_draw(const Queue &queue, int blocks, int *drawn, double *none, void *stream) {
  draw_kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(queue, drawn, none);
  KRF_CHECK(cudaGetLastError());
}

} // namespace krf::cuda
