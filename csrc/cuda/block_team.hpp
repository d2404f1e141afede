// A block of threads as a team: one run, all members in step.
//
// The interface is that of csrc/cpu/team.hpp.  Every member executes the same core code; scalars
// are equal in all of them because they come from reductions, and arrays are written one element by
// one member with a barrier after.  What a block is, a CUDA thread block or host threads that play
// one (tests/cpp), is the policy's business: rank, size, sync, warps, sum and max.  Host threads
// run the very code below, so its logic is tested where there is no device.
#pragma once

#include "../core/arena.hpp"
#include "../core/math.hpp"

KRF_BEGIN_NAMESPACE

template <class Block> class BlockTeam {
public:
  using Value = double;
  static constexpr int kWidth = 1;

  // `exchange` has room for exchange_room(size) doubles, its last one zero; `features` for
  // sweep_room(...) doubles; both are shared by the block.
  KRF_HD BlockTeam(Block block, double *exchange, double *features, const int *cancel)
      : block_(block), exchange_(exchange), features_(features), cancel_(cancel) {}

  KRF_HD static constexpr int exchange_room(int size) { return 2 * size + 1; }
  // What a sweep of K vectors needs: outputs of every feature, and partial sums.
  KRF_HD static long long sweep_room(int ld, int d, int size) {
    return 3LL * d + 3LL * ld * (size / ld + 1);
  }

  KRF_HD bool cancelled() {
    once([&] { exchange_[0] = *static_cast<const volatile int *>(cancel_); });
    const bool wanted = exchange_[0] != 0.0;
    block_.sync();
    return wanted;
  }
  KRF_HD void sync() { block_.sync(); }
  // As in csrc/cpu/team.hpp; after a barrier the same in all members.
  KRF_HD double flops() {
    block_.sync();
    return exchange_[2 * block_.size()];
  }

  KRF_HD double sum(double x) { return block_.sum(x, exchange_); }
  KRF_HD double max(double x) { return block_.max(x, exchange_); }

  template <class Body> KRF_HD void for_each(int count, Body body) {
    for (int i = block_.rank(); i < count; i += block_.size())
      body(i);
    block_.sync();
  }
  template <class Body> KRF_HD void each(int count, Body body) { for_each(count, body); }
  template <class Body> KRF_HD void for_rows(int rows, int ld, Body body) {
    for (long long e = block_.rank(); e < static_cast<long long>(rows) * ld; e += block_.size())
      body(static_cast<int>(e / ld), static_cast<int>(e % ld));
    block_.sync();
  }
  template <class Body> KRF_HD void once(Body body) {
    block_.sync(); // others may still read what it writes
    if (block_.rank() == 0)
      body();
    block_.sync();
  }

  template <class Holds> KRF_HD bool any(int count, Holds holds) {
    double found = 0;
    for (int i = block_.rank(); i < count; i += block_.size())
      if (holds(i))
        found = 1;
    return max(found) > 0;
  }

  template <class Keep> KRF_HD int collect(int count, Keep keep, int *index) {
    const int rank = block_.rank(), size = block_.size();
    const int share = (count + size - 1) / size;
    const int first = smaller_int(count, rank * share);
    const int last = smaller_int(count, first + share);
    int mine = 0;
    for (int i = first; i < last; ++i)
      mine += keep(i);
    exchange_[rank] = mine;
    block_.sync();
    int at = 0, total = 0;
    for (int r = 0; r < size; ++r) {
      const int theirs = static_cast<int>(exchange_[r]);
      at += r < rank ? theirs : 0;
      total += theirs;
    }
    for (int i = first; i < last; ++i)
      if (keep(i))
        index[at++] = i;
    block_.sync();
    return total;
  }

  template <class Weight> KRF_HD int largest(int count, Weight weight) {
    const int rank = block_.rank(), size = block_.size();
    int best = -1;
    double most = 0;
    for (int i = rank; i < count; i += size) {
      const double w = weight(i);
      if (w > most)
        best = i, most = w;
    }
    exchange_[rank] = most;
    exchange_[size + rank] = best;
    block_.sync();
    best = -1, most = 0;
    for (int r = 0; r < size; ++r) {
      const double w = exchange_[r];
      const int i = static_cast<int>(exchange_[size + r]);
      if (w > most || (w == most && i >= 0 && i < best))
        best = i, most = w;
    }
    block_.sync();
    return best;
  }

  KRF_HD double dot(const double *a, const double *b, int count) {
    spend(2.0 * count);
    double s = 0;
    for (int i = block_.rank(); i < count; i += block_.size())
      s += a[i] * b[i];
    return sum(s);
  }

  // As in csrc/cpu/team.hpp.  A warp projects as many features as it has lanes, each lane then maps
  // one; the sums over features follow in a second pass over X.
  template <int K, class Body>
  KRF_HD void sweep(const double *X, int ld, int d, const double *V, double *acc, Body body) {
    spend((acc ? 4.0 : 2.0) * K * ld * d);
    const int lanes = block_.lanes(), lane = block_.rank() % lanes;
    const int warps = block_.size() / lanes;
    for (int i0 = block_.rank() / lanes * lanes; i0 < d; i0 += warps * lanes) {
      double z[K] = {}, out[K] = {};
      for (int f = 0; f < lanes && i0 + f < d; ++f) {
        const double *x = X + static_cast<long long>(i0 + f) * ld;
        double part[K];
        for (int k = 0; k < K; ++k)
          part[k] = 0;
        for (int c = lane; c < ld; c += lanes)
          for (int k = 0; k < K; ++k)
            part[k] += x[c] * V[k * ld + c];
        for (int k = 0; k < K; ++k) {
          const double total = block_.warp_sum(part[k]);
          if (f == lane)
            z[k] = total;
        }
      }
      const int i = i0 + lane;
      if (i >= d)
        continue;
      body(i, z, out);
      if (acc)
        for (int k = 0; k < K; ++k)
          features_[k * d + i] = out[k];
    }
    block_.sync();
    if (!acc)
      return;
    // Member (c, part) adds every parts-th feature to component c.
    const int parts = larger_int(1, block_.size() / ld);
    double *partial = features_ + K * d;
    for (int e = block_.rank(); e < parts * ld; e += block_.size()) {
      const int part = e / ld, c = e % ld;
      double s[K];
      for (int k = 0; k < K; ++k)
        s[k] = 0;
      for (int i = part; i < d; i += parts) {
        const double x = X[static_cast<long long>(i) * ld + c];
        for (int k = 0; k < K; ++k)
          s[k] += x * features_[k * d + i];
      }
      for (int k = 0; k < K; ++k)
        partial[(k * parts + part) * ld + c] = s[k];
    }
    block_.sync();
    for (int e = block_.rank(); e < K * ld; e += block_.size()) {
      const int k = e / ld, c = e % ld;
      double s = 0;
      for (int part = 0; part < parts; ++part)
        s += partial[(k * parts + part) * ld + c];
      acc[e] = s;
    }
    block_.sync();
  }

  KRF_HD void reflect(double *X, int ld, int d, const double *v) {
    spend(2.0 * d * ld);
    const int lanes = block_.lanes(), lane = block_.rank() % lanes;
    for (int i = block_.rank() / lanes; i < d; i += block_.size() / lanes) {
      double *x = X + static_cast<long long>(i) * ld;
      double part = 0;
      for (int c = lane; c < ld; c += lanes)
        part += x[c] * v[c];
      const double scale = -2.0 * block_.warp_sum(part);
      for (int c = lane; c < ld; c += lanes)
        x[c] += scale * v[c];
    }
    block_.sync();
  }

  KRF_HD void add_columns(double *A, int ld, const double *X, const int *index,
                          const double *weight, int count, const double **) {
    spend(static_cast<double>(count) * ld * ld);
    block_.add_columns(A, ld, X, index, weight, count);
    block_.sync();
  }

  KRF_HD void pair_dots(int count, const double *A, const int *row, const double *B,
                        const int *column, int ld, double *out, bool add) {
    spend(2.0 * count * ld);
    for_each(count, [&](int i) {
      const double *a = A + static_cast<long long>(row[i]) * ld;
      const double *b = B + static_cast<long long>(column[i]) * ld;
      double s = add ? out[i] : 0.0;
      for (int k = 0; k < ld; ++k)
        s += a[k] * b[k];
      out[i] = s;
    });
  }

  // Columns do not mix: samples that share a row are one member's business.
  KRF_HD void subtract_pairs(int count, const double *c, double scale, const int *row,
                             const int *column, const double *W, int ld, double *out) {
    spend(4.0 * count * ld);
    for_each(ld, [&](int k) {
      for (int i = 0; i < count; ++i) {
        const double weight = scale * c[i];
        const long long a = static_cast<long long>(row[i]) * ld + k;
        const long long b = static_cast<long long>(column[i]) * ld + k;
        out[a] -= weight * W[b];
        out[b] -= weight * W[a];
      }
    });
  }

  KRF_HD void products(const double *A, int lda, int m, const double *B, int ldb, int q, int length,
                       double *out, int ldo, bool add) {
    spend(2.0 * m * q * length);
    for_rows(m, q, [&](int i, int j) {
      const double *a = A + static_cast<long long>(i) * lda;
      const double *b = B + static_cast<long long>(j) * ldb;
      double s = 0;
      for (int c = 0; c < length; ++c)
        s += a[c] * b[c];
      double *to = out + static_cast<long long>(i) * ldo + j;
      *to = add ? *to + s : s;
    });
  }

  KRF_HD void combine(const double *C, long long row_stride, long long column_stride, int m, int q,
                      const double *B, int ldb, int length, double *out, int ldo, bool add) {
    spend(2.0 * m * q * length);
    for_rows(m, length, [&](int i, int c) {
      double *to = out + static_cast<long long>(i) * ldo + c;
      double s = add ? *to : 0.0;
      for (int j = 0; j < q; ++j)
        s += C[i * row_stride + j * column_stride] * B[static_cast<long long>(j) * ldb + c];
      *to = s;
    });
  }

  // L D L^T in place, lower triangle by columns, L with unit diagonal.  Returns the smallest share
  // of a diagonal entry that the elimination left.
  KRF_HD double factor(double *A, int ld, int n, double *inverse_pivot) {
    spend(n * (n / 3.0) * n);
    double kept = 1.0;
    for_each(n, [&](int i) { inverse_pivot[i] = A[static_cast<long long>(i) * ld + i]; });
    // Column k - 1 is divided by its pivot while column k is subtracted, so that a column costs one
    // barrier.
    const auto finish = [&](int k, double inverse) {
      double *column = A + static_cast<long long>(k) * ld;
      for (int i = k + block_.rank(); i < n; i += block_.size())
        if (i == k)
          inverse_pivot[k] = inverse;
        else
          column[i] *= inverse;
    };
    double last = 0;
    for (int k = 0; k < n; ++k) {
      const double *column = A + static_cast<long long>(k) * ld;
      const double pivot = column[k], before = inverse_pivot[k];
      const double share = pivot / before;
      if (!(pivot > 0.0) || !(share > 0.0)) {
        block_.sync(); // others may still read what comes next
        return -1.0;
      }
      kept = share < kept ? share : kept;
      const double inverse = 1.0 / pivot;
      if (k > 0)
        finish(k - 1, last);
      for_rows(n - k - 1, n - k - 1, [&](int j, int i) {
        if (i >= j) {
          const int row = k + 1 + i, at = k + 1 + j;
          A[static_cast<long long>(at) * ld + row] -= column[row] * (column[at] * inverse);
        }
      });
      last = inverse;
    }
    finish(n - 1, last);
    block_.sync();
    return kept;
  }

  KRF_HD void solve(const double *L, int ld, int n, const double *inverse_pivot, double *b) {
    spend(2.0 * n * n);
    for (int k = 0; k < n; ++k) {
      const double *column = L + static_cast<long long>(k) * ld;
      const double top = b[k];
      each(n - k - 1, [&](int i) { b[k + 1 + i] -= column[k + 1 + i] * top; });
    }
    each(n, [&](int i) { b[i] *= inverse_pivot[i]; });
    // Row k of L, which strides through memory, and not a column with the barriers of a sum.
    for (int k = n - 1; k > 0; --k) {
      const double known = b[k];
      each(k, [&](int i) { b[i] -= L[static_cast<long long>(i) * ld + k] * known; });
    }
  }

  // The same for a complex symmetric matrix in two planes.
  KRF_HD void factor(double *Ar, double *Ai, int ld, int n, double *inverse_r, double *inverse_i) {
    spend(n * (4.0 / 3.0 * n) * n);
    const auto finish = [&](int k, double ir, double ii) {
      double *cr = Ar + static_cast<long long>(k) * ld, *ci = Ai + static_cast<long long>(k) * ld;
      for (int i = k + block_.rank(); i < n; i += block_.size()) {
        if (i == k) {
          inverse_r[k] = ir, inverse_i[k] = ii;
          continue;
        }
        const double r = cr[i], m = ci[i];
        cr[i] = r * ir - m * ii;
        ci[i] = r * ii + m * ir;
      }
    };
    double last_r = 0, last_i = 0;
    for (int k = 0; k < n; ++k) {
      const double *cr = Ar + static_cast<long long>(k) * ld;
      const double *ci = Ai + static_cast<long long>(k) * ld;
      const double pr = cr[k], pi = ci[k], size = pr * pr + pi * pi;
      const double ir = pr / size, ii = -pi / size;
      if (k > 0)
        finish(k - 1, last_r, last_i);
      for_rows(n - k - 1, n - k - 1, [&](int j, int i) {
        if (i < j)
          return;
        const int row = k + 1 + i, at = k + 1 + j;
        const double sr = cr[at] * ir - ci[at] * ii, si = cr[at] * ii + ci[at] * ir;
        const long long e = static_cast<long long>(at) * ld + row;
        Ar[e] -= cr[row] * sr - ci[row] * si;
        Ai[e] -= cr[row] * si + ci[row] * sr;
      });
      last_r = ir, last_i = ii;
    }
    finish(n - 1, last_r, last_i);
    block_.sync();
  }

  KRF_HD void solve(const double *Lr, const double *Li, int ld, int n, const double *inverse_r,
                    const double *inverse_i, double *br, double *bi) {
    spend(8.0 * n * n);
    for (int k = 0; k < n; ++k) {
      const double *cr = Lr + static_cast<long long>(k) * ld;
      const double *ci = Li + static_cast<long long>(k) * ld;
      const double tr = br[k], ti = bi[k];
      each(n - k - 1, [&](int i) {
        const int row = k + 1 + i;
        br[row] -= cr[row] * tr - ci[row] * ti;
        bi[row] -= cr[row] * ti + ci[row] * tr;
      });
    }
    each(n, [&](int i) {
      const double r = br[i], m = bi[i];
      br[i] = r * inverse_r[i] - m * inverse_i[i];
      bi[i] = r * inverse_i[i] + m * inverse_r[i];
    });
    for (int k = n - 1; k > 0; --k) {
      const double tr = br[k], ti = bi[k];
      each(k, [&](int i) {
        const long long at = static_cast<long long>(i) * ld + k;
        br[i] -= Lr[at] * tr - Li[at] * ti;
        bi[i] -= Lr[at] * ti + Li[at] * tr;
      });
    }
  }

private:
  KRF_HD void spend(double flops) {
    if (block_.rank() == 0)
      exchange_[2 * block_.size()] += flops;
  }
  KRF_HD static int smaller_int(int a, int b) { return a < b ? a : b; }
  KRF_HD static int larger_int(int a, int b) { return a > b ? a : b; }

  Block block_;
  double *exchange_, *features_;
  const int *cancel_;
};

KRF_END_NAMESPACE
