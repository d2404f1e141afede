// The CPU team: one thread with vector registers, and threads that help with large operations.
//
// The operations, and what they promise, are those of core/team.hpp.  One thread executes a run and
// hands out pieces of what is large (pieces.hpp); the order of all sums is that of the sizes alone,
// so that a run has the same bits whoever helps.
#pragma once

#include "../core/team.hpp"
#include "lapack.hpp"
#include "large_matrices.hpp"
#include "ldlt.hpp"
#include "products.hpp"
#include "symmetric_inverse.hpp"

KRF_BEGIN_NAMESPACE

class CpuTeam {
public:
  using Value = Lanes;
  static constexpr int kWidth = KRF_LANES;

  explicit CpuTeam(const int *cancel, cpu::Helpers helpers = {}) : pieces_(cancel, helpers) {}
  bool cancelled() const { return pieces_.cancelled(); }
  // Multiplications and additions of the dense algebra so far, padding included.
  double flops() const { return flops_; }

  static double sum(Lanes x) { return sum_of(x); }
  static double max(Lanes x) { return max_of(x); }
  // Over the lanes: S sums, then M maxima.
  template <int S, int M> static void reduce(const Lanes *x, double *out) {
    for (int e = 0; e < S + M; ++e)
      out[e] = e < S ? sum_of(x[e]) : max_of(x[e]);
  }

  // body(i) handles elements i .. i + kWidth - 1; count must be a multiple of eight.
  template <class Body> static void for_each(int count, Body body) {
    for (int i = 0; i < count; i += kWidth)
      body(i);
  }

  double dot(const double *a, const double *b, int length) {
    spend(2.0 * length);
    Lanes s = {};
    for (int i = 0; i < length; i += kWidth)
      s += read<Lanes>(a + i) * read<Lanes>(b + i);
    return sum_of(s);
  }

  // For every feature i and k < K: z[k] = x_i . V_k, then body(i, z, out, sums); if acc is given,
  // acc_k = sum_i out[k] x_i.  V and acc are K vectors of length ld; without V, z is zero.
  template <int K, class Sums, class Body>
  void map_features(const double *X, int ld, int d, const double *V, double *acc, Sums &sums,
                    const Body &body) {
    spend(((acc ? 2.0 : 0.0) + (V ? 2.0 : 0.0)) * K * ld * d);
    const int length = features_in_piece(ld, d);
    if (length >= d)
      return pass<K>(X, ld, 0, d, V, acc, sums, body);
    const int count = (d + length - 1) / length;
    const std::size_t kept = acc ? static_cast<std::size_t>(K) * ld : 0;
    constexpr std::size_t kSums = (sizeof(Sums) + 63) / 64 * 8; // doubles, whole cache lines
    double *memory = cpu::thread_memory(count * (kSums + kept)), *partial = memory + count * kSums;
    const auto sums_of_piece = [&](int piece) {
      return reinterpret_cast<Sums *>(memory + piece * kSums);
    };
    pieces_.run_ranges(d, length, [&](int first, int last) {
      const int piece = first / length;
      Sums own{};
      // Of a run that was cancelled nothing but an end is wanted.
      const int end = cancelled() ? first : last;
      pass<K>(X, ld, first, end, V, acc ? partial + piece * kept : nullptr, own, body);
      *sums_of_piece(piece) = own;
    });
    for (int piece = 0; piece < count; ++piece)
      sums.join(*sums_of_piece(piece));
    for (int c = 0; acc && c < K * ld; c += kWidth) {
      Lanes total = read<Lanes>(partial + c);
      for (int piece = 1; piece < count; ++piece)
        total += read<Lanes>(partial + piece * kept + c);
      write<Lanes>(acc + c, total);
    }
  }

