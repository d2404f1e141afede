// The interface between code compiled by nvcc and the rest: plain data, opaque streams, no CUDA
// headers.
//
// All pointers are to device memory unless said otherwise; it belongs to the caller.
#pragma once

#include <stdexcept>
#include <string>

namespace krf::cuda {

// Any failed call of the CUDA runtime: what was called, where (below csrc), and what it said.
class CudaError : public std::runtime_error {
public:
  CudaError(const char *call, const char *file, int line, const std::string &reason, bool memory)
      : std::runtime_error(std::string(call) + " at " + below_source(file) + ":" +
                           std::to_string(line) + ": " + reason),
        out_of_memory(memory) {}
  bool out_of_memory;

private:
  static std::string below_source(const std::string &file) {
    const auto at = file.rfind("csrc/");
    return at == std::string::npos ? file : file.substr(at);
  }
};

// How many devices there are; throws where the driver does not answer.
int device_count();

// How a kernel is laid out on the present device: teams of `cluster` thread blocks each.
struct Plan {
  int threads, cluster, teams;
  long long doubles_per_team; // of workspace
  long long features_room;    // the part of it that map_features needs
};

struct Queue {
  const long long *order; // runs, longest expected first
  long long count;
  long long *next, *finished; // one number each, zero at the start
  volatile int *host_control; // mapped host memory: [0] cancel, [1] one of the last `finished`
};

// By run_batch.cuh, for every family of core/families.hpp.  `threads` a block, a multiple of 32, or
// zero for what the shape of the problem wants; batch is not read beyond its sizes.
template <class Family> Plan plan_family(const typename Family::Batch &, int variant, int threads);
// What Family::pack makes of every set.
template <class Family>
void pack_family(const typename Family::Batch &, double *packed, void *stream);
template <class Family>
void launch_family(const typename Family::Batch &, const typename Family::Settings &,
                   const typename Family::Rows &, int variant, const double *packed, const Queue &,
                   const Plan &, double *workspace, void *stream);

// Whether an address belongs to the current device.
bool is_on_current_device(const void *);

// For tests: one primitive of the team (csrc/cuda/team_parts.hpp, below kParts) on one team,
// `never` a zero; and how often each run of a queue is drawn.
inline constexpr int kParts = 10;
Plan plan_part(int n, int m, int threads, int cluster);
void launch_part(int part, int n, int m, const double *A, const double *B, double *out,
                 const Plan &, double *workspace, const int *never, void *stream);
void launch_draw(const Queue &, int *drawn, const Plan &, double *workspace, void *stream);

// Mapped host memory for a Queue's control, and the end of a stream.
volatile int *new_control(volatile int **device_view);
void free_control(volatile int *);
bool finished(void *event);
void *record(void *stream);
void forget(void *event);

} // namespace krf::cuda
