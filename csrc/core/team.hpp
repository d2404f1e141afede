// A team: what executes one run.  The members of a team (one thread; the threads of a block, of a
// warp or of a cluster; host threads) call the same core code in step, and hand each other the work
// on arrays through the operations below.
//
// The contract.
//  - Every member executes every operation, in the same order, with the same arguments.
//  - Scalars are equal in all members: they are results of reductions, or computed from such.
//  - Inside the body of for_each, each, for_rows and map_features, an element of an array is
//    written by the member that is called for it, and by no other; members that write anything else
//    race.  What is written there is seen by all members when the operation returns.
//  - A plain loop over an array may read it.  Before one that ends in a scalar lets the array be
//    written again, call sync().
//  - Once the run is cancelled results are arbitrary; loops must end all the same.
//  - Sums have a fixed order for a given team size, so that results do not depend on timing.
//
// Value is a register of kWidth doubles.  Arrays that operations visit a Value at a time are padded
// to kPadding doubles, and begin where the arena lets them; matrices are stored by columns, padded
// too.  K vectors lie one after the other.
#pragma once

#include "base/elementary.hpp"
#include "base/views.hpp"

KRF_BEGIN_NAMESPACE

// What a pass over the features sums: S sums, then M maxima, each a Value, as team.reduce takes
// them.  A member may take them in parts, and joins the parts.  Maxima are of numbers that are not
// negative, and lose a NaN, which sums keep.
template <class Value, int S, int M> struct PassSums {
  Value parts[S + M] = {};

  KRF_HD void join(const PassSums &other) {
    for (int e = 0; e < S + M; ++e)
      parts[e] = e < S ? parts[e] + other.parts[e] : greater_of(parts[e], other.parts[e]);
  }
};
struct NoSums {
  KRF_HD void join(const NoSums &) {}
};

// What operations are called with, so that the concept can name their parameters.
namespace archetype {
struct Element { // for_each, each
  KRF_HD void operator()(int) const {}
};
struct RowElement { // for_rows
  KRF_HD void operator()(int, int) const {}
};
struct Once {
  KRF_HD void operator()() const {}
};
struct Holds { // any, collect
  KRF_HD bool operator()(int) const { return false; }
};
struct Weight { // largest
  KRF_HD double operator()(int) const { return 0.0; }
};
template <class Value> struct Feature { // map_features
  KRF_HD void operator()(int, const Value *, Value *, NoSums &) const {}
};
} // namespace archetype

template <class T>
concept HasValue = requires(T a, double x, const double *from, double *to) {
  { splat<T>(x) };
  { read<T>(from) };
  write<T>(to, a);
  a = a + a * a - a / a;
  { greater_of(a, lesser_of(a, absolute(a))) };
};

// Whether the run is unwanted, how many additions and multiplications of dense algebra it took,
// and a barrier.
template <class TeamT>
concept RunsInStep = requires(TeamT team) {
  { team.cancelled() };
  { team.flops() };
  team.sync();
};

// sum, max: over the members and their lanes.  reduce<S, M>: S sums and M maxima in one exchange.
// dot: a . b.
template <class TeamT>
concept Reduces = requires(TeamT team, typename TeamT::Value x, const typename TeamT::Value *xs,
                           const double *a, double *out, int n) {
  { team.sum(x) };
  { team.max(x) };
  { team.dot(a, a, n) };
  team.template reduce<2, 1>(xs, out);
};

// for_each(count, body): body(i) handles elements i .. i + kWidth - 1, count is padded.
// for_rows(rows, ld, body): body(row, i), the same in every row of ld.
// each(count, body): body(i) handles element i.      once(body): one member calls it.
// any(count, holds); collect(count, keep, index): the i with keep(i), ascending, and their number;
// largest(count, weight): the first i with the largest positive weight, -1 where there is none.
template <class TeamT>
concept VisitsElements = requires(TeamT team, int n, int *index) {
  team.for_each(n, archetype::Element{});
  team.for_rows(n, n, archetype::RowElement{});
  team.each(n, archetype::Element{});
  team.once(archetype::Once{});
  { team.any(n, archetype::Holds{}) };
  { team.collect(n, archetype::Holds{}, index) };
  { team.largest(n, archetype::Weight{}) };
};

// map_features<K>(X, ld, d, V, acc, sums, body): one pass over the features x_i, i < d, of ld
// doubles.  z[k] = x_i . V_k (zero without V); body(i, z, out, sums), where the sums are those of
// the member, or of a part that is joined to them; where acc is given, acc_k = sum_i out[k] x_i.
// reflect(X, ld, d, v): x_i <- x_i - 2 (v . x_i) v.
// add_columns(A, ld, X, index, weight, count, scratch): A += sum_k weight_k x_(index_k)
// x_(index_k)'.
template <class TeamT>
concept VisitsFeatures =
    requires(TeamT team, const double *X, int n, double *out, const int *index,
             const double **columns, NoSums &sums, archetype::Feature<typename TeamT::Value> body) {
      team.template map_features<1>(X, n, n, X, out, sums, body);
      team.template map_features<2>(X, n, n, X, out, sums, body);
      team.template map_features<3>(X, n, n, X, out, sums, body);
      team.reflect(out, n, n, X);
      team.add_columns(out, n, X, index, X, n, columns);
    };

