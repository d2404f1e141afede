#include "lapack.hpp"

#include <atomic>

#include "helper_pool.hpp"

namespace krf::cpu {
namespace {
std::atomic<Dsyevd> dsyevd_of_scipy{nullptr};
} // namespace

void use_lapack(Dsyevd dsyevd) { dsyevd_of_scipy.store(dsyevd, std::memory_order_release); }
bool has_lapack() { return dsyevd_of_scipy.load(std::memory_order_acquire) != nullptr; }

bool decompose_by_lapack(double *A, int ld, int n, double *value) {
  char job = 'V', triangle = 'L';
  int length = -1, integers_length = -1, info = 0, integers_wanted = 0;
  double wanted = 0;
  const Dsyevd dsyevd = dsyevd_of_scipy.load(std::memory_order_acquire);
  dsyevd(&job, &triangle, &n, A, &ld, value, &wanted, &length, &integers_wanted, &integers_length,
         &info);
  if (info != 0)
    return false;
  length = static_cast<int>(wanted), integers_length = integers_wanted;
  double *work = thread_memory(static_cast<std::size_t>(length) + integers_length);
  dsyevd(&job, &triangle, &n, A, &ld, value, work, &length, reinterpret_cast<int *>(work + length),
         &integers_length, &info);
  return info == 0;
}

} // namespace krf::cpu
