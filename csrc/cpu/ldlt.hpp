// Unpivoted L D L^T of symmetric positive definite, and of complex symmetric matrices whose real
// part is positive definite and imaginary part a positive multiple of the identity.
//
// Both kinds need no pivoting (for the complex one: Higham, Math. Comp. 67, 1998).  Pivots follow
// the order of the rows, which is what keeps a graded matrix accurate: its large block comes first.
#pragma once

#include "../core/base/complex.hpp"
#include "symmetric_update.hpp"

KRF_BEGIN_NAMESPACE

// On entry the lower triangle of A, of which `extent` rows count, and its diagonal in
// inverse_pivot; on exit unit L (explicit zeros up to and including the diagonal inside each block
// of eight) and the reciprocal pivots.  Returns the smallest ratio of a pivot to its diagonal
// entry: the digits lost to cancellation; not positive if A is not definite.
inline double factor_ldlt(double *A, int ld, int extent, int n, double *inverse_pivot) {
  double worst = 1.0;
  const double *panel[8];
  double weight[8];
  for (int start = 0; start < n; start += 8) {
    const int stop = start + 8 < n ? start + 8 : n;
    for (int j = start; j < stop; ++j) {
      double *column = A + static_cast<long long>(j) * ld;
      for (int k = start; k < j; ++k) {
        const double *left = A + static_cast<long long>(k) * ld;
        const double scale = left[j] * weight[k - start];
        for (int i = start; i < extent; i += kWidth)
          write<Lanes>(column + i, read<Lanes>(column + i) + scale * read<Lanes>(left + i));
      }
      const double pivot = column[j];
      const double ratio = pivot / inverse_pivot[j];
      if (!(pivot > 0.0) || !(ratio > 0.0))
        return -1.0;
      worst = smaller(worst, ratio);
      inverse_pivot[j] = 1.0 / pivot;
      for (int i = start; i < extent; i += kWidth)
        write<Lanes>(column + i, read<Lanes>(column + i) * inverse_pivot[j]);
      // The loops above run over whole blocks; rows up to the diagonal are not part of L.
      for (int i = start; i <= j; ++i)
        column[i] = 0.0;
      weight[j - start] = -pivot;
      panel[j - start] = column;
    }
    if (stop < n)
      update_symmetric(A, ld, start + 8, extent, panel, weight, stop - start);
  }
  return worst;
}
inline double factor_ldlt(double *A, int ld, int n, double *inverse_pivot) {
  for (int j = 0; j < n; ++j)
    inverse_pivot[j] = A[static_cast<long long>(j) * ld + j];
  return factor_ldlt(A, ld, ld, n, inverse_pivot);
}

// Eliminates columns begin .. end, which begin at multiples of eight, in all rows, and updates the
// columns up to `column_end`.
inline void eliminate_complex(double *Ar, double *Ai, int ld, int begin, int end, int column_end,
                              double *inverse_r, double *inverse_i) {
  double wr[8], wi[8];
  for (int start = begin; start < end; start += 8) {
    const int stop = start + 8 < end ? start + 8 : end;
    const long long base = static_cast<long long>(start) * ld;
    for (int j = start; j < stop; ++j) {
      double *cr = Ar + static_cast<long long>(j) * ld, *ci = Ai + static_cast<long long>(j) * ld;
      for (int k = start; k < j; ++k) {
        const double *lr = Ar + static_cast<long long>(k) * ld,
                     *li = Ai + static_cast<long long>(k) * ld;
        const double fr = lr[j] * wr[k - start] - li[j] * wi[k - start];
        const double fi = lr[j] * wi[k - start] + li[j] * wr[k - start];
        for (int i = start; i < ld; i += kWidth) {
          const Lanes r = read<Lanes>(lr + i), m = read<Lanes>(li + i);
          write<Lanes>(cr + i, read<Lanes>(cr + i) + (fr * r - fi * m));
          write<Lanes>(ci + i, read<Lanes>(ci + i) + (fr * m + fi * r));
        }
      }
      const double pr = cr[j], pi = ci[j];
      const Complex inverted = inverse({pr, pi});
      inverse_r[j] = inverted.r;
      inverse_i[j] = inverted.i;
      for (int i = start; i < ld; i += kWidth) {
        const Lanes r = read<Lanes>(cr + i), m = read<Lanes>(ci + i);
        write<Lanes>(cr + i, r * inverse_r[j] - m * inverse_i[j]);
        write<Lanes>(ci + i, r * inverse_i[j] + m * inverse_r[j]);
      }
      for (int i = start; i <= j; ++i)
        cr[i] = ci[i] = 0.0;
      wr[j - start] = -pr;
      wi[j - start] = -pi;
    }
    for (int row = start + 8; row < ld; row += kComplexRows * kWidth)
      update_complex_rows(Ar, Ai, ld, row, start + 8, column_end, Ar + base, Ai + base, wr, wi,
                          stop - start);
  }
}
inline void factor_complex_ldlt(double *Ar, double *Ai, int ld, int n, double *inverse_r,
                                double *inverse_i) {
  eliminate_complex(Ar, Ai, ld, 0, n, ld, inverse_r, inverse_i);
}

