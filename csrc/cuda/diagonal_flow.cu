// Gradient flows of diagonal networks: one run per thread block or cluster.
#include "../core/diagonal/family.hpp"
#include "diagonal.cuh"

namespace krf::cuda {
namespace {

template <Mirror MirrorT>
__global__ void __launch_bounds__(kThreads, 2)
    diagonal_flow_kernel(DiagonalBatch batch, FlowSettings settings, DiagonalResults results,
                         Queue queue, Plan plan, double *workspace) {
  draw_runs(queue, plan, workspace, [&](DeviceTeam &team, long long run, Arena &arena) {
    const DiagonalProblem problem = problem_of(batch, run, team, arena);
    const FlowOptions options = settings.of_run(run, batch.loss_offset[batch.y_index[run]]);
    const long long rows = settings.n_eval > 0 ? settings.n_eval : 1;
    const long long d = run * rows * batch.d;
    DiagonalFlowOutput out{
        {results.loss + run * rows, results.t + run * rows, Status::kFailed, 0, 0},
        results.beta + d,
        results.w_plus + d,
        results.w_minus + d,
        results.nu + run * rows * batch.n};
    DiagonalFlow<DeviceTeam, MirrorT>(team, problem, arena).run(problem, options, out);
    team.once([&] {
      results.status[run] = static_cast<int>(out.status);
      results.n_steps[run] = out.n_steps;
      results.n_rhs[run] = out.n_rhs;
      results.n_flops[run] = out.n_flops;
    });
  });
}

template <Mirror MirrorT> Plan plan_of(const DiagonalBatch &batch, int threads) {
  return plan_diagonal<DiagonalFlow<DeviceTeam, MirrorT>>(diagonal_flow_kernel<MirrorT>, batch,
                                                          threads);
}

} // namespace

Plan plan_diagonal_flow(const DiagonalBatch &batch, int threads) {
  return batch.depth == 2 ? plan_of<Depth2Mirror>(batch, threads)
                          : plan_of<DeepMirror>(batch, threads);
}

void launch_diagonal_flow(const DiagonalBatch &batch, const FlowSettings &settings,
                          const DiagonalResults &results, const Queue &queue, const Plan &plan,
                          double *workspace, void *stream) {
  const auto kernel =
      batch.depth == 2 ? diagonal_flow_kernel<Depth2Mirror> : diagonal_flow_kernel<DeepMirror>;
  launch_teams(kernel, plan, stream, batch, settings, results, queue, plan, workspace);
}

} // namespace krf::cuda
