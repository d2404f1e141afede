// Compiled once per instruction set, as kernels.cpp is: KRF_ISA names the namespace, KRF_TABLE the
// table.
#include "parts.hpp"
#include "../core/linalg/phi_functions.hpp"
#include "../core/linalg/symmetric_eigen.hpp"
#include "team.hpp"

KRF_BEGIN_NAMESPACE
namespace {

CpuTeam uninterrupted() {
  static const int never = 0;
  return CpuTeam(&never);
}

void elementary(int function, int count, const double *x, double *y) {
  CpuTeam::for_each(count, [&](int i) {
    const Lanes v = read<Lanes>(x + i);
    Lanes r = v;
    switch (function) {
    case 0:
      r = exponential(v);
      break;
    case 1:
      r = expm1(v);
      break;
    case 2:
      r = logarithm(v);
      break;
    case 3:
      r = log1p_small(v);
      break;
    case 4:
      r = sinh_small(v);
      break;
    default:
      break;
    }
    write<Lanes>(y + i, r);
  });
}

void map_features(int n, int d, const double *X, const double *V, double *acc) {
  CpuTeam team = uninterrupted();
  NoSums none;
  team.map_features<3>(X, padded(n), padded(d), V, acc, none,
                       [](int, const Lanes *z, Lanes *out, NoSums &) {
                         for (int k = 0; k < 3; ++k)
                           out[k] = z[k];
                       });
}

void products(int m, int q, int length, const double *A, const double *B, double *out) {
  CpuTeam team = uninterrupted();
  team.products(A, padded(length), m, B, padded(length), q, padded(length), out, q, false);
}

void scaled_gram(int n, int d, const double *X, const double *weight, double *G, double *scratch) {
  CpuTeam team = uninterrupted();
  int *index = reinterpret_cast<int *>(scratch);
  for (int i = 0; i < d; ++i)
    index[i] = i;
  team.add_columns(G, padded(n), X, index, weight, d,
                   reinterpret_cast<const double **>(scratch + padded(d)));
}

bool eigen(int n, double *A, double *value, double *vector) {
  const int ld = padded(n);
  CpuTeam team = uninterrupted();
  // Values, vectors, and five rows of scratch, in the order the solver takes them.
  double *scratch = new double[static_cast<std::size_t>(n + 7) * ld]();
  Arena arena(scratch);
  SymmetricEigen<CpuTeam> solver(team, n, arena);
  const bool converged = solver.decompose_by_library(A);
  for (int i = 0; i < n; ++i)
    value[i] = solver.value[i];
  for (int i = 0; i < n * ld; ++i)
    vector[i] = solver.vector.data[i];
  delete[] scratch;
  return converged;
}

double solve(int n, double *A, double *pivot, double *b) {
  CpuTeam team = uninterrupted();
  const double kept = team.factor(A, padded(n), n, pivot);
  team.solve(A, padded(n), n, pivot, b);
  return kept;
}

double inverse(int n, double *A, const double *V, double *out, double *scratch) {
  CpuTeam team = uninterrupted();
  const double kept = team.invert(A, padded(n), n, scratch);
  if (kept > 0.0)
    team.multiply_symmetric<3>(A, padded(n), V, out);
  return kept;
}
long long room_for_inverse(int n) { return CpuTeam::inverse_room(padded(n)); }

void solve_complex(int n, double *Ar, double *Ai, double *pr, double *pi, double *br, double *bi) {
  CpuTeam team = uninterrupted();
  team.factor(Ar, Ai, padded(n), n, pr, pi);
  team.solve(Ar, Ai, padded(n), n, pr, pi, br, bi);
}

} // namespace

inline const cpu::Parts &local_table() {
  static constexpr cpu::Parts table{
      elementary, map_features, products, scaled_gram,      phi,
      eigen,      solve,        inverse,  room_for_inverse, solve_complex};
  return table;
}
KRF_END_NAMESPACE

namespace krf::cpu {
const Parts &KRF_TABLE() { return local_table(); }
} // namespace krf::cpu
