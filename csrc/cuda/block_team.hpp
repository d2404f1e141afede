// A block of threads as a team: one run, all members in step.
//
// The operations, and what they promise, are those of core/team.hpp; each ends with a barrier. The
// policy Block is a CUDA thread block, a cluster of them, or host threads that stand for one
// (tests/cpp). It supplies rank, size and sync; warps of kWarp members with sum, max and count; and
// the members' share of a small matrix product (tiles.hpp). Host threads run this same code, so its
// logic is tested without a device.
#pragma once

#include "../core/team.hpp"
#include "block_ldlt.hpp"

KRF_BEGIN_NAMESPACE

template <class Block_> class BlockTeam {
public:
  using Block = Block_;
  using Value = double;
  static constexpr int kWidth = 1, kPollEvery = 16;
  static constexpr int kReduced = 7; // sums and maxima at once

  // `exchange` has room for exchange_room(size) doubles and `features` for features_room(...), both
  // seen by all members; `tile`, of tile_room(), is the first warp's own and fast.
  KRF_HD BlockTeam(Block block, double *exchange, double *tile, double *features, const int *cancel)
      : block_(block), exchange_(exchange), tile_(tile), features_(features), cancel_(cancel) {}

  // kReduced numbers a warp and three more; a warp may be one member.
  KRF_HD static constexpr int exchange_room(int size) {
    return kReduced * (size / Block::kWarp) + 3;
  }
  KRF_HD static constexpr int tile_room() { return ldlt::kTileRoom; }
  // What map_features with K vectors needs: outputs of every feature, and a sum a warp.
  KRF_HD static long long features_room(int ld, int d, int size) {
    return 3LL * d + 3LL * ld * (size / Block::kWarp);
  }
  // Before the first run and each that follows; no operations yet.
  KRF_HD void begin() {
    unasked_ = 0;
    once([&] { *spent() = 0.0; });
  }

  // The value that one member reads, in all members.
  template <class Read> KRF_HD long long agree(Read read) {
    once([&] { *agreed() = static_cast<double>(read()); });
    return static_cast<long long>(*agreed());
  }
  // Reads the host's cancellation word at the first call of a run and at every kPollEvery-th call
  // after it, because a read crosses the bus.
  KRF_HD bool cancelled() {
    if (unasked_ > 0) {
      --unasked_;
      return false;
    }
    const bool wanted = agree([&] { return *static_cast<const volatile int *>(cancel_); }) != 0;
    unasked_ = wanted ? 0 : kPollEvery - 1;
    return wanted;
  }
  KRF_HD void sync() { block_.sync(); }
  // The same in all members.
  KRF_HD double flops() {
    block_.sync();
    const double all = *spent();
    block_.sync(); // before a member spends more
    return all;
  }

  KRF_HD double sum(double x) { return block_.sum(x, exchange_); }
  KRF_HD double max(double x) { return block_.max(x, exchange_); }
  // One exchange for all S + M numbers.
  template <int S, int M> KRF_HD void reduce(const double *x, double *out) {
    static_assert(S + M <= kReduced);
    const int warps = block_.warps();
    for (int e = 0; e < S + M; ++e) {
      const double part = e < S ? block_.warp_sum(x[e]) : block_.warp_max(x[e]);
      if (block_.lane() == 0)
        exchange_[e * warps + block_.warp()] = part;
    }
    block_.sync();
    for (int e = 0; e < S + M; ++e) {
      const double *part = exchange_ + e * warps;
      double all = part[0];
      for (int w = 1; w < warps; ++w)
        all = e < S ? all + part[w] : larger(all, part[w]);
      out[e] = all;
    }
    block_.sync();
  }

  template <class Body> KRF_HD void for_each(int count, Body body) {
    for (int i = block_.rank(); i < count; i += block_.size())
      body(i);
    block_.sync();
  }
  template <class Body> KRF_HD void each(int count, Body body) { for_each(count, body); }
  template <class Body> KRF_HD void for_rows(int rows, int ld, Body body) {
    const int size = block_.size(), down = size / ld, right = size % ld;
    int row = block_.rank() / ld, i = block_.rank() % ld;
    while (row < rows) { // a division per element would cost more than most bodies
      body(row, i);
      row += down, i += right;
      if (i >= ld)
        ++row, i -= ld;
    }
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
    const int warp = block_.warp(), warps = block_.warps();
    const int share = (count + warps - 1) / warps;
    const int first = at_most(count, warp * share), last = at_most(count, first + share);
    int mine = 0, before = 0;
    for (int i0 = first; i0 < last; i0 += Block::kWarp)
      mine += block_.warp_count(i0 + block_.lane() < last && keep(i0 + block_.lane()), before);
    if (block_.lane() == 0)
      exchange_[warp] = mine;
    block_.sync();
    int at = 0, total = 0;
    for (int w = 0; w < warps; ++w) {
      const int theirs = static_cast<int>(exchange_[w]);
      at += w < warp ? theirs : 0;
      total += theirs;
    }
    for (int i0 = first; i0 < last; i0 += Block::kWarp) {
      const int i = i0 + block_.lane();
      const bool kept = i < last && keep(i);
      const int found = block_.warp_count(kept, before);
      if (kept)
        index[at + before] = i;
      at += found;
    }
    block_.sync();
    return total;
  }

  template <class Weight> KRF_HD int largest(int count, Weight weight) {
    const int warps = block_.warps();
    int best = -1;
    double most = 0;
    for (int i = block_.rank(); i < count; i += block_.size()) {
      const double w = weight(i);
      if (w > most)
        best = i, most = w;
    }
    const double top = block_.warp_max(most);
    // The first of equal weights; minus infinity where no weight is positive.
    const double first = block_.warp_max(best >= 0 && most == top ? -best : -kInfinity);
    if (block_.lane() == 0)
      exchange_[block_.warp()] = top, exchange_[warps + block_.warp()] = first;
    block_.sync();
    double place = -kInfinity;
    most = 0;
    for (int w = 0; w < warps; ++w) {
      const double theirs = exchange_[w], where = exchange_[warps + w];
      if (theirs > most || (theirs == most && where > place))
        place = where, most = theirs;
    }
    block_.sync();
    return most > 0 ? static_cast<int>(-place) : -1;
  }

  KRF_HD double dot(const double *a, const double *b, int count) {
    spend(2.0 * count);
    double s = 0;
    for (int i = block_.rank(); i < count; i += block_.size())
      s += a[i] * b[i];
    return sum(s);
  }

  // A warp takes 32 features at a time. It projects them on the tensor cores, maps one per lane,
  // and adds them to its own sums while they are still in the first cache.
  template <int K, class Sums, class Body>
  KRF_HD void map_features(const double *X, int ld, int d, const double *V, double *acc, Sums &sums,
                           Body body) {
    static_assert(K <= 8, "the columns of one tile");
    spend(((acc ? 2.0 : 0.0) + (V ? 2.0 : 0.0)) * K * ld * d);
    constexpr int kChunk = 32;
    const int warp = block_.warp(), warps = block_.warps();
    double *partial = features_ + static_cast<long long>(K) * d;
    double *mine = partial + static_cast<long long>(K) * ld * warp;
    for (int i0 = kChunk * warp; i0 < d; i0 += kChunk * warps) {
      const double *x = X + static_cast<long long>(i0) * ld;
      const int features = at_most(kChunk, d - i0);
      if (V)
        project<K>(block_, x, ld, features, V, features_ + i0, d);
      block_.warp_sync();
      for (int i = i0 + block_.lane(); i < i0 + features; i += Block::kWarp) {
        double z[K], out[K] = {};
        KRF_UNROLL(8)
        for (int k = 0; k < K; ++k)
          z[k] = V ? features_[static_cast<long long>(k) * d + i] : 0.0;
        body(i, z, out, sums);
        KRF_UNROLL(8)
        for (int k = 0; k < K; ++k)
          features_[static_cast<long long>(k) * d + i] = out[k];
      }
      block_.warp_sync();
      if (acc)
        accumulate<K>(block_, x, ld, features, features_ + i0, d, mine, i0 >= kChunk * warps);
    }
    block_.sync();
    if (!acc)
      return;
    const int used = at_most(warps, (d + kChunk - 1) / kChunk);
    for (int e = block_.rank(); e < K * ld; e += block_.size()) {
      double s = 0;
      for (int w = 0; w < used; ++w)
        s += partial[static_cast<long long>(K) * ld * w + e];
      acc[e] = s;
    }
    block_.sync();
  }

  KRF_HD void reflect(double *X, int ld, int d, const double *v) {
    spend(2.0 * d * ld);
    const int lane = block_.lane(), lanes = Block::kWarp;
    for (int i = block_.warp(); i < d; i += block_.warps()) {
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
    krf::add_columns(block_, A, ld, X, index, weight, count);
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

  // Columns do not mix, so one member handles a column for all samples, also for those that share a
  // row.
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
    multiply_strided(block_, A, lda, 1, m, B, ldb, 1, q, length, out, ldo, add);
    block_.sync();
  }

  KRF_HD void combine(const double *C, long long row_stride, long long column_stride, int m, int q,
                      const double *B, int ldb, int length, double *out, int ldo, bool add) {
    spend(2.0 * m * q * length);
    multiply_strided(block_, C, row_stride, column_stride, m, B, 1, ldb, length, q, out, ldo, add);
    block_.sync();
  }

  // One pivot at a time, with two barriers each.
  KRF_HD static long long inverse_room(int ld) { return 2LL * ld; }
  KRF_HD KRF_APART double invert(double *A, int ld, int n, double *scratch) {
    spend(static_cast<double>(n) * n * n);
    double *diagonal = scratch, *pivots = scratch + ld, worst = 1.0;
    each(n, [&](int i) { diagonal[i] = A[static_cast<long long>(i) * ld + i]; });
    for (int k = 0; k < n; ++k) {
      const double *column = A + static_cast<long long>(k) * ld;
      each(n,
           [&](int i) { pivots[i] = i < k ? A[static_cast<long long>(i) * ld + k] : column[i]; });
      const double pivot = pivots[k], ratio = pivot / diagonal[k];
      if (!(pivot > 0.0) || !(ratio > 0.0))
        return -1.0;
      worst = smaller(worst, ratio);
      const double scale = 1.0 / pivot;
      for_rows(n, ld, [&](int j, int i) {
        if (i < j || i >= n)
          return;
        double *a = A + static_cast<long long>(j) * ld + i;
        if (i == k || j == k)
          *a = i == j ? -scale : scale * pivots[i == k ? j : i];
        else
          *a -= scale * pivots[i] * pivots[j];
      });
    }
    each(ld * ld, [&](int e) { A[e] = -A[e]; });
    return worst;
  }
  template <int K>
  KRF_HD void multiply_symmetric(const double *A, int ld, const double *x, double *out) {
    spend(2.0 * K * ld * ld);
    krf::multiply_lower<K>(block_, A, ld, x, out);
    block_.sync();
  }

  // L D L^T in place, lower triangle by columns, for `solve` alone (block_ldlt.hpp).  Returns the
  // smallest share of a diagonal entry that the elimination left.
  KRF_HD double factor(double *A, int ld, int n, double *inverse_pivot) {
    spend(n * (n / 3.0) * n);
    return ldlt::factor(block_, tile_, kept(), Plane<double>{A}, ld, n,
                        Plane<double>{inverse_pivot});
  }
  KRF_HD void solve(const double *L, int ld, int n, const double *inverse_pivot, double *b) {
    spend(2.0 * n * n);
    ldlt::solve(block_, Plane<const double>{L}, ld, n, Plane<const double>{inverse_pivot},
                Plane<double>{b});
  }

  // The same for a complex symmetric matrix in two planes.
  KRF_HD void factor(double *Ar, double *Ai, int ld, int n, double *inverse_r, double *inverse_i) {
    spend(n * (4.0 / 3.0 * n) * n);
    ldlt::factor(block_, tile_, kept(), Plane<Complex>{Ar, Ai}, ld, n,
                 Plane<Complex>{inverse_r, inverse_i});
  }
  KRF_HD void solve(const double *Lr, const double *Li, int ld, int n, const double *inverse_r,
                    const double *inverse_i, double *br, double *bi) {
    spend(8.0 * n * n);
    ldlt::solve(block_, Plane<const Complex>{Lr, Li}, ld, n,
                Plane<const Complex>{inverse_r, inverse_i}, Plane<Complex>{br, bi});
  }

private:
  KRF_HD void spend(double flops) {
    if (block_.rank() == 0)
      *spent() += flops;
  }
  KRF_HD double *spent() { return exchange_ + kReduced * block_.warps(); }
  KRF_HD double *kept() { return spent() + 1; }
  KRF_HD double *agreed() { return spent() + 2; }

  Block block_;
  double *exchange_, *tile_, *features_;
  const int *cancel_;
  int unasked_ = 0; // calls of `cancelled` left that do not read
};

KRF_END_NAMESPACE
