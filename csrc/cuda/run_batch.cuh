// Batches of any family on the device: one run per thread block or cluster.
#pragma once

#include "../core/family.hpp"
#include "persistent.cuh"

namespace krf::cuda {

template <class Family, int Variant>
__global__ void __launch_bounds__(kThreads, 2)
    run_kernel(typename Family::Batch batch, typename Family::Settings settings,
               typename Family::Rows rows, const double *packed, Queue queue, Plan plan,
               double *workspace) {
  draw_runs(queue, plan, workspace, [&](DeviceTeam &team, long long run, Arena &arena) {
    const double *data = packed + Family::set_of(batch, run) * Family::packed_doubles(batch);
    run_family<Family, Variant>(team, batch, settings, rows, run, data, arena);
  });
}

// A thread packs a line.
template <class Family> __global__ void pack_kernel(typename Family::Batch batch, double *packed) {
  const long long lines = Family::lines(batch), count = Family::sets(batch) * lines;
  const long long step = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long k = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; k < count;
       k += step)
    Family::pack(batch, k / lines, k % lines, packed + k / lines * Family::packed_doubles(batch));
}

template <class Family> struct Launcher {
  using Batch = typename Family::Batch;
  using Settings = typename Family::Settings;
  using Rows = typename Family::Rows;

  static Plan plan(const Batch &batch, int variant, int threads) {
    return with_variant<Family::kVariants>(variant, [&](auto constant) {
      return plan_kernel(run_kernel<Family, constant.value>, Family::rows_of_systems(batch),
                         Family::features(batch), threads, [&](Plan &plan) {
                           plan.features_room = DeviceTeam::features_room(
                               padded(Family::samples(batch)), padded(Family::features(batch)),
                               plan.threads * plan.cluster);
                           const int never = 0;
                           DeviceTeam team(DeviceBlock{}, nullptr, nullptr, nullptr, &never);
                           plan.doubles_per_team =
                               arena_doubles<Family, constant.value>(team, batch);
                         });
    });
  }

  static void pack(const Batch &batch, double *packed, void *stream) {
    pack_kernel<Family><<<1024, 256, 0, static_cast<cudaStream_t>(stream)>>>(batch, packed);
    KRF_CHECK(cudaGetLastError());
  }

  static void run(const Batch &batch, const Settings &settings, const Rows &rows, int variant,
                  const double *packed, const Queue &queue, const Plan &plan, double *workspace,
                  void *stream) {
    with_variant<Family::kVariants>(variant, [&](auto constant) {
      launch_teams(run_kernel<Family, constant.value>, plan, stream, batch, settings, rows, packed,
                   queue, plan, workspace);
    });
  }
};

// The functions that launch.hpp declares, for one family.
#define KRF_LAUNCH(Family)                                                                         \
  namespace krf::cuda {                                                                            \
  template <> Plan plan_family<Family>(const Family::Batch &batch, int variant, int threads) {     \
    return Launcher<Family>::plan(batch, variant, threads);                                        \
  }                                                                                                \
  template <> void pack_family<Family>(const Family::Batch &batch, double *packed, void *stream) { \
    Launcher<Family>::pack(batch, packed, stream);                                                 \
  }                                                                                                \
  template <>                                                                                      \
  void launch_family<Family>(const Family::Batch &batch, const Family::Settings &settings,         \
                             const Family::Rows &rows, int variant, const double *packed,          \
                             const Queue &queue, const Plan &plan, double *workspace,              \
                             void *stream) {                                                       \
    Launcher<Family>::run(batch, settings, rows, variant, packed, queue, plan, workspace, stream); \
  }                                                                                                \
  }

} // namespace krf::cuda
