// A diagonal problem of a batch, in the form that core takes.
#pragma once

#include "persistent.cuh"

namespace krf::cuda {

// The scaled profiles of a run go to the arena first.
__device__ inline DiagonalProblem problem_of(const DiagonalBatch &b, long long run,
                                             DeviceTeam &team, Arena &arena) {
  const int ldn = padded(b.n), ldd = padded(b.d);
  double *plus = arena.take(ldd), *minus = arena.take(ldd);
  const double *from_plus = b.profile_plus + b.w_index[run] * b.d;
  const double *from_minus = b.profile_minus + b.w_index[run] * b.d;
  const double alpha = b.alpha[run];
  team.each(ldd, [&](int i) {
    plus[i] = alpha * from_plus[i < b.d ? i : 0];
    minus[i] = alpha * (i < b.d ? from_minus[i] : from_plus[0]);
  });
  const long long x = b.x_index[run];
  return {b.n,
          b.d,
          b.depth,
          b.X + x * static_cast<long long>(ldn) * ldd,
          b.feature_norm + x * ldd,
          b.y + b.y_index[run] * ldn,
          plus,
          minus};
}

inline DiagonalProblem shape_of(const DiagonalBatch &b) {
  return {b.n, b.d, b.depth, nullptr, nullptr, nullptr, nullptr, nullptr};
}

template <class Solver, class Kernel>
Plan plan_diagonal(Kernel kernel, const DiagonalBatch &b, int threads) {
  return plan_kernel(kernel, b.n, b.d, threads, [&](Plan &plan) {
    plan.features_room =
        DeviceTeam::features_room(padded(b.n), padded(b.d), plan.threads * plan.cluster);
    plan.doubles_per_team = count_doubles<Solver>(shape_of(b)) + 2LL * padded(b.d);
  });
}

} // namespace krf::cuda
