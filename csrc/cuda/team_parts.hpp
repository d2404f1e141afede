// Single primitives of a block team, for tests: one body that a device and host threads both run.
#pragma once

#include "../core/linalg/stale_inverse.hpp"
#include "block_team.hpp"

KRF_BEGIN_NAMESPACE

// The numbers are those of tests/native/test_team_parts.py; launch.hpp has their count, kParts.
enum class Part : int {
  kGram = 0,
  kMapFeatures = 1,
  kSolve = 2,
  kSolveComplex = 3,
  kProducts = 4,
  kReduce = 5,
  kSelect = 6,
  kReflect = 7,
  kInvert = 8,
  kStaleSolve = 9
};

// Doubles of scratch that any part needs for matrices of n rows (padded) and m columns.
KRF_HD inline long long part_scratch(int n, int m) {
  const long long ld = padded(n);
  return 2 * ld * ld + 16 * ld + 2LL * padded(m);
}

// A holds m features of padded(n) doubles, or for the solves n columns of as many; B and out are
// what the part makes of them.  Features are padded to a multiple of eight, as everywhere.
template <class Team>
KRF_HD void run_part(Team &team, Part part, int n, int m, const double *A, const double *B,
                     double *out, double *scratch) {
  const int ld = padded(n);
  const auto take = [&](long long count) {
    double *at = scratch;
    scratch += count;
    return at;
  };
  const auto copy = [&](const double *from, double *to, int count) {
    team.each(count, [&](int i) { to[i] = from[i]; });
  };
  switch (part) {
  case Part::kGram: { // sum_k B_k a_k a_k^T, lower triangle by columns
    int *index = reinterpret_cast<int *>(take(padded(m)));
    auto **columns = reinterpret_cast<const double **>(take(padded(m)));
    team.each(m, [&](int k) { index[k] = k; });
    team.each(ld * ld, [&](int i) { out[i] = 0.0; });
    team.add_columns(out, ld, A, index, B, m, columns);
    return;
  }
  case Part::kMapFeatures: // sum_i 2 (a_i . B_k) a_i for three vectors B
    NoSums none;
    team.template map_features<3>(A, ld, padded(m), B, out, none,
                                  [&](int, const auto *z, auto *to, NoSums &) {
                                    for (int k = 0; k < 3; ++k)
                                      to[k] = 2.0 * z[k];
                                  });
    return;
  case Part::kSolve: { // A x = B, then the smallest share of a diagonal entry that was left
    double *L = take(static_cast<long long>(ld) * ld), *pivot = take(ld);
    copy(A, L, ld * n), copy(B, out, ld);
    const double kept = team.factor(L, ld, n, pivot);
    team.once([&] { out[ld] = kept; });
    if (kept > 0)
      team.solve(L, ld, n, pivot, out);
    return;
  }
  case Part::kSolveComplex: { // (A + i I) x = B: real parts, imaginary parts
    double *r = take(static_cast<long long>(ld) * ld), *i = take(static_cast<long long>(ld) * ld);
    double *pivot_r = take(ld), *pivot_i = take(ld);
    copy(A, r, ld * n), copy(B, out, ld);
    team.each(ld * n, [&](int e) { i[e] = e / ld == e % ld ? 1.0 : 0.0; });
    team.each(ld, [&](int e) { out[ld + e] = 0.0; });
    team.factor(r, i, ld, n, pivot_r, pivot_i);
    team.solve(r, i, ld, n, pivot_r, pivot_i, out, out + ld);
    return;
  }
  case Part::kProducts: // a_i . b_j for the m rows of A and of B
    team.products(A, ld, m, B, ld, m, ld, out, m, false);
    return;
  case Part::kReduce: { // of the first n numbers of A: sum, largest, product with B
    double sum = 0, most = -kInfinity;
    team.each(n, [&](int i) { sum += A[i], most = larger(most, A[i]); });
    const double parts[2] = {sum, most};
    double at_once[2];
    team.template reduce<1, 1>(parts, at_once);
    sum = team.sum(sum), most = team.max(most);
    const double dot = team.dot(A, B, n);
    team.once([&] {
      out[0] = sum, out[1] = most, out[2] = dot;
      out[3] = at_once[0], out[4] = at_once[1];
    });
    return;
  }
  case Part::kSelect: { // which of the first n numbers of A are positive, the largest, whether any
    int *index = reinterpret_cast<int *>(take(ld));
    const auto positive = [&](int i) { return A[i] > 0; };
    const int count = team.collect(n, positive, index);
    const int best = team.largest(n, [&](int i) { return A[i]; });
    const bool found = team.any(n, positive);
    team.each(n, [&](int i) { out[3 + i] = i < count ? index[i] : -1; });
    team.once([&] { out[0] = count, out[1] = best, out[2] = found; });
    return;
  }
  case Part::kInvert: { // A^-1 B_k for three vectors B, then what the elimination left
    double *inverse = take(static_cast<long long>(ld) * ld), *room = take(team.inverse_room(ld));
    copy(A, inverse, ld * n);
    team.each(ld * (ld - n), [&](int e) { inverse[ld * n + e] = 0.0; });
    const double kept = team.invert(inverse, ld, n, room);
    if (kept > 0)
      team.template multiply_symmetric<3>(inverse, ld, B, out);
    team.once([&] { out[3 * ld] = kept; });
    return;
  }
  case Part::kStaleSolve: { // (A + 2 I) x = B_0 and (A + (1 + 3 i) I) x = B_1 + i B_2, by the
                            // inverse of A + I
    double *inverse = take(static_cast<long long>(ld) * ld);
    Arena arena(scratch);
    StaleInverse<Team> stale(team, n, inverse, arena);
    double *G = scratch + arena.used();
    copy(A, G, ld * n), copy(B, out, 3 * ld);
    team.each(ld * (ld - n), [&](int e) { G[ld * n + e] = 0.0; });
    if (stale.renew(G, 1.0) > 0.0 && stale.serves(G, 2.0))
      stale.template solve<3>(G, {2.0, 1.0, 3.0}, out);
    return;
  }
  case Part::kReflect: // a_i - 2 (B . a_i) B
    copy(A, out, ld * padded(m));
    team.reflect(out, ld, m, B);
    return;
  }
}

KRF_END_NAMESPACE