// b <- (L D L^T)^-1 b, in blocks of eight so that the chain of dependent operations stays short.
// These run over the padding: b must be finite there, and would keep a NaN from call to call.
inline void solve_ldlt(const double *L, int ld, int n, const double *inverse_pivot, double *b) {
  for (int i = n; i < ld; ++i)
    b[i] = 0.0;
  for (int start = 0; start < n; start += 8) {
    const double *block = L + static_cast<long long>(start) * ld;
    const int width = start + 8 < n ? 8 : n - start;
    double y[8] = {};
    for (int q = 0; q < width; ++q) {
      double sum = b[start + q];
      for (int r = 0; r < q; ++r)
        sum -= block[r * static_cast<long long>(ld) + start + q] * y[r];
      b[start + q] = y[q] = sum;
    }
    for (int i = start + 8; i < ld; i += kWidth) {
      Lanes sum = read<Lanes>(b + i);
      for (int q = 0; q < width; ++q)
        sum -= read<Lanes>(block + q * static_cast<long long>(ld) + i) * y[q];
      write<Lanes>(b + i, sum);
    }
  }
  for (int i = 0; i < n; ++i)
    b[i] *= inverse_pivot[i];
  for (int start = (n - 1) / 8 * 8; start >= 0; start -= 8) {
    const double *block = L + static_cast<long long>(start) * ld;
    const int width = start + 8 < n ? 8 : n - start;
    Lanes dot[8] = {};
    for (int i = start + 8; i < ld; i += kWidth) {
      const Lanes x = read<Lanes>(b + i);
      for (int q = 0; q < width; ++q)
        dot[q] += read<Lanes>(block + q * static_cast<long long>(ld) + i) * x;
    }
    for (int q = width - 1; q >= 0; --q) {
      double sum = b[start + q] - sum_of(dot[q]);
      const double *column = block + q * static_cast<long long>(ld) + start;
      for (int r = q + 1; r < width; ++r)
        sum -= column[r] * b[start + r];
      b[start + q] = sum;
    }
  }
}

inline void solve_complex_ldlt(const double *Lr, const double *Li, int ld, int n,
                               const double *inverse_r, const double *inverse_i, double *br,
                               double *bi) {
  for (int i = n; i < ld; ++i)
    br[i] = bi[i] = 0.0;
  for (int start = 0; start < n; start += 8) {
    const long long base = static_cast<long long>(start) * ld;
    const int width = start + 8 < n ? 8 : n - start;
    double yr[8] = {}, yi[8] = {};
    for (int q = 0; q < width; ++q) {
      double sr = br[start + q], si = bi[start + q];
      for (int r = 0; r < q; ++r) {
        const long long at = base + r * static_cast<long long>(ld) + start + q;
        sr -= Lr[at] * yr[r] - Li[at] * yi[r];
        si -= Lr[at] * yi[r] + Li[at] * yr[r];
      }
      br[start + q] = yr[q] = sr;
      bi[start + q] = yi[q] = si;
    }
    for (int i = start + 8; i < ld; i += kWidth) {
      Lanes sr = read<Lanes>(br + i), si = read<Lanes>(bi + i);
      for (int q = 0; q < width; ++q) {
        const long long at = base + q * static_cast<long long>(ld) + i;
        const Lanes r = read<Lanes>(Lr + at), m = read<Lanes>(Li + at);
        sr -= r * yr[q];
        si -= r * yi[q];
        sr += m * yi[q];
        si -= m * yr[q];
      }
      write<Lanes>(br + i, sr);
      write<Lanes>(bi + i, si);
    }
  }
  for (int i = 0; i < n; ++i) {
    const double r = br[i], m = bi[i];
    br[i] = r * inverse_r[i] - m * inverse_i[i];
    bi[i] = r * inverse_i[i] + m * inverse_r[i];
  }
  for (int start = (n - 1) / 8 * 8; start >= 0; start -= 8) {
    const long long base = static_cast<long long>(start) * ld;
    const int width = start + 8 < n ? 8 : n - start;
    Lanes dr[8] = {}, di[8] = {};
    for (int i = start + 8; i < ld; i += kWidth) {
      const Lanes xr = read<Lanes>(br + i), xi = read<Lanes>(bi + i);
      for (int q = 0; q < width; ++q) {
        const long long at = base + q * static_cast<long long>(ld) + i;
        const Lanes r = read<Lanes>(Lr + at), m = read<Lanes>(Li + at);
        dr[q] += r * xr;
        di[q] += r * xi;
        dr[q] -= m * xi;
        di[q] += m * xr;
      }
    }
    for (int q = width - 1; q >= 0; --q) {
      double sr = br[start + q] - sum_of(dr[q]), si = bi[start + q] - sum_of(di[q]);
      for (int r = q + 1; r < width; ++r) {
        const long long at = base + q * static_cast<long long>(ld) + start + r;
        sr -= Lr[at] * br[start + r] - Li[at] * bi[start + r];
        si -= Lr[at] * bi[start + r] + Li[at] * br[start + r];
      }
      br[start + q] = sr;
      bi[start + q] = si;
    }
  }
}

KRF_END_NAMESPACE
