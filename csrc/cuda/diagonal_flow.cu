// Gradient flows of diagonal networks: a run a block, the integrator of csrc/core in the kernel.
#include "../core/dual_system.hpp"
#include "../core/flow.hpp"
#include "diagonal.cuh"

namespace krf::cuda {
namespace {

template <class Mirror>
__global__ void __launch_bounds__(kThreads, 1)
    diagonal_flow_kernel(DiagonalBatch batch, FlowSettings settings, DiagonalResults results,
                         Queue queue, double *workspace, long long doubles_per_block,
                         long long sweep_room) {
  draw_runs(queue, workspace, doubles_per_block, sweep_room,
            [&](DeviceTeam &team, long long run, Arena &arena) {
              const DiagonalProblem problem = problem_of(batch, run, team, arena);
              const FlowOptions options =
                  settings.of_run(run, batch.loss_offset[batch.y_index[run]]);
              const long long rows = settings.n_eval > 0 ? settings.n_eval : 1;
              const long long d = run * rows * batch.d;
              DiagonalFlowOutput out{
                  {results.loss + run * rows, results.t + run * rows, Status::kFailed, 0, 0},
                  results.beta + d,
                  results.w_plus + d,
                  results.w_minus + d,
                  results.nu + run * rows * batch.n};
              integrate_run<DualSystem<DeviceTeam, Mirror>>(team, problem, options, out, arena);
              team.once([&] {
                results.status[run] = static_cast<int>(out.status);
                results.n_steps[run] = out.n_steps;
                results.n_rhs[run] = out.n_rhs;
                results.n_flops[run] = out.n_flops;
              });
            });
}

template <class Mirror> Plan plan(const DiagonalBatch &batch) {
  using Solver = FlowIntegrator<DualSystem<DeviceTeam, Mirror>>;
  return plan_kernel(diagonal_flow_kernel<Mirror>,
                     count_doubles<Solver>(shape_of(batch), room_of(batch)) +
                         2LL * padded(batch.d));
}

} // namespace

Plan plan_diagonal_flow(const DiagonalBatch &batch) {
  return batch.depth == 2 ? plan<Depth2Mirror>(batch) : plan<DeepMirror>(batch);
}

void launch_diagonal_flow(const DiagonalBatch &batch, const FlowSettings &settings,
                          const DiagonalResults &results, const Queue &queue, const Plan &plan,
                          double *workspace, void *stream) {
  const auto kernel =
      batch.depth == 2 ? diagonal_flow_kernel<Depth2Mirror> : diagonal_flow_kernel<DeepMirror>;
  kernel<<<plan.blocks, plan.threads, 0, static_cast<cudaStream_t>(stream)>>>(
      batch, settings, results, queue, workspace, plan.doubles_per_block, room_of(batch));
  KRF_CHECK(cudaGetLastError());
}

} // namespace krf::cuda