  // body(row, i) handles elements i .. i + kWidth - 1 of a row of ld.
  template <class Body> static void for_rows(int rows, int ld, Body body) {
    for (int row = 0; row < rows; ++row)
      for (int i = 0; i < ld; i += kWidth)
        body(row, i);
  }
  // body(i) handles one element.
  template <class Body> static void each(int count, Body body) {
    for (int i = 0; i < count; ++i)
      body(i);
  }
  // One member does it.
  template <class Body> static void once(Body body) { body(); }
  // Elements written so far are seen by all members.
  static void sync() {}

  template <class Holds> static bool any(int count, Holds holds) {
    for (int i = 0; i < count; ++i)
      if (holds(i))
        return true;
    return false;
  }
  // The i with keep(i), ascending, into index; returns how many.
  template <class Keep> static int collect(int count, Keep keep, int *index) {
    int found = 0;
    for (int i = 0; i < count; ++i)
      if (keep(i))
        index[found++] = i;
    return found;
  }
  // The first i with the largest positive weight, -1 if there is none.
  template <class Weight> static int largest(int count, Weight weight) {
    int best = -1;
    double most = 0;
    for (int i = 0; i < count; ++i) {
      const double w = weight(i);
      if (w > most)
        best = i, most = w;
    }
    return best;
  }

  // out_i (+)= A_row[i] . B_column[i], rows of ld.
  void pair_dots(int count, const double *A, const int *row, const double *B, const int *column,
                 int ld, double *out, bool add) {
    for (int i = 0; i < count; ++i) {
      const double value = dot(A + static_cast<long long>(row[i]) * ld,
                               B + static_cast<long long>(column[i]) * ld, ld);
      out[i] = add ? out[i] + value : value;
    }
  }

  // For every pair i: out_row -= scale c_i W_column and out_column -= scale c_i W_row, rows of ld.
  void subtract_pairs(int count, const double *c, double scale, const int *row, const int *column,
                      const double *W, int ld, double *out) {
    spend(4.0 * count * ld);
    for (int i = 0; i < count; ++i) {
      const double weight = scale * c[i];
      const double *wa = W + static_cast<long long>(row[i]) * ld;
      const double *wb = W + static_cast<long long>(column[i]) * ld;
      double *a = out + static_cast<long long>(row[i]) * ld,
             *b = out + static_cast<long long>(column[i]) * ld;
      for (int k = 0; k < ld; k += kWidth)
        write<Lanes>(a + k, read<Lanes>(a + k) - weight * read<Lanes>(wb + k));
      for (int k = 0; k < ld; k += kWidth)
        write<Lanes>(b + k, read<Lanes>(b + k) - weight * read<Lanes>(wa + k));
    }
  }

  // out[i][j] (+)= A_i . B_j for the m rows of A (lda apart) and the q rows of B; `length`, a
  // multiple of eight, elements count.
  void products(const double *A, int lda, int m, const double *B, int ldb, int q, int length,
                double *out, int ldo, bool add) {
    spend(2.0 * m * q * length);
    for_rows_of_product(m, q, length, [&](int i, auto rows) {
      products_with_rows<rows.value>(A + static_cast<long long>(i) * lda, lda, B, ldb, q, length,
                                     out + static_cast<long long>(i) * ldo, ldo, add);
    });
  }

  // out_i (+)= sum_j C[i row_stride + j column_stride] B_j for i < m: combinations of the q rows of
  // B, of which `length`, a multiple of eight, elements count.
  void combine(const double *C, long long row_stride, long long column_stride, int m, int q,
               const double *B, int ldb, int length, double *out, int ldo, bool add) {
    spend(2.0 * m * q * length);
    for_rows_of_product(m, q, length, [&](int i, auto rows) {
      combine_rows<rows.value>(C + i * row_stride, row_stride, column_stride, q, B, ldb, length,
                               out + static_cast<long long>(i) * ldo, ldo, add);
    });
  }

