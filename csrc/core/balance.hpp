// U^T U - V^T V does not move along the flow of a factorisation W = [U; V]; integration errors move
// it a little, and where results are written it is put back, in the same basis of columns.
#pragma once

#include "arena.hpp"
#include "math.hpp"

KRF_BEGIN_NAMESPACE

template <class Team> struct Balance {
  using T = typename Team::Value;
  static constexpr int kIterations = 60;

  Team &team;
  int n, r, c0, ldr;
  double *imbalance, *target, *defect; // (r, ldr): at the start, in turned columns, what is left
  double *norm2, *moved;

  Balance(Team &team_, int n_, int r_, int c0_, Arena &arena)
      : team(team_), n(n_), r(r_), c0(c0_), ldr(padded(r_)), imbalance(square(arena)),
        target(square(arena)), defect(square(arena)), norm2(arena.take(ldr)),
        moved(arena.take(ldr)) {}

  double *square(Arena &arena) const { return arena.take(static_cast<long long>(r) * ldr); }

  void start(const double *W) { imbalance_of(W, imbalance); }

  // Moves A along J A L, L symmetric, J = diag(I, -I), to where U^T U - V^T V has its first value.
  // With orthogonal columns L_ij = -D_ij / (|a_i|^2 + |a_j|^2); nearly orthogonal ones iterate.
  void restore(double *A, const double *Q) {
    if (c0 == 0)
      return;
    for (int i = 0; i < r; ++i)
      team.for_each(ldr, [&](int c) {
        T sum = splat<T>(0.0);
        for (int k = 0; k < r; ++k)
          sum += imbalance[static_cast<long long>(i) * ldr + k] *
                 read<T>(Q + static_cast<long long>(k) * ldr + c);
        write(defect + static_cast<long long>(i) * ldr + c, sum);
      });
    for (int i = 0; i < r; ++i)
      team.for_each(ldr, [&](int c) {
        T sum = splat<T>(0.0);
        for (int k = 0; k < r; ++k)
          sum += Q[static_cast<long long>(k) * ldr + i] *
                 read<T>(defect + static_cast<long long>(k) * ldr + c);
        write(target + static_cast<long long>(i) * ldr + c, sum);
      });
    double before = kInfinity;
    for (int iteration = 0; iteration < kIterations; ++iteration) {
      imbalance_of(A, defect);
      column_norms(A);
      double worst = 0;
      for (int i = 0; i < r; ++i)
        for (int j = 0; j < ldr; ++j) {
          const long long at = static_cast<long long>(i) * ldr + j;
          const double both = norm2[i] + norm2[j];
          defect[at] = j < r && both > 0 ? (target[at] - defect[at]) / both : 0.0;
          const double size = defect[at] < 0 ? -defect[at] : defect[at];
          worst = larger(worst, size);
        }
      if (!(worst < 0.95 * before) || worst < 0.5 * kEpsilon)
        break;
      before = worst;
      for (int i = 0; i < n; ++i) {
        double *row = A + static_cast<long long>(i) * ldr;
        const double sign = i < c0 ? 1.0 : -1.0;
        team.for_each(ldr, [&](int c) {
          T sum = splat<T>(0.0);
          for (int k = 0; k < r; ++k)
            sum += row[k] * read<T>(defect + static_cast<long long>(k) * ldr + c);
          write(moved + c, sum * sign);
        });
        team.for_each(ldr, [&](int c) { write(row + c, read<T>(row + c) + read<T>(moved + c)); });
      }
    }
  }

private:
  // U^T U - V^T V, (r, ldr)
  void imbalance_of(const double *A, double *out) {
    for (int a = 0; a < r; ++a) {
      double *to = out + static_cast<long long>(a) * ldr;
      team.for_each(ldr, [&](int c) {
        T sum = splat<T>(0.0);
        for (int i = 0; i < n; ++i) {
          const double *row = A + static_cast<long long>(i) * ldr;
          sum += (i < c0 ? row[a] : -row[a]) * read<T>(row + c);
        }
        write(to + c, sum);
      });
    }
  }
  void column_norms(const double *A) {
    team.for_each(ldr, [&](int c) {
      T sum = splat<T>(0.0);
      for (int i = 0; i < n; ++i) {
        const T a = read<T>(A + static_cast<long long>(i) * ldr + c);
        sum += a * a;
      }
      write(norm2 + c, sum);
    });
  }
};

KRF_END_NAMESPACE
