// The interface between code compiled by nvcc and the rest: plain data, opaque streams, no CUDA
// headers.
//
// All pointers are to device memory unless said otherwise; it belongs to the caller.
#pragma once

#include <stdexcept>
#include <string>

#include "../core/diagonal/problem.hpp"
#include "../core/factorization/problem.hpp"
#include "../core/mlp/problem.hpp"

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

struct DiagonalBatch {
  int n, d, depth;                            // one depth a launch
  const double *X, *feature_norm;             // packed: (., padded(d), padded(n)), (., padded(d))
  const double *y;                            // (., padded(n))
  const double *loss_offset;                  // per y
  const double *profile_plus, *profile_minus; // (., d)
  const long long *x_index, *y_index, *w_index;
  const double *alpha;
};

struct DiagonalResults { // per run, then per evaluation time
  double *beta, *w_plus, *w_minus, *nu, *loss, *t;
  int *status;
  long long *n_steps, *n_rhs;
  double *n_flops;
};

struct FactorBatch {
  int n, p, q, c0, n_samples, rank; // one rank a launch
  const int *row, *column;          // (., n_samples), or null
  const double *X;                  // packed: (padded(p q), padded(n_samples)), or null
  double X_norm;
  const double *y;      // (., padded(n_samples))
  const double *starts; // (., n, padded(rank))
  const double *scale;
  const long long *y_index, *start_index, *entry_index;
};

struct FactorResults {
  double *W, *loss, *t; // W (run, evaluation time, n, rank)
  int *status;
  long long *n_steps, *n_rhs;
  double *n_flops;
};

struct MlpBatch {
  MlpShape shape;
  long long n_weights;
  double step_size;
  const double *X;  // (., n, padded(units[0] + bias)), the last column that counts is one
  const double *y;  // (., n)
  const double *w0; // (., n_weights)
  const double *alpha;
  const long long *x_index, *y_index, *w_index;
};

struct MlpResults {
  double *w, *loss, *t; // w (run, evaluation time, n_weights)
  int *status;
  long long *n_steps, *n_rhs;
  double *n_flops;
};

// `threads` a block, a multiple of 32, or zero for what the shape of the problem wants.
Plan plan_diagonal_flow(const DiagonalBatch &, int threads);
Plan plan_diagonal_limit(const DiagonalBatch &, int threads);
Plan plan_factor_flow(const FactorBatch &, int threads);
Plan plan_mlp_flow(const MlpBatch &, int threads);

// X (count, n, d) to packed form, with the norms of the features.
void launch_pack(const double *X, long long count, int n, int d, double *packed, double *norm,
                 void *stream);
void launch_diagonal_flow(const DiagonalBatch &, const FlowSettings &, const DiagonalResults &,
                          const Queue &, const Plan &, double *workspace, void *stream);
// `tolerance` in place of the settings; results without rows, n_rhs unused.
void launch_diagonal_limit(const DiagonalBatch &, double tolerance, int max_iterations,
                           const DiagonalResults &, const Queue &, const Plan &, double *workspace,
                           void *stream);
void launch_factor_flow(const FactorBatch &, const FlowSettings &, const FactorResults &,
                        const Queue &, const Plan &, double *workspace, void *stream);
void launch_mlp_flow(const MlpBatch &, const FlowSettings &, const MlpResults &, const Queue &,
                     const Plan &, double *workspace, void *stream);

// For tests: one primitive of the team (csrc/cuda/team_parts.hpp) on one team, `never` a zero; and
// how often each run of a queue is drawn.
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