  // x_i <- x_i - 2 (v . x_i) v for every feature.
  void reflect(double *X, int ld, int d, const double *v) {
    spend(2.0 * d * ld);
    NoSums none;
    map_features<1>(X, ld, d, v, nullptr, none, [&](int i, const Lanes *z, Lanes *, NoSums &) {
      for (int f = 0; f < kWidth; ++f) {
        double *x = X + static_cast<long long>(i + f) * ld;
        const double scale = -2.0 * z[0][f];
        for (int c = 0; c < ld; c += kWidth)
          write<Lanes>(x + c, read<Lanes>(x + c) + scale * read<Lanes>(v + c));
      }
    });
  }

  // A += sum_k weight_k x_{column_k} x_{column_k}^T; `columns` is scratch for count pointers.
  void add_columns(double *A, int ld, const double *X, const int *index, const double *weight,
                   int count, const double **columns) {
    spend(static_cast<double>(count) * ld * ld);
    for (int k = 0; k < count; ++k)
      columns[k] = X + static_cast<long long>(index[k]) * ld;
    if (ld < cpu::kLargeOrder)
      update_symmetric(A, ld, 0, ld, columns, weight, count);
    else
      update_symmetric_in_pieces(pieces_, A, ld, 0, columns, weight, count);
  }

  // A <- A^-1, lower triangle by columns, for `multiply_symmetric` alone.  Returns what `factor`
  // does.
  static long long inverse_room(int ld) {
    return ld < cpu::kLargeOrder ? krf::inverse_room(ld) : large_inverse_room(ld);
  }
  double invert(double *A, int ld, int n, double *scratch) {
    spend(static_cast<double>(n) * n * n);
    return ld < cpu::kLargeOrder ? invert_symmetric(A, ld, n, scratch)
                                 : invert_large(pieces_, A, ld, n, scratch);
  }
  // out_k = A x_k for K vectors, ld apart; of A the lower triangle by columns.
  template <int K> void multiply_symmetric(const double *A, int ld, const double *x, double *out) {
    spend(2.0 * K * ld * ld);
    if (ld < cpu::kLargeOrder)
      krf::multiply_symmetric<K>(A, ld, 0, ld, x, out);
    else
      multiply_symmetric_large<K>(pieces_, A, ld, x, out);
  }

  // Eigenvalues of symmetric A, and its eigenvectors in place of its columns, for those n of which
  // `has_library_for` says so; false where there is no convergence, as from what is not finite.
  static bool has_library_for(int n) {
    return n >= cpu::kLapackOrder && n <= cpu::kMostOfLapack && cpu::has_lapack();
  }
  bool decompose(double *A, int ld, int n, double *value) {
    spend(9.0 * n * n * n); // of the textbooks
    for (int i = 0; i < n; ++i) {
      const double norm2 =
          dot(A + static_cast<long long>(i) * ld, A + static_cast<long long>(i) * ld, ld);
      if (!(norm2 - norm2 == 0.0))
        return false;
    }
    return cpu::decompose_by_lapack(A, ld, n, value);
  }