// products: out_ij (+)= A_i . B_j for rows A_i, lda apart, and B_j.
// combine: out_i (+)= sum_j C_ij B_j, where C_ij is at C + i row_stride + j column_stride.
// pair_dots: out_i (+)= A_(row_i) . B_(column_i).
// subtract_pairs: out_(row_i) -= scale c_i W_(column_i), and the same with row and column swapped.
template <class TeamT>
concept MultipliesMatrices =
    requires(TeamT team, const double *A, int n, double *out, const int *index, bool add) {
      team.products(A, n, n, A, n, n, n, out, n, add);
      team.combine(A, 0LL, 0LL, n, n, A, n, n, out, n, add);
      team.pair_dots(n, A, index, A, index, n, out, add);
      team.subtract_pairs(n, A, 1.0, index, index, A, n, out);
    };

// Of a symmetric matrix whose lower triangle is stored by columns.
// factor: L D L' in place, for solve alone; returns the least share of a diagonal entry that the
// elimination left, not positive where A is not definite.  The same for a complex symmetric matrix
// in two planes, without a return value.
// invert: in place, for multiply_symmetric<K> alone; returns what factor does.
template <class TeamT>
concept SolvesSymmetric = requires(TeamT team, double *A, const double *L, int n) {
  { team.factor(A, n, n, A) };
  team.solve(L, n, n, L, A);
  team.factor(A, A, n, n, A, A);
  team.solve(L, L, n, n, L, L, A, A);
  { TeamT::inverse_room(n) };
  { team.invert(A, n, n, A) };
  team.template multiply_symmetric<1>(L, n, L, A);
  team.template multiply_symmetric<3>(L, n, L, A);
};

template <class TeamT>
concept Team = requires { typename TeamT::Value; } && HasValue<typename TeamT::Value> &&
               RunsInStep<TeamT> && Reduces<TeamT> && VisitsElements<TeamT> &&
               VisitsFeatures<TeamT> && MultipliesMatrices<TeamT> && SolvesSymmetric<TeamT>;

// Operations that follow from those of every team.  Counts are padded.
template <Team TeamT> KRF_HD void fill(TeamT &team, double value, double *out, int count) {
  using T = typename TeamT::Value;
  team.for_each(count, [&](int i) { write(out + i, splat<T>(value)); });
}
template <Team TeamT> KRF_HD void copy(TeamT &team, const double *from, double *to, int count) {
  using T = typename TeamT::Value;
  team.for_each(count, [&](int i) { write(to + i, read<T>(from + i)); });
}
// out = a + b, and out = a - b.
template <Team TeamT>
KRF_HD void add(TeamT &team, const double *a, const double *b, double *out, int count) {
  using T = typename TeamT::Value;
  team.for_each(count, [&](int i) { write(out + i, read<T>(a + i) + read<T>(b + i)); });
}
template <Team TeamT>
KRF_HD void subtract(TeamT &team, const double *a, const double *b, double *out, int count) {
  using T = typename TeamT::Value;
  team.for_each(count, [&](int i) { write(out + i, read<T>(a + i) - read<T>(b + i)); });
}
// y += a x
template <Team TeamT>
KRF_HD void axpy(TeamT &team, double a, const double *x, double *y, int count) {
  using T = typename TeamT::Value;
  team.for_each(count, [&](int i) { write(y + i, read<T>(y + i) + a * read<T>(x + i)); });
}
// x *= a
template <Team TeamT> KRF_HD void scale(TeamT &team, double a, double *x, int count) {
  using T = typename TeamT::Value;
  team.for_each(count, [&](int i) { write(x + i, a * read<T>(x + i)); });
}
template <Team TeamT> KRF_HD double norm(TeamT &team, const double *x, int count) {
  return std::sqrt(team.dot(x, x, count));
}
// |a - b|
template <Team TeamT>
KRF_HD double distance(TeamT &team, const double *a, const double *b, int count) {
  using T = typename TeamT::Value;
  T sum = splat<T>(0.0);
  team.for_each(count, [&](int i) {
    const T x = read<T>(a + i) - read<T>(b + i);
    sum += x * x;
  });
  return std::sqrt(team.sum(sum));
}
// The smallest of what the members hold.
template <Team TeamT> KRF_HD double min(TeamT &team, typename TeamT::Value x) {
  return -team.max(0.0 - x);
}
// out = X b for features x_i, i < d, of ld doubles: the sum of b_i x_i.
template <Team TeamT>
KRF_HD void predict(TeamT &team, const double *X, int ld, int d, const double *b, double *out) {
  using T = typename TeamT::Value;
  NoSums none;
  team.template map_features<1>(X, ld, d, nullptr, out, none,
                                [&](int i, const T *, T *o, NoSums &) { o[0] = read<T>(b + i); });
}
// z_i = x_i . v
template <Team TeamT>
KRF_HD void project(TeamT &team, const double *X, int ld, int d, const double *v, double *z) {
  using T = typename TeamT::Value;
  NoSums none;
  team.template map_features<1>(X, ld, d, v, nullptr, none,
                                [&](int i, const T *w, T *, NoSums &) { write(z + i, w[0]); });
}

KRF_END_NAMESPACE
