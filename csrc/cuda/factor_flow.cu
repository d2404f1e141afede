// Gradient flows of matrix factorisation: one run per thread block or cluster.
#include "../core/factorization/family.hpp"
#include "persistent.cuh"

namespace krf::cuda {
namespace {

using Flow = FactorFlow<DeviceTeam>;

__host__ __device__ FactorProblem shape_of(const FactorBatch &b) {
  return {b.n,   b.rank,   b.p, b.q,      b.c0,    b.n_samples,
          b.row, b.column, b.X, b.X_norm, nullptr, nullptr};
}

__global__ void __launch_bounds__(kThreads, 2)
    factor_flow_kernel(FactorBatch batch, FlowSettings settings, FactorResults results, Queue queue,
                       Plan plan, double *workspace) {
  draw_runs(queue, plan, workspace, [&](DeviceTeam &team, long long run, Arena &arena) {
    const int ldr = padded(batch.rank), size = batch.n * ldr;
    double *W0 = arena.take(size);
    const double *from = batch.starts + batch.start_index[run] * size;
    const double scale = batch.scale[run];
    team.each(size, [&](int i) { W0[i] = scale * from[i]; });
    FactorProblem problem = shape_of(batch);
    if (!batch.X) {
      const long long set = batch.entry_index[run] * batch.n_samples;
      problem.row = batch.row + set, problem.column = batch.column + set;
    }
    problem.y = batch.y + batch.y_index[run] * padded(batch.n_samples);
    problem.W0 = W0;
    const long long rows = settings.n_eval > 0 ? settings.n_eval : 1;
    FactorFlowOutput out{{results.loss + run * rows, results.t + run * rows, Status::kFailed, 0, 0},
                         results.W + run * rows * batch.n * batch.rank};
    Flow(team, problem, arena).run(problem, settings.of_run(run, 0.0), out);
    team.once([&] {
      results.status[run] = static_cast<int>(out.status);
      results.n_steps[run] = out.n_steps;
      results.n_rhs[run] = out.n_rhs;
      results.n_flops[run] = out.n_flops;
    });
  });
}

} // namespace

Plan plan_factor_flow(const FactorBatch &batch, int threads) {
  const int rows = batch.n > batch.n_samples ? batch.n : batch.n_samples;
  const int entries = batch.p * batch.q;
  return plan_kernel(factor_flow_kernel, rows, entries, threads, [&](Plan &plan) {
    plan.features_room = DeviceTeam::features_room(padded(batch.n_samples), padded(entries),
                                                   plan.threads * plan.cluster);
    plan.doubles_per_team =
        count_doubles<Flow>(shape_of(batch)) + static_cast<long long>(batch.n) * padded(batch.rank);
  });
}

void launch_factor_flow(const FactorBatch &batch, const FlowSettings &settings,
                        const FactorResults &results, const Queue &queue, const Plan &plan,
                        double *workspace, void *stream) {
  launch_teams(factor_flow_kernel, plan, stream, batch, settings, results, queue, plan, workspace);
}

} // namespace krf::cuda