  double factor(double *A, int ld, int n, double *inverse_pivot) {
    spend(n * (n / 3.0) * n);
    return ld < cpu::kLargeOrder ? factor_ldlt(A, ld, n, inverse_pivot)
                                 : factor_large(pieces_, A, ld, n, inverse_pivot);
  }
  void factor(double *Ar, double *Ai, int ld, int n, double *inverse_r, double *inverse_i) {
    spend(n * (4.0 / 3.0 * n) * n);
    if (ld < cpu::kLargeOrder)
      factor_complex_ldlt(Ar, Ai, ld, n, inverse_r, inverse_i);
    else
      factor_complex_large(pieces_, Ar, Ai, ld, n, inverse_r, inverse_i);
  }
  void solve(const double *L, int ld, int n, const double *inverse_pivot, double *b) {
    spend(2.0 * n * n);
    solve_ldlt(L, ld, n, inverse_pivot, b);
  }
  void solve(const double *Lr, const double *Li, int ld, int n, const double *inverse_r,
             const double *inverse_i, double *br, double *bi) {
    spend(8.0 * n * n);
    solve_complex_ldlt(Lr, Li, ld, n, inverse_r, inverse_i, br, bi);
  }

private:
  // map_features over features first .. last.
  template <int K, class Sums, class Body>
  static void pass(const double *X, int ld, int first, int last, const double *V, double *acc,
                   Sums &sums, Body body) {
    Sums own = sums; // in registers
    if (acc)
      for (int c = 0; c < K * ld; c += kWidth)
        write<Lanes>(acc + c, Lanes{});
    for (int i = first; i < last; i += kWidth) {
      const double *x = X + static_cast<long long>(i) * ld;
      // Prefetches the features ahead. Those read here are still in the first cache when they are
      // read again below.
      const double *ahead = x + static_cast<long long>(kWidth) * ld;
      constexpr int kLines = kWidth * kWidth >= 8 ? kWidth * kWidth / 8 : 1;
      Lanes dot[K][kWidth] = {};
      for (int c = 0; V && c < ld; c += kWidth) {
#pragma GCC unroll 8
        for (int line = 0; line < kLines; ++line)
          __builtin_prefetch(ahead + c * kWidth + 8 * line);
        Lanes v[K];
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
          v[k] = read<Lanes>(V + k * ld + c);
#pragma GCC unroll 8
        for (int f = 0; f < kWidth; ++f) {
          Lanes xf = read<Lanes>(x + static_cast<long long>(f) * ld + c);
          if (K > 1)
            keep_in_register(xf);
#pragma GCC unroll 4
          for (int k = 0; k < K; ++k)
            dot[k][f] += xf * v[k];
        }
      }
      Lanes z[K], out[K] = {};
#pragma GCC unroll 4
      for (int k = 0; k < K; ++k)
        z[k] = sums_of(dot[k]);
      body(i, z, out, own);
      if (!acc)
        continue;
      for (int c = 0; c < ld; c += kWidth) {
        Lanes a[K];
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
          a[k] = read<Lanes>(acc + k * ld + c);
#pragma GCC unroll 8
        for (int f = 0; f < kWidth; ++f) {
          Lanes xf = read<Lanes>(x + static_cast<long long>(f) * ld + c);
          if (K > 1)
            keep_in_register(xf);
#pragma GCC unroll 4
          for (int k = 0; k < K; ++k)
            a[k] += xf * out[k][f];
        }
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
          write<Lanes>(acc + k * ld + c, a[k]);
      }
    }
    sums = own;
  }
  // A piece is a megabyte of X, or more where there would be more than kMostPieces.
  static int features_in_piece(int ld, int d) {
    constexpr int kDoubles = 1 << 17, kMostPieces = 64;
    const int least = padded(kDoubles / ld + 1),
              fewest = padded((d + kMostPieces - 1) / kMostPieces);
    return least > fewest ? least : fewest;
  }

  template <int I> struct RowsTogether {
    static constexpr int value = I;
  };
  // act(i, RowsTogether) for the m rows i of a product, four together and then one by one, in
  // pieces of at least a million multiplications that begin at multiples of four.
  template <class Act> void for_rows_of_product(int m, int q, int length, const Act &act) const {
    const double wanted = 1e6 / (static_cast<double>(q) * length + 1.0);
    const int rows = wanted < m ? (static_cast<int>(wanted) + 4) / 4 * 4 : m + 1;
    const auto act_on = [&](int first, int last) __attribute__((always_inline)) {
      int i = first;
      for (; i + 4 <= last; i += 4)
        act(i, RowsTogether<4>{});
      for (; i < last; ++i)
        act(i, RowsTogether<1>{});
    };
    if (rows >= m) // inlined: most products are small
      act_on(0, m);
    else
      pieces_.run_ranges(m, rows, act_on);
  }

  void spend(double flops) { flops_ += flops; }

  Pieces pieces_;
  double flops_ = 0;
};
static_assert(Team<CpuTeam>);

KRF_END_NAMESPACE
