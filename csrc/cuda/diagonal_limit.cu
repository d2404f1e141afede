// Limits of diagonal networks: one problem per thread block or cluster.
#include "../core/diagonal/limit.hpp"
#include "diagonal.cuh"

namespace krf::cuda {
namespace {

template <Mirror MirrorT>
__global__ void __launch_bounds__(kThreads, 2)
    diagonal_limit_kernel(DiagonalBatch batch, double tolerance, int max_iterations,
                          DiagonalResults results, Queue queue, Plan plan, double *workspace) {
  draw_runs(queue, plan, workspace, [&](DeviceTeam &team, long long run, Arena &arena) {
    const DiagonalProblem problem = problem_of(batch, run, team, arena);
    const double offset = batch.loss_offset[batch.y_index[run]];
    const double norm2 = team.dot(problem.y, problem.y, padded(batch.n));
    const LimitOptions options{tolerance, offset, std::sqrt(norm2 + offset), max_iterations};
    LimitOutput out{results.beta + run * batch.d,
                    results.w_plus + run * batch.d,
                    results.w_minus + run * batch.d,
                    results.nu + run * batch.n,
                    0,
                    Status::kFailed,
                    0};
    LimitSolver<DeviceTeam, MirrorT>(team, problem, arena).run(problem, options, out);
    team.once([&] {
      results.loss[run] = out.loss;
      results.status[run] = static_cast<int>(out.status);
      results.n_steps[run] = out.n_iterations;
    });
  });
}

template <Mirror MirrorT> Plan plan_of(const DiagonalBatch &batch, int threads) {
  return plan_diagonal<LimitSolver<DeviceTeam, MirrorT>>(diagonal_limit_kernel<MirrorT>, batch,
                                                         threads);
}

} // namespace

Plan plan_diagonal_limit(const DiagonalBatch &batch, int threads) {
  return batch.depth == 2 ? plan_of<Depth2Mirror>(batch, threads)
                          : plan_of<DeepMirror>(batch, threads);
}

void launch_diagonal_limit(const DiagonalBatch &batch, double tolerance, int max_iterations,
                           const DiagonalResults &results, const Queue &queue, const Plan &plan,
                           double *workspace, void *stream) {
  const auto kernel =
      batch.depth == 2 ? diagonal_limit_kernel<Depth2Mirror> : diagonal_limit_kernel<DeepMirror>;
  launch_teams(kernel, plan, stream, batch, tolerance, max_iterations, results, queue, plan,
               workspace);
}

} // namespace krf::cuda
