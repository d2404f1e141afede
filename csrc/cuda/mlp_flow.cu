// Gradient flows of ReLU networks: one run per thread block or cluster.
#include "../core/mlp/family.hpp"
#include "persistent.cuh"

namespace krf::cuda {
namespace {

using Flow = MlpFlow<DeviceTeam>;

__host__ __device__ MlpProblem problem_of(const MlpBatch &b) {
  return {b.shape, nullptr, nullptr, nullptr, 1.0, b.step_size};
}

__global__ void __launch_bounds__(kThreads, 2)
    mlp_flow_kernel(MlpBatch batch, FlowSettings settings, MlpResults results, Queue queue,
                    Plan plan, double *workspace) {
  draw_runs(queue, plan, workspace, [&](DeviceTeam &team, long long run, Arena &arena) {
    const long long n = batch.shape.n;
    const int ld = padded(batch.shape.units[0] + batch.shape.bias);
    MlpProblem problem = problem_of(batch);
    problem.X = batch.X + batch.x_index[run] * n * ld;
    problem.y = batch.y + batch.y_index[run] * n;
    problem.w0 = batch.w0 + batch.w_index[run] * batch.n_weights;
    problem.alpha = batch.alpha[run];
    const long long rows = settings.n_eval > 0 ? settings.n_eval : 1;
    MlpFlowOutput out{{results.loss + run * rows, results.t + run * rows, Status::kFailed, 0, 0},
                      results.w + run * rows * batch.n_weights};
    Flow flow(team, problem, arena);
    flow.run(problem, settings.of_run(run, 0.0), out);
    team.once([&] {
      results.status[run] = static_cast<int>(out.status);
      results.n_steps[run] = out.n_steps;
      results.n_rhs[run] = out.n_rhs;
      results.n_flops[run] = out.n_flops;
    });
  });
}

} // namespace

Plan plan_mlp_flow(const MlpBatch &batch, int threads) {
  int rows = batch.shape.n;
  for (int l = 1; l < batch.shape.depth; ++l)
    rows = batch.shape.units[l] > rows ? batch.shape.units[l] : rows;
  return plan_kernel(mlp_flow_kernel, rows, rows, threads, [&](Plan &plan) {
    plan.doubles_per_team = count_doubles<Flow>(problem_of(batch));
  });
}

void launch_mlp_flow(const MlpBatch &batch, const FlowSettings &settings, const MlpResults &results,
                     const Queue &queue, const Plan &plan, double *workspace, void *stream) {
  launch_teams(mlp_flow_kernel, plan, stream, batch, settings, results, queue, plan, workspace);
}

} // namespace krf::cuda
