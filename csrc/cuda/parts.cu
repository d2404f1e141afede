// Single primitives of the device's team, and the queue, for tests.
#include "persistent.cuh"
#include "team_parts.hpp"

namespace krf::cuda {

static_assert(kParts == static_cast<int>(Part::kStaleSolve) + 1, "all parts, and no more");

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    part_kernel(Part part, int n, int m, const double *A, const double *B, double *out, Plan plan,
                double *workspace, const int *never) {
  __shared__ BlockScratch scratch;
  double *rest = nullptr;
  DeviceTeam team = team_here(scratch, plan, workspace, never, rest);
  team.begin();
  run_part(team, part, n, m, A, B, out, rest);
}

// Counts how often a run is drawn; `order` maps what is drawn to runs.
__global__ void __launch_bounds__(kThreads, 2)
    draw_kernel(Queue queue, int *drawn, Plan plan, double *workspace) {
  draw_runs(queue, plan, workspace,
            [&](DeviceTeam &team, long long run, Arena &) { team.once([&] { drawn[run] += 1; }); });
}

} // namespace

Plan plan_part(int n, int m, int threads, int cluster) {
  Plan plan{threads, cluster, 1, 0, 0};
  plan.features_room = DeviceTeam::features_room(padded(n), padded(m), threads * cluster);
  plan.doubles_per_team = workspace_of<DeviceTeam>(plan, part_scratch(n, m));
  return plan;
}

void launch_part(int part, int n, int m, const double *A, const double *B, double *out,
                 const Plan &plan, double *workspace, const int *never, void *stream) {
  launch_teams(part_kernel, plan, stream, static_cast<Part>(part), n, m, A, B, out, plan, workspace,
               never);
}

void launch_draw(const Queue &queue, int *drawn, const Plan &plan, double *workspace,
                 void *stream) {
  launch_teams(draw_kernel, plan, stream, queue, drawn, plan, workspace);
}

} // namespace krf::cuda
