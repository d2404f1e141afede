// Limits of diagonal networks: a problem a block.
#include "../core/limit.hpp"
#include "diagonal.cuh"

namespace krf::cuda {
namespace {

template <class Mirror>
__global__ void __launch_bounds__(kThreads, 1)
    diagonal_limit_kernel(DiagonalBatch batch, double tolerance, int max_iterations,
                          DiagonalResults results, Queue queue, double *workspace,
                          long long doubles_per_block, long long sweep_room) {
  draw_runs(queue, workspace, doubles_per_block, sweep_room,
            [&](DeviceTeam &team, long long run, Arena &arena) {
              const DiagonalProblem problem = problem_of(batch, run, team, arena);
              const double offset = batch.loss_offset[batch.y_index[run]];
              const double norm2 = team.dot(problem.y, problem.y, padded(batch.n));
              const LimitOptions options{tolerance, offset, std::sqrt(norm2 + offset),
                                         max_iterations};
              LimitOutput out{results.beta + run * batch.d,
                              results.w_plus + run * batch.d,
                              results.w_minus + run * batch.d,
                              results.nu + run * batch.n,
                              0,
                              Status::kFailed,
                              0};
              solve_limit<DeviceTeam, Mirror>(team, problem, options, out, arena);
              team.once([&] {
                results.loss[run] = out.loss;
                results.status[run] = static_cast<int>(out.status);
                results.n_steps[run] = out.n_iterations;
              });
            });
}

template <class Mirror> Plan plan(const DiagonalBatch &batch) {
  using Solver = LimitSolver<DeviceTeam, Mirror>;
  return plan_kernel(diagonal_limit_kernel<Mirror>,
                     count_doubles<Solver>(shape_of(batch), room_of(batch)) +
                         2LL * padded(batch.d));
}

} // namespace

Plan plan_diagonal_limit(const DiagonalBatch &batch) {
  return batch.depth == 2 ? plan<Depth2Mirror>(batch) : plan<DeepMirror>(batch);
}

void launch_diagonal_limit(const DiagonalBatch &batch, double tolerance, int max_iterations,
                           const DiagonalResults &results, const Queue &queue, const Plan &plan,
                           double *workspace, void *stream) {
  const auto kernel =
      batch.depth == 2 ? diagonal_limit_kernel<Depth2Mirror> : diagonal_limit_kernel<DeepMirror>;
  kernel<<<plan.blocks, plan.threads, 0, static_cast<cudaStream_t>(stream)>>>(
      batch, tolerance, max_iterations, results, queue, workspace, plan.doubles_per_block,
      room_of(batch));
  KRF_CHECK(cudaGetLastError());
}

} // namespace krf::cuda
